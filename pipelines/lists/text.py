"""A list's file as UTF-8 text, whatever it was written in: decompressed, decoded, in lines of a bounded length.

What cannot be read so is refused in one sentence, before a row of it is taken for something else: a compressed file
whose name does not say it, one that was cut off, UTF-16 without a byte order mark.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import fsspec
import pyarrow as pa

LONGEST_LINE = 1 << 24
"""Characters of a line: a file without line breaks is no list, and must not fill the memory."""

_HEAD = 4096
_BY_NAME = {"gz": "gzip", "bz2": "bz2", "xz": "xz", "lzma": "lzma"}
"""What fsspec decompresses by the end of a file's name; .zst is pyarrow's, which tells a file that was cut off."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""
_NO_TEXT = (
    (b"\x1f\x8b", "is compressed by gzip; name it .gz"),
    (b"BZh", "is compressed by bzip2; name it .bz2"),
    (b"\xfd7zXZ\x00", "is compressed by xz; name it .xz"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd; name it .zst"),
    (b"\x04\x22\x4d\x18", "is compressed by lz4; unpack it"),
    (b"\xff\x06\x00\x00sNaPpY", "is compressed by snappy; unpack it"),
    (b"\x1f\x9d", "is compressed by compress; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
    (b"PK\x03\x04", "is a zip archive; unpack it"),
    (b"PAR1", "is a Parquet file; name it .parquet, or give --input_format parquet"),
)
"""What a file begins with that is no text, and what to do."""


@contextlib.contextmanager
def open_text(path: str) -> Iterator[IO[bytes]]:
    """A file's bytes as UTF-8 without a byte order mark, decompressed as its name says.

    Raises:
        ValueError: if it is compressed in a way that its name does not say, damaged, or UTF-16 that does not say so.
        OSError: if it cannot be read.
    """
    extension = path.rsplit(".", 1)[-1].lower()
    with fsspec.open(path, "rb", compression=_BY_NAME.get(extension)) as file:
        packed: Any = pa.CompressedInputStream(file, "zstd") if extension == "zst" else file
        content = _Content(packed, path, compressed=extension == "zst" or extension in _BY_NAME)
        head = content.read_fully(_HEAD)
        _check_is_text(head, path)
        mark, encoding = next(((m, e) for m, e in _MARKS if head.startswith(m)), (b"", "utf-8"))
        yield cast("IO[bytes]", io.BufferedReader(_Utf8(content, head[len(mark) :], encoding), 1 << 16))


def lines(file: IO[bytes], newline: str = "\n") -> Iterator[str]:
    """Lines of UTF-8 with their ends; what is none becomes U+FFFD and stays visible.

    Args:
        file: as `open_text` gives it.
        newline: what ends a line, or the empty string: LF, CR or both.

    Raises:
        ValueError: if a line is longer than `LONGEST_LINE`.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=newline)
    for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"line {number} is longer than {LONGEST_LINE:,} characters; this is no list of pairs")
        yield line
    text.detach()


def decoded(content: bytes) -> str:
    """A small file's text: UTF-8, or UTF-16 or UTF-32 with a byte order mark; what is none becomes U+FFFD."""
    mark, encoding = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", "utf-8"))
    return content[len(mark) :].decode(encoding, "replace")


def _check_is_text(head: bytes, path: str) -> None:
    for beginning, what in _NO_TEXT:
        if head.startswith(beginning):
            raise ValueError(f"{path}: {what}")
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return
    zeros = max(head[0::2].count(0), head[1::2].count(0))
    if zeros > len(head) // 5:  # of every two bytes one is zero, but for what is no Latin
        raise ValueError(f"{path}: is UTF-16 without a byte order mark, or no text; save it as UTF-8")


class _Content:
    """A file's bytes after decompression; whatever a decompressor raises is one kind of error, with the path."""

    def __init__(self, file: Any, path: str, *, compressed: bool) -> None:
        self._file, self._path, self._compressed = file, path, compressed

    def read(self, size: int) -> bytes:
        """Up to so many bytes, none at the end."""
        try:
            return bytes(self._file.read(size))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if not self._compressed or getattr(error, "errno", None):  # the disk's or the store's own
                raise
            raise ValueError(
                f"{self._path}: its compressed data are damaged or cut off ({error}); get it anew"
            ) from None

    def read_fully(self, size: int) -> bytes:
        """So many bytes, or all there are."""
        parts = []
        while size and (part := self.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class _Utf8(io.RawIOBase):
    """What a buffered reader reads from: a head that was read before, then the rest. All of it is valid UTF-8, whatever
    it was; what could not be decoded is U+FFFD."""

    def __init__(self, content: _Content, head: bytes, encoding: str) -> None:
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
