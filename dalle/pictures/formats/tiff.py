"""TIFF: its tags read by Pillow's Python, its pixels by Pillow's unpackers or libtiff, if their buffers stay small."""

from __future__ import annotations

import contextlib
import io
import math

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dalle.pictures.colour import from_pillow
from dalle.pictures.faults import PILLOW_FAULTS, UndecodableImage, told_as_ours
from dalle.pictures.formats.exif import bytes_of_values, exif_of
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")

_FAX = {"tiff_ccitt", "group3", "group4"}
_COMPRESSIONS = {"raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd", *_FAX}
_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I;16L", "YCbCr"}
_ORIENTATION = 274
_BITS, _PHOTOMETRIC, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH, _SAMPLE_FORMAT = 258, 262, 278, 322, 323, 339
_UNSIGNED = 1
_WHERE_DATA_LIE = ((273, 279), (324, 325))
"""Tags: offsets and byte counts of strips, and of tiles."""
_XZ, _LZMA2 = b"\xfd7zXZ\0", 0x21


class Tiff:
    """A TIFF file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._size = len(data)
        if (values := bytes_of_values(data)) > 2 * len(data):
            raise UndecodableImage("corrupt", f"a TIFF of {len(data)} bytes whose tags have {values} together")
        with told_as_ours():
            try:
                self._image = image = TiffImageFile(io.BytesIO(data))
            except SyntaxError as error:
                if "unknown" in str(error):  # pixel mode, data organization
                    raise UndecodableImage("unsupported", f"a TIFF of pixels that are not read ({error})") from None
                raise UndecodableImage("corrupt", f"a TIFF without whole tags ({error})") from None
            refuse_sizes(*image.size, max_pixels)
            self._refuse_odd(data)
            self.header = Header(
                format="TIFF",
                width=image.width,
                height=image.height,
                exif=_exif(image, data),
                icc=image.info.get("icc_profile") or None,
                is_plain_rgb=image.mode == "RGB",
                is_turned=True,
            )

    def memory(self, at_least: int) -> int:
        """Pillow's copy, twice where the picture is turned, ours, and the decoder's buffers."""
        area = self.header.width * self.header.height
        deep = 4 if len(self._image.getbands()) > 1 else 2
        turned = self.header.exif.get(_ORIENTATION, 1) != 1
        return area * (deep * (1 + turned) + 3) + self._buffer + self._dictionary + self._size + (32 << 20)

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        with told_as_ours():
            self._image.load()
            return from_pillow(self._image, self.header.icc), None

    def _refuse_odd(self, data: bytes) -> None:
        """Kinds of files that readers show differently; few pictures, many scans and measurements."""
        image, tags = self._image, self._image.tag_v2
        compression = image.info.get("compression")
        if compression not in _COMPRESSIONS or (compression in _FAX and image.mode != "1"):
            raise UndecodableImage("unsupported", f"a TIFF with compression {compression}")
        if image.mode not in _MODES:
            raise UndecodableImage("unsupported", f"a TIFF of mode {image.mode}")
        if image.mode == "1" and _PHOTOMETRIC not in tags:
            raise UndecodableImage("unsupported", "a bilevel TIFF that does not say what is white")
        formats = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
        if set(formats if isinstance(formats, tuple) else (formats,)) != {_UNSIGNED}:
            raise UndecodableImage("unsupported", "a TIFF of signed or floating point numbers")
        spans = [span for o, c in _WHERE_DATA_LIE for span in zip(tags.get(o, ()), tags.get(c, ()), strict=False)]
        if any(offset + count > len(data) for offset, count in spans):
            raise UndecodableImage("truncated", "a TIFF whose data lie behind its end")
        bits = tags.get(_BITS, (1,))
        rows = min(tags.get(_ROWS_PER_STRIP, image.height), image.height)
        width, length = tags.get(_TILE_WIDTH, image.width), tags.get(_TILE_LENGTH, rows)
        samples = max(len(bits), len(image.getbands()))
        self._buffer = 0 if compression == "raw" else math.ceil(width * length * max(bits) * samples / 8)
        lzma = compression == "lzma"
        self._dictionary = max((_dictionary(data[o : o + c]) for o, c in spans), default=0) if lzma else 0


def _dictionary(packed: bytes) -> int:
    """Bytes that the unpacker of an xz stream allocates before it has read any: up to 4 GB, by one byte of 60."""
    if not packed.startswith(_XZ):
        return 0
    header = packed[12 : 12 + 4 * (packed[12] + 1)] if len(packed) > 12 else b""
    at = header.find(bytes([_LZMA2, 1]), 2)
    if at < 0 or at + 2 >= len(header):
        return 0
    bits = header[at + 2] & 63
    return 0xFFFFFFFF if bits >= 40 else (2 | bits & 1) << (bits // 2 + 11)


def _exif(image: TiffImageFile, data: bytes) -> Image.Exif:
    """With the orientation that Pillow turns the picture by, which it may have from XMP."""
    exif = exif_of(data, is_tiff=True)
    with contextlib.suppress(*PILLOW_FAULTS):  # damaged EXIF is no reason to lose the picture
        orientation = image.getexif().get(_ORIENTATION)
        if orientation is not None:
            exif[_ORIENTATION] = orientation
    return exif
