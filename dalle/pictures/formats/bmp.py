"""BMP: read here wholly, with numpy; readers in C differ in what they make of its odder kinds, and nobody tests them.

Of the kinds in https://entropymine.com/jason/bmpsuite all but those that hold JPEG, PNG, 64 bits or Huffman's codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from dalle.pictures.colour import on_white
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.formats.bmp_runs import unpacked
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_PLAIN, _RLE8, _RLE4, _MASKS, _MASKS_AND_ALPHA = 0, 1, 2, 3, 6
_MASKS_OF = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
"""Red, green, blue and opacity of pixels whose file names no masks."""
_BAND = 1 << 20
"""Pixels that are unmasked at once."""


def is_dib(data: bytes) -> bool:
    """A BMP without its first 14 bytes, as Windows has it in memory."""
    return len(data) >= 16 and _four(data, 0) in _HEADERS[2:] and data[12:14] == b"\1\0" and data[15] == 0


@dataclass(frozen=True)
class _Fields:
    """A BMP's header."""

    width: int
    height: int
    upside_down: bool
    """Whether its first row is the lowest."""
    bits: int
    compression: int
    colours: int
    size: int
    """Of the header itself, in bytes."""


class Bmp:
    """A BMP file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data = data
        self._header = 14 if data[:2] == b"BM" else 0
        self._fields = fields = _fields(data, self._header)
        refuse_sizes(fields.width, fields.height, max_pixels)
        if fields.bits not in (1, 2, 4, 8, 16, 24, 32):
            raise UndecodableImage("unsupported" if fields.bits else "corrupt", f"a BMP of {fields.bits} bits a pixel")
        runs = {_RLE8: 8, _RLE4: 4}.get(fields.compression)
        masked = fields.compression in (_MASKS, _MASKS_AND_ALPHA) and fields.bits in (16, 32)
        if not (fields.compression == _PLAIN or runs == fields.bits or masked):
            raise UndecodableImage(
                "unsupported", f"a BMP of {fields.bits} bits a pixel with compression {fields.compression}"
            )
        self._masks = self._read_masks() if masked else _MASKS_OF.get(fields.bits, (0, 0, 0, 0))
        kind = "BMP" if self._header else "DIB"
        self.header = Header(format=kind, width=fields.width, height=fields.height, exif=Image.Exif())

    def memory(self, at_least: int) -> int:
        """Indices or pixels, three channels, and some rows of numbers."""
        return 4 * self.header.width * self.header.height + 64 * _BAND

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        if self._fields.compression in (_RLE8, _RLE4):
            rows = unpacked(self._data[self._offset :], self._fields.bits, self._fields.width, self._fields.height)
            pixels = self._palette()[rows]
        else:
            pixels = self._of_rows(self._rows())
        return np.ascontiguousarray(pixels[::-1] if self._fields.upside_down else pixels), None

    def _of_rows(self, rows: np.ndarray) -> np.ndarray:
        width, bits = self._fields.width, self._fields.bits
        if bits == 24:
            return rows[:, : 3 * width].reshape(len(rows), width, 3)[..., ::-1]
        if bits >= 16:
            return self._unmasked(rows)
        if bits == 8:
            return self._palette()[rows[:, :width]]
        pixels = np.empty((len(rows), width, 3), np.uint8)
        for row, packed in enumerate(rows):
            each = packed[:, None] >> np.arange(8 - bits, -1, -bits, dtype=np.uint8) & ((1 << bits) - 1)
            pixels[row] = self._palette()[each.ravel()[:width]]
        return pixels

    def _unmasked(self, rows: np.ndarray) -> np.ndarray:
        """Channels of 16 or 32 bits, wherever they lie in them."""
        words = rows[:, : self._fields.width * self._fields.bits // 8].view(f"<u{self._fields.bits // 8}")
        pixels = np.empty((*words.shape, 3), np.uint8)
        alpha = np.empty(words.shape, np.uint8) if self._masks[3] else None
        step = max(1, _BAND // self._fields.width)
        for top in range(0, len(rows), step):
            band = words[top : top + step]
            for channel, mask in enumerate(self._masks[:3]):
                pixels[top : top + step, :, channel] = _channel(band, mask)
            if alpha is not None:
                alpha[top : top + step] = _channel(band, self._masks[3])
        if alpha is None or not alpha.any():  # writers that know of no opacity leave it 0, which browsers see through
            return pixels
        for top in range(0, len(rows), step):
            pixels[top : top + step] = on_white(pixels[top : top + step], alpha[top : top + step])
        return pixels

    def _rows(self) -> np.ndarray:
        """[height, bytes of a row] uint8, in the order of the file."""
        stride = (self._fields.width * self._fields.bits + 31) // 32 * 4
        size = stride * self._fields.height
        there = self._data[self._offset : self._offset + size]
        padding = stride - (self._fields.width * self._fields.bits + 7) // 8
        if len(there) < size - padding:
            raise UndecodableImage("truncated", f"the BMP has {len(there)} bytes of pixels, expected {size}")
        return np.frombuffer(there + b"\0" * (size - len(there)), np.uint8).reshape(self._fields.height, stride)

    @property
    def _offset(self) -> int:
        """Where the pixels begin: as the file says, or behind the palette."""
        told = _four(self._data, 10) if self._header else 0
        return told or self._palette_at + self._fields.colours * self._entry

    @property
    def _entry(self) -> int:
        return 3 if self._fields.size == 12 else 4

    @property
    def _palette_at(self) -> int:
        masks = {_MASKS: 12, _MASKS_AND_ALPHA: 16}.get(self._fields.compression, 0) if self._fields.size == 40 else 0
        return self._header + self._fields.size + masks

    def _palette(self) -> np.ndarray:
        """[256, 3] uint8; black where the file gives no colour."""
        room = (self._offset - self._palette_at) // self._entry
        if room < 1:
            raise UndecodableImage("unsupported", "a BMP whose pixels lie on its palette")
        wanted = min(self._fields.colours, 1 << self._fields.bits, room)
        there = self._data[self._palette_at : self._palette_at + wanted * self._entry]
        entries = np.frombuffer(there[: len(there) // self._entry * self._entry], np.uint8).reshape(-1, self._entry)
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(entries)] = entries[:, 2::-1]
        return colours

    def _read_masks(self) -> tuple[int, int, int, int]:
        start, size = self._header + 40, self._fields.size
        opacity = self._fields.compression == _MASKS_AND_ALPHA or size in (56, 108, 124)
        red, green, blue, alpha = (_four(self._data, start + 4 * n) for n in range(4))
        colours, pixel = red | green | blue, (1 << self._fields.bits) - 1
        if not colours or colours > pixel or any(a & b for a, b in ((red, green), (red, blue), (green, blue))):
            raise UndecodableImage(
                "corrupt", f"a BMP of {self._fields.bits} bits whose colours lie at {red:x}, {green:x}, {blue:x}"
            )
        return red, green, blue, alpha & pixel if opacity else 0  # writers name bits that a pixel does not have


def _fields(data: bytes, at: int) -> _Fields:
    size = _four(data, at)
    if size == 12:
        width, height, bits = _two(data, at + 4), _two(data, at + 6), _two(data, at + 10)
        return _Fields(width, height, True, bits, _PLAIN, 1 << min(bits, 8), size)
    if size < 16 or size > 124:
        raise UndecodableImage("corrupt", f"a BMP with a header of {size} bytes")
    if len(data) < at + size:
        raise UndecodableImage("truncated", "the BMP ends in its header")
    width = int.from_bytes(data[at + 4 : at + 8], "little", signed=True)
    height = int.from_bytes(data[at + 8 : at + 12], "little", signed=True)
    bits = _two(data, at + 14)
    compression, colours = (_four(data, at + 16), _four(data, at + 32)) if size >= 40 else (_PLAIN, 0)
    if size == 64 and compression == 3:  # OS/2 counts otherwise from here on
        raise UndecodableImage("unsupported", "a BMP with Huffman's codes")
    return _Fields(width, abs(height), height > 0, bits, compression, colours or (1 << bits if bits <= 8 else 0), size)


def _channel(words: np.ndarray, mask: int) -> np.ndarray:
    """What lies under a mask, as 0 to 255."""
    if not mask:
        return np.zeros(words.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    return ((words & mask) >> shift).astype(np.uint64) * 255 // most


def _two(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _four(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
