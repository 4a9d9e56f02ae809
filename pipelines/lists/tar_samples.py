"""The samples of a tar as webdataset has them: members that stand together and have one key are one sample."""

from __future__ import annotations

import itertools
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple, cast

from dalle.pictures.file_names import is_of_a_mac
from pipelines.lists.compression import HEAD, compression_of
from pipelines.lists.rows import location_within
from pipelines.lists.tar_files import tar_files
from schemas.picture_endings import ENDINGS
from schemas.stores import open_bytes

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
    stem: str
    """Its name, with its folders, up to the last dot."""
    extension: str
    """All behind the first dot, in lower case."""
    file: tarfile.TarInfo | None
    """None of a link that leads to no file in the tar."""


_Run = tuple[str, list[_Member]]
"""A key, and members of it that stand together."""


def tar_samples(path: str, others: list[str] | None = None) -> Iterator[TarSample]:
    """The samples of a tar, in order.

    Args:
        path: of the tar.
        others: takes the names of members that are passed over, which a Mac puts between those of a sample.

    Raises:
        ValueError: if it is no tar, or a compressed one.
    """
    archive = path.rsplit("/", 1)[-1]
    try:
        with open_bytes(path) as file, tarfile.open(fileobj=cast(Any, file), mode="r:") as tar:
            members = _members(tar, path, [] if others is None else others)
            runs = [(key, [member for _, member in run]) for key, run in itertools.groupby(members, itemgetter(0))]
            for key, run, problem in _together(runs):
                if problem:
                    yield TarSample(key, "", problem=problem)
                else:
                    yield from _samples(key, run, tar, archive)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path}: not a whole tar file ({error}){_hint(path)}") from None


def _together(runs: Sequence[_Run]) -> Iterator[tuple[str, list[_Member], str | None]]:
    """The same runs; where a picture and its text stand apart, as after all pictures all texts, they are one run."""
    of_key = defaultdict[str, list[list[_Member]]](list)
    for key, run in runs:
        of_key[key].append(run)
    for key, run in runs:
        every = of_key[key]
        if all(any(_last(member.extension) in ENDINGS for member in each) for each in every):
            yield key, run, None
            continue
        members = list(itertools.chain(*every))
        if len(every) > 1 and len({member.extension for member in members}) < len(members):
            yield key, run, f"the key '{key[:100]}' comes again after others, and what belongs together cannot be told"
        elif run is every[0]:
            yield key, members, None


def _samples(key: str, members: Sequence[_Member], tar: tarfile.TarFile, archive: str) -> Iterator[TarSample]:
    """The sample of some members; several, if the same extensions come again and again in one order, or if keys have
    dots, so that what stands before the first of them is not the whole of it."""
    extensions = [member.extension for member in members]
    each = len(set(extensions))
    times = len(members) // each
    what = "comes more than once, and which picture and text belong together cannot be told"
    if extensions != extensions[:each] * times:
        yield TarSample(key, "", problem=f"the key '{key[:100]}' {what}")
        return
    for number in range(times):
        sample = members[number * each : (number + 1) * each]
        if not _is_several(sample):
            yield _sample(key, sample, tar, archive)
        elif (by_stem := _by_stem(key, sample)) is None:
            yield TarSample(key, "", problem=f"the key '{key[:100]}' {what}")
        else:
            for stem, of_stem in by_stem.items():
                yield _sample(stem, of_stem, tar, archive)


def _is_several(sample: Sequence[_Member]) -> bool:
    """Whether nobody can tell which is the picture, or the text; `a.jpg` with `a.mask.png` can be told."""
    lasts = [last for member in sample if (last := _last(member.extension)) in (*ENDINGS, *_TEXTS)]
    pictures = [member for member in sample if _last(member.extension) in ENDINGS]
    has_plain = any("." not in member.extension for member in pictures)
    return len(lasts) > len(set(lasts)) or (len(pictures) > 1 and not has_plain)


def _by_stem(key: str, sample: Sequence[_Member]) -> dict[str, list[_Member]] | None:
    """The same members by their names up to the last dot, if that gives each picture its own texts."""
    stems = defaultdict[str, list[_Member]](list)
    for member in sample:
        if _last(member.extension) in (*ENDINGS, *_TEXTS):
            stems[member.stem].append(member)
    kinds = [[_last(member.extension) for member in members] for members in stems.values()]
    texts = [sorted(set(each) & {*_TEXTS}) for each in kinds]
    one_picture = all(sum(kind in ENDINGS for kind in each) == 1 for each in kinds)
    are_alike = key not in stems or all(each == texts[0] for each in texts)
    return stems if one_picture and are_alike and all(len(each) == len(set(each)) for each in kinds) else None


def _sample(key: str, sample: Sequence[_Member], tar: tarfile.TarFile, archive: str) -> TarSample:
    location, texts = "", dict[str, bytes]()
    for _, extension, file in sample:
        last = _last(extension)
        if file is None and last in (*ENDINGS, *_TEXTS):
            return TarSample(key, "", problem=f"its .{extension[:40]} is a link to what is no file in the tar")
        if file and last in ENDINGS:
            location = location or location_within(archive, file.offset_data, file.size)
        elif file and last in _TEXTS:
            content = tar.extractfile(file)
            texts[last] = content.read(_LONGEST_TEXT + 1) if content else b""
    too_long = any(len(text) > _LONGEST_TEXT for text in texts.values())
    return TarSample(key, location, texts, f"a text of more than {_LONGEST_TEXT:,} bytes" if too_long else None)


def _members(tar: tarfile.TarFile, path: str, others: list[str]) -> Iterator[tuple[str, _Member]]:
    for given, file in tar_files(tar, path):
        if is_of_a_mac(given):
            others.append(given)
            continue
        whole = given.removeprefix("./")
        folder, _, name = whole.rpartition("/")
        stem, _, extension = name.partition(".")
        key = f"{folder}/{stem}".removeprefix("/")
        yield key, _Member(whole.rpartition(".")[0].removeprefix("/"), extension.lower(), file)


def _hint(path: str) -> str:
    with open_bytes(path) as file:
        compression = compression_of(file.read(HEAD))
    return f"; it is compressed by {compression}: unpack it first, it cannot be read in pieces" if compression else ""


def _last(extension: str) -> str:
    return extension.rpartition(".")[2].lower()
