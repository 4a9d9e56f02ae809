"""The samples of a tar as webdataset has them: members that stand together and have one key are one sample."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, cast

import fsspec

from dalle.pictures.file_names import ENDINGS, is_of_a_mac
from pipelines.lists.compression import HEAD, compression_of
from pipelines.lists.containers import tar_members
from pipelines.lists.rows import location_within

_TEXTS = ("txt", "json")
_LONGEST_TEXT = 1 << 24


@dataclass(frozen=True)
class TarSample:
    """A picture and what is said of it."""

    key: str
    location: str
    """Of the first picture of it, as `pipelines.lists.rows.location_within` has it; empty if there is none."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """The other members' bytes, by `txt` and `json`."""
    problem: str | None = None
    """Why nobody can tell what belongs together, in words."""


class _Member(NamedTuple):
    extension: str
    location: str
    text: bytes
    """At most one byte more than `_LONGEST_TEXT`."""


def tar_samples(path: str, others: list[str] | None = None) -> Iterator[TarSample]:
    """The samples of a tar, in order.

    Args:
        path: of the tar.
        others: takes the names of members that are passed over, which a Mac puts between those of a sample.

    Raises:
        ValueError: if it is no tar, or a compressed one.
    """
    key, members = None, list[_Member]()
    for member_key, member in _members(path, [] if others is None else others):
        if member_key != key:
            if key is not None:
                yield from _samples(key, members)
            key, members = member_key, []
        members.append(member)
    if key is not None:
        yield from _samples(key, members)


def _samples(key: str, members: Sequence[_Member]) -> Iterator[TarSample]:
    """The sample of some members; several, if the same extensions come again and again in one order."""
    extensions = [member.extension for member in members]
    each = len(set(extensions))
    times = len(members) // each
    if extensions != extensions[:each] * times:
        what = "comes more than once, and which picture and text belong together cannot be told"
        yield TarSample(key, "", problem=f"the key '{key[:100]}' {what}")
        return
    for number in range(times):
        sample = members[number * each : (number + 1) * each]
        location = next((member.location for member in sample if member.location), "")
        texts = {last: member.text for member in sample if (last := _last(member.extension)) in _TEXTS}
        too_long = any(len(text) > _LONGEST_TEXT for text in texts.values())
        yield TarSample(key, location, texts, f"a text of more than {_LONGEST_TEXT:,} bytes" if too_long else None)


def _members(path: str, others: list[str]) -> Iterator[tuple[str, _Member]]:
    archive = path.rsplit("/", 1)[-1]
    try:
        with fsspec.open(path, "rb") as file, tarfile.open(fileobj=cast(Any, file), mode="r:") as tar:
            for member in tar_members(tar, path):
                if not member.isfile():
                    continue
                if is_of_a_mac(member.name):
                    others.append(member.name)
                    continue
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                stem, _, extension = name.partition(".")
                location, text = "", b""
                if _last(extension) in ENDINGS:
                    location = location_within(archive, member.offset_data, member.size)
                elif _last(extension) in _TEXTS:
                    content = tar.extractfile(member)
                    text = content.read(_LONGEST_TEXT + 1) if content else b""
                yield f"{folder}/{stem}".removeprefix("/"), _Member(extension.lower(), location, text)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path}: not a whole tar file ({error}){_hint(path)}") from None


def _hint(path: str) -> str:
    with fsspec.open(path, "rb") as file:
        compression = compression_of(cast("IO[bytes]", file).read(HEAD))
    return f"; it is compressed by {compression}: unpack it first, it cannot be read in pieces" if compression else ""


def _last(extension: str) -> str:
    return extension.rpartition(".")[2].lower()
