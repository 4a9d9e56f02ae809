"""GIF: its blocks read here, the indices of its first frame by Pillow, which is given that frame and nothing else.

Pillow's decoder leaves as they were the pixels that a damaged frame does not reach. What they were can be chosen, by
the transparent index of the file that it is given; so a frame that comes out differently with another one is damaged.

What the first frame does not cover is clear where an index of it is. Where none is, readers fill it with the first
colour, the background's, black or nothing: such a file is refused.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from dalle.pictures.faults import UndecodableImage, told_as_ours
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

STARTS = (b"GIF87a", b"GIF89a")

_EXTENSION, _FRAME, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_HAS_COLOURS, _INTERLACED = 0x80, 0x40


class Gif:
    """A GIF file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data = data
        self._transparent: int | None = None
        if len(data) < 13:
            raise UndecodableImage("truncated", "the GIF ends in its header")
        screen = _two(data, 6), _two(data, 8)
        at, self._colours = _colours(data, 13, data[10])
        at = self._find_frame(at)
        if at + 9 > len(data):
            raise UndecodableImage("truncated", "the GIF ends in its first frame's header")
        self._left, self._top, self._width, self._height = (_two(data, at + 2 * n) for n in range(4))
        size = max(screen[0], self._left + self._width), max(screen[1], self._top + self._height)
        refuse_sizes(*size, max_pixels)
        refuse_sizes(self._width, self._height, max_pixels)
        self._interlaced = data[at + 8] & _INTERLACED
        self._codes, own = _colours(data, at + 9, data[at + 8])
        self._colours = own if own is not None else self._colours
        if self._transparent is None and (self._width, self._height) != size:
            raise UndecodableImage("unsupported", "a GIF without transparency whose first frame does not fill it")
        self.header = Header(format="GIF", width=size[0], height=size[1], exif=Image.Exif())

    def memory(self, at_least: int) -> int:
        """Two decodes of the frame's indices and Pillow's own, and the canvas and the frame in colours."""
        return 4 * self._width * self._height + 3 * (self.header.width * self.header.height) + 2 * len(self._data)

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        indices = self._indices(0)
        if not np.array_equal(indices, self._indices(1)):
            raise UndecodableImage("truncated", "the GIF's first frame ends before it is full")
        colours = np.full((256, 3), 255, np.uint8)
        given = np.arange(256, dtype=np.uint8)[:, None] if self._colours is None else self._colours
        colours[: len(given)] = given
        if self._transparent is not None:
            colours[self._transparent] = 255
        if (self._height, self._width) == (self.header.height, self.header.width):
            return colours[indices], None
        canvas = np.full((self.header.height, self.header.width, 3), 255, np.uint8)
        canvas[self._top : self._top + self._height, self._left : self._left + self._width] = colours[indices]
        return canvas, None

    def _find_frame(self, at: int) -> int:
        """Where the first frame's header begins; on the way which index is transparent in it."""
        data = self._data
        while at < len(data) and data[at] != _TRAILER:
            if data[at] == _FRAME:
                return at + 1
            if data[at] == _EXTENSION:
                if data[at + 1 : at + 3] == bytes([_CONTROL, 4]) and at + 7 < len(data):
                    self._transparent = data[at + 6] if data[at + 3] & 1 else None
                at = _end_of_blocks(data, at + 2)
            else:
                at += 1  # sloppy writers leave bytes between blocks
        raise UndecodableImage("corrupt", "the GIF has no frame")

    def _indices(self, instead: int) -> np.ndarray:
        """[height, width] uint8; `instead` where the data do not reach."""
        sides = b"".join(side.to_bytes(2, "little") for side in (self._width, self._height))
        end = _end_of_blocks(self._data, self._codes + 1)
        still = b"".join(
            [
                *(b"GIF89a", sides, b"\xf7\0\0", _ANY_COLOURS),  # 256 colours that are not a ramp of greys
                *(b"!\xf9\x04\x01\0\0", bytes([instead]), b"\0"),
                *(b",\0\0\0\0", sides, bytes([self._interlaced])),
                *(self._data[self._codes : end], b"\0;"),
            ]
        )
        with told_as_ours():
            image = GifImageFile(io.BytesIO(still))
            image.load()
            return np.asarray(image)


def _colours(data: bytes, at: int, flags: int) -> tuple[int, np.ndarray | None]:
    """What comes behind a table of colours, and the colours, [N, 3] uint8, if there are any."""
    if not flags & _HAS_COLOURS:
        return at, None
    size = 3 << (flags & 7) + 1
    if at + size > len(data):
        raise UndecodableImage("truncated", "the GIF ends in its colours")
    return at + size, np.frombuffer(data, np.uint8, size, at).reshape(-1, 3)


def _end_of_blocks(data: bytes, at: int) -> int:
    """What comes behind blocks that each begin with their size, the last of which has none."""
    while at < len(data):
        size = data[at]
        at += 1 + size
        if not size:
            break
    return min(at, len(data))


def _two(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


_ANY_COLOURS = bytes(255 - n // 3 for n in range(768))
