"""A list's file as UTF-8 text, whatever it was written in: decompressed, decoded, in lines of a bounded length.

What cannot be read so is refused in one sentence, before a row of it is taken for something else: a file of another
kind, one that was cut off, UTF-16 without a byte order mark.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import IO, Any, cast

from pipelines.lists.compression import HEAD, Content, no_list
from pipelines.lists.containers import open_file

MARK = "\ufeff"
"""A byte order mark, once it is decoded."""
LONGEST_LINE = 1 << 24
"""Characters of a line: a file without line breaks is no list, and must not fill the memory."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""


_OF_BYTES = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
"""Python's codecs that are no encodings of text."""


@contextlib.contextmanager
def open_text(path: str, encoding: str | None = None) -> Iterator[IO[bytes]]:
    """A file's bytes as UTF-8 without a byte order mark, decompressed as its first bytes say.

    Args:
        path: of the file, or its address in an archive (`pipelines.lists.containers`).
        encoding: Python's name of the one it is in, unless a byte order mark says otherwise; None is UTF-8.

    Raises:
        ValueError: if it is compressed twice or in a way that is not read, damaged, or UTF-16 that does not say so.
        OSError: if it cannot be read.
    """
    with open_file(path) as file:
        content = Content(file, path)
        head = content.read_fully(HEAD)
        _check_is_text(head, path, encoding, content.compression)
        mark, encoding = _mark_of(head, encoding, path)
        yield cast("IO[bytes]", io.BufferedReader(_Utf8(content, head[len(mark) :], encoding), 1 << 16))


def known_encoding(name: str | None) -> str | None:
    """Python's own name of an encoding of text; None of UTF-8, which needs none.

    Raises:
        ValueError: with the nearest, if it is none.
    """
    if name is None:
        return None
    try:
        known = codecs.lookup(name).name
        io.TextIOWrapper(io.BytesIO(), encoding=known)  # refuses codecs that turn bytes into bytes
        codecs.getincrementaldecoder(known)("replace").decode(b"\xff", True)
    except (LookupError, TypeError, ValueError):
        near = difflib.get_close_matches(name.lower().replace("-", "_"), sorted(_encodings()), 1, 0)
        raise ValueError(f"--encoding {name}: is no encoding of text that is known; the nearest is {near[0]}") from None
    return None if known in ("utf-8", "utf-8-sig") else known


def _encodings() -> set[str]:
    return {name for name in {*aliases, *aliases.values()} if aliases.get(name, name) not in _OF_BYTES}


def lines(file: IO[bytes], newline: str = "\n") -> Iterator[str]:
    """Lines of UTF-8 with their ends; what is none becomes U+FFFD and stays visible.

    Where files were joined, each may begin with a byte order mark, which is no part of its line. With an empty
    `newline` it stays: a record may have several lines then, and only where it begins it is a mark and no character.

    Args:
        file: as `open_text` gives it.
        newline: what ends a line, or the empty string: LF, CR or both.

    Raises:
        ValueError: if a line is longer than `LONGEST_LINE`.
    """
    if newline == "\n" and _ends_in_cr(file):
        newline = "\r"
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=newline)
    for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"line {number} is longer than {LONGEST_LINE:,} characters; this is no list of pairs")
        yield line.removeprefix(MARK) if newline else line
    text.detach()


def _ends_in_cr(file: IO[bytes]) -> bool:
    """Whether lines end as on old Macs: there is no other end in what a file begins with."""
    head = file.peek(HEAD) if isinstance(file, io.BufferedReader) else b""
    return b"\r" in head[:-1] and b"\n" not in head


def decoded(content: bytes, encoding: str | None = None) -> str:
    """A small file's text: of a byte order mark's encoding, or of the one that is given, or UTF-8; what is none of it
    becomes U+FFFD."""
    mark, encoding = _mark_of(content, encoding)
    return content[len(mark) :].decode(encoding, "replace")


def _mark_of(content: bytes, encoding: str | None, path: str = "a text beside a picture") -> tuple[bytes, str]:
    """The byte order mark, if there is one, and the encoding.

    Raises:
        ValueError: if there is none, and the encoding has two orders of bytes.
    """
    mark, found = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", encoding or "utf-8"))
    if content and found in ("utf-16", "utf-32"):
        raise ValueError(
            f"{path}: has no byte order mark; give --encoding {found}-le or {found}-be, whichever it is in"
        )
    return mark, found


def _check_is_text(head: bytes, path: str, encoding: str | None, compression: str | None) -> None:
    if what := no_list(head):
        raise ValueError(f"{path}: what its {compression} holds {what}" if compression else f"{path}: {what}")
    if any(head.startswith(mark) for mark, _ in _MARKS) or (encoding or "").startswith(("utf-16", "utf-32")):
        return
    zeros = max(head[0::2].count(0), head[1::2].count(0))
    if zeros > len(head) // 5:  # of every two bytes one is zero, but for what is no Latin
        raise ValueError(
            f"{path}: is UTF-16 without a byte order mark, or no text; save it as UTF-8, or give --encoding utf-16-le "
            "or utf-16-be"
        )


class _Utf8(io.RawIOBase):
    """What a buffered reader reads from: a head that was read before, then the rest. All of it is valid UTF-8, whatever
    it was; what could not be decoded is U+FFFD."""

    def __init__(self, content: Content, head: bytes, encoding: str) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = self._decoder.decode(head).encode()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._content.read(len(buffer))
            self._ready = self._decoder.decode(data, not data).encode()
            if not data:
                break
        piece, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
