"""A file's bytes as they were before they were compressed: what it is compressed by, its first bytes say, not its name.

All of it is read, also where several compressed files were joined; what is cut off, damaged, or followed by what does
not belong to it is one sentence, never a shorter list.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dalle.pictures.formats.names import is_lfs_pointer, is_web_page

HEAD = 4096
"""Bytes that tell what a file is."""

COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".lzma", ".zst", ".lz4")
"""What may stand behind the ending of a list's name."""

_ZSTD_SKIPPED = tuple(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))
"""A frame that says nothing, as parallel zstd puts before others, and lz4 may."""
_BZIP2 = tuple(b"BZh%d%s" % (level, block) for level in range(1, 10) for block in (b"1AY&SY", b"\x17rE8P\x90"))
_KNOWN: dict[str, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b",),
    "bzip2": _BZIP2,
    "xz": (b"\xfd7zXZ\0", b"]\0\0"),
    "zstd": (b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPED),
    "lz4": (b"\x04\x22\x4d\x18",),
}
"""What compressed files begin with; the second of xz is .lzma."""
_NO_LIST = (
    (0, b"PK\x03\x04", "is a zip archive; name it .zip"),
    (0, b"PK\x05\x06", "is an empty zip archive"),
    (257, b"ustar", "is a tar archive; name it so, as .tar or .tar.gz"),
    (0, b"PAR1", "is a Parquet file; name it .parquet, or give --input_format parquet"),
    (0, b"\x02\x21\x4c\x18", "is compressed by lz4 in its old format; unpack it"),
    (0, b"\xff\x06\0\0sNaPpY", "is compressed by snappy; unpack it"),
    (0, b"\x1f\x9d", "is compressed by compress; unpack it"),
    (0, b"LZIP\x01", "is compressed by lzip; unpack it"),
    (0, b"\x89LZO\0", "is compressed by lzop; unpack it"),
    *((0, b"x" + level, "is compressed by zlib; unpack it") for level in (b"\x01", b"\x9c", b"\xda")),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
    (0, b"Rar!\x1a\x07", "is a RAR archive; unpack it"),
    (0, b"ARROW1\0\0", "is an Arrow file; save it as Parquet"),
    (0, b"Obj\x01", "is an Avro file; save it as Parquet"),
    (0, b"SQLite format 3\0", "is a SQLite database; save its table as CSV"),
    (0, b"\x89HDF\r\n", "is an HDF5 file; save it as Parquet"),
    (0, b"\xd0\xcf\x11\xe0", "is an old Office file; save its table as CSV"),
    (0, b"%PDF-", "is a PDF document; save its table as CSV"),
)
"""Where something stands that is no list's text, and what to do."""
_BY_NAME = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "lzma": "xz", "zst": "zstd", "lz4": "lz4"}
_CONTROLS = bytes(set(range(32)) - {*b"\t\n\r\f\x1b"})


def compression_of(head: bytes) -> str | None:
    """What a file that begins so is compressed by; None if it is not, or in no way that is read here."""
    return next((name for name, starts in _KNOWN.items() if head.startswith(starts)), None)


def no_list(head: bytes) -> str:
    """What a file that begins so is and what to do, if it is known to be no text; else nothing."""
    if name := compression_of(head):
        return f"is compressed by {name}; unpack it"
    if is_web_page(head):
        return "is a page or an error of a web server, sent in place of the file; look at its address and get it anew"
    if is_lfs_pointer(head):
        return "is a pointer of Git LFS and not the file itself; have that with git lfs pull"
    return next((what for at, start, what in _NO_LIST if head.startswith(start, at)), "")


class Content(io.RawIOBase):
    """A file's bytes after decompression; whatever a decompressor raises is one kind of error, with the path.

    Args:
        file: with a method `read`.
        path: of the file, for messages.

    Raises:
        ValueError: if its name says that it is compressed, and its bytes are neither that nor text.
    """

    def __init__(self, file: Any, path: str) -> None:
        self._path = path
        head = _read_fully(file.read, HEAD)
        self.compression = compression_of(head)
        """What it is compressed by, if it is."""
        self._file: Any = _Again(head, file)
        if self.compression:
            self._file = _READERS[self.compression](io.BufferedReader(self._file, 1 << 16))
        elif (said := _BY_NAME.get(path.rsplit(".", 1)[-1].lower())) and _is_damaged(head, said):
            raise self._damaged(f"it does not begin as {said} does")

    def readable(self) -> bool:
        """Yes, from its beginning to its end."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Up to so many bytes, none at the end."""
        try:
            data = self._file.read(len(buffer)) or b""
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if not self.compression or getattr(error, "errno", None):  # the disk's or the store's own
                raise
            if "too much memory" in str(error):  # zstd's words
                what = "is compressed by zstd with a window of more than 128 MiB (--long)"
                raise ValueError(f"{self._path}: {what}; unpack it, or compress it without --long") from None
            raise self._damaged(error) from None
        buffer[: len(data)] = data
        return len(data)

    def read_fully(self, size: int) -> bytes:
        """So many bytes, or all there are."""
        return _read_fully(super().read, size)

    def _damaged(self, why: object) -> ValueError:
        return ValueError(f"{self._path}: its compressed data are damaged or cut off ({why}); get it anew")


def _is_damaged(head: bytes, said: str) -> bool:
    """Whether a file whose name says that it is compressed is neither that nor text."""
    if any(start.startswith(head) for start in _KNOWN[said]) and head:
        return True
    is_wide = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))  # a byte order mark
    return not (is_wide or no_list(head)) and head.translate(None, _CONTROLS) != head


def _read_fully(read: Callable[[int], bytes | None], size: int) -> bytes:
    parts = []
    while size and (part := read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Again(io.RawIOBase):
    """A file whose beginning was read before."""

    def __init__(self, head: bytes, file: Any) -> None:
        self._head, self._file = head, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._file.read(len(buffer))
        self._head = self._head[len(data) :] if self._head else b""
        buffer[: len(data)] = data
        return len(data)


class _Streams(io.RawIOBase):
    """What one compressed stream, or several behind one another, hold.

    Python's own readers of bzip2 and xz take whatever follows a stream and is none for the end of the file.
    """

    def __init__(self, file: Any, new: Callable[[], Any]) -> None:
        self._file, self._new, self._decompressor = file, new, new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            given = b""
            if self._decompressor.eof:
                given = self._decompressor.unused_data.lstrip(b"\0")  # xz may be padded with zeros
                while not given:
                    if not (given := self._file.read(1 << 16)):
                        return 0
                    given = given.lstrip(b"\0")
                self._decompressor = self._new()
            elif self._decompressor.needs_input and not (given := self._file.read(1 << 16)):
                raise EOFError("it ends before its end-of-stream marker")
            data = self._decompressor.decompress(given, len(buffer))
        buffer[: len(data)] = data
        return len(data)


_READERS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": lambda file: _Streams(file, bz2.BZ2Decompressor),
    "xz": lambda file: _Streams(file, lzma.LZMADecompressor),
    "zstd": lambda file: pa.CompressedInputStream(file, "zstd"),
    "lz4": lambda file: pa.CompressedInputStream(file, "lz4"),
}
