"""WebP: its chunks read here, its pixels by libwebp, which is given a still picture and nothing else.

Whole files would go through libwebp's reader of animations, which holds two canvases of the size that a header
declares before it has seen a frame. The one frame that counts, alone in a file of its own, takes half of the memory
and less time, to the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dalle.pictures.colour import decode_with_opencv, from_opencv
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.formats.exif import exif_of
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

_ALPHA, _ANIMATED = 0x10, 0x02
"""Flags of a file's header."""
_FRAME_HEADER = 16
"""Bytes before a frame's own chunks."""


def is_webp(data: bytes) -> bool:
    """By its first bytes."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


class WebP:
    """A WebP file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        end = 8 + int.from_bytes(data[4:8], "little")
        if end > len(data):
            raise UndecodableImage("truncated", f"the WebP has {end} bytes, {len(data)} are there")
        chunks = list(_chunks(data, 12, end))
        first, start, stop = chunks[0] if chunks else (b"", 0, 0)
        flags = 0
        self._at = (0, 0)
        """Where the frame lies on the canvas."""
        if first == b"VP8X":
            if stop - start < 10:
                raise UndecodableImage("corrupt", "the WebP has no whole header")
            flags = data[start]
            size = _three(data, start + 4) + 1, _three(data, start + 7) + 1
            refuse_sizes(*size, max_pixels)
        if flags & _ANIMATED:
            self._frame = self._first_frame(data, chunks)
        else:
            self._frame = _pictures(data, chunks)
        self._alpha, self.frame_size = _looked_into(self._frame)
        if first != b"VP8X":
            size = self.frame_size
            refuse_sizes(*size, max_pixels)
        if not flags & _ANIMATED and self.frame_size != size:
            raise UndecodableImage("corrupt", f"the WebP is {size} by its header and {self.frame_size} by its picture")
        if any(a + b > c for a, b, c in zip(self._at, self.frame_size, size, strict=True)):
            raise UndecodableImage("corrupt", "the WebP's first frame lies beside its canvas")
        if self.frame_size != size and not flags & _ALPHA:  # black in libwebp, clear in browsers
            raise UndecodableImage("unsupported", "a WebP without opacity whose first frame does not fill it")
        parts = {kind: data[start:stop] for kind, start, stop in reversed(chunks) if kind in (b"ICCP", b"EXIF")}
        self.header = Header(
            format="WEBP",
            width=size[0],
            height=size[1],
            exif=exif_of(parts.get(b"EXIF")),
            icc=parts.get(b"ICCP"),
            is_plain_rgb=not self._alpha and not flags & (_ALPHA | _ANIMATED),
        )

    def memory(self, at_least: int) -> int:
        """Four channels, the lossless decoder's own copy of them, and a canvas."""
        canvas = 3 * self.header.width * self.header.height if self._at != (0, 0) or self._is_smaller else 0
        return 9 * self.frame_size[0] * self.frame_size[1] + canvas + (16 << 20)

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        values = decode_with_opencv(_file_of(self._frame, self.frame_size))
        if values is None:
            raise UndecodableImage("corrupt", "libwebp finds the file damaged")
        pixels = from_opencv(values, self.header.icc)
        if not self._is_smaller:
            return pixels, None
        canvas = np.full((self.header.height, self.header.width, 3), 255, np.uint8)
        (x, y), (width, height) = self._at, self.frame_size
        canvas[y : y + height, x : x + width] = pixels
        return canvas, None

    @property
    def _is_smaller(self) -> bool:
        return self.frame_size != (self.header.width, self.header.height)

    def _first_frame(self, data: bytes, chunks: list[tuple[bytes, int, int]]) -> list[tuple[bytes, bytes]]:
        """Of an animation; what it does not cover is transparent."""
        for kind, start, stop in chunks:
            if kind == b"ANMF" and stop - start >= _FRAME_HEADER:
                self._at = 2 * _three(data, start), 2 * _three(data, start + 3)
                return _pictures(data, list(_chunks(data, start + _FRAME_HEADER, stop)))
        raise UndecodableImage("corrupt", "the WebP has no frame")


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of what each chunk holds."""
    while at + 8 <= end:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > end:
            raise UndecodableImage("truncated", f"the WebP's chunk {kind!r} has {size} bytes, {end - at - 8} are there")
        yield kind, at + 8, at + 8 + size
        at += 8 + size + size % 2


def _pictures(data: bytes, chunks: list[tuple[bytes, int, int]]) -> list[tuple[bytes, bytes]]:
    """The chunks that are a picture: its pixels, and before them its opacity if it has one of its own."""
    parts = {kind: data[start:stop] for kind, start, stop in reversed(chunks) if kind in (b"ALPH", b"VP8 ", b"VP8L")}
    for kind in (b"VP8 ", b"VP8L"):
        if kind in parts:
            opacity = [(b"ALPH", parts[b"ALPH"])] if kind == b"VP8 " and b"ALPH" in parts else []
            return [*opacity, (kind, parts[kind])]
    raise UndecodableImage("corrupt", "the WebP has no picture")


def _looked_into(frame: list[tuple[bytes, bytes]]) -> tuple[bool, tuple[int, int]]:
    """Whether it has opacity, and width and height, by the picture's own header."""
    kind, data = frame[-1]
    if kind == b"VP8L" and len(data) >= 5 and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return bool(bits >> 28 & 1), ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a" and len(data) >= 10:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return len(frame) == 2, (width, height)
    raise UndecodableImage("corrupt", "the WebP's picture has no header")


def _file_of(frame: list[tuple[bytes, bytes]], size: tuple[int, int]) -> bytes:
    """A still file of the picture."""
    if len(frame) == 2:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
        frame = [(b"VP8X", bytes([_ALPHA, 0, 0, 0]) + sides), *frame]
    packed = b"".join(k + len(d).to_bytes(4, "little") + d + b"\0" * (len(d) % 2) for k, d in frame)
    return b"RIFF" + (4 + len(packed)).to_bytes(4, "little") + b"WEBP" + packed


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
