"""JPEG: its segments read here, its pixels by libjpeg-turbo, which is told to refuse what it warns of.

It skips what makes no picture, but for profiles and versions, which it finds fault with: those it does not get.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dalle.pictures.colour import from_pillow, is_srgb
from dalle.pictures.faults import UndecodableImage, fault, told_as_ours
from dalle.pictures.formats.exif import exif_of
from dalle.pictures.formats.jpeg_extraneous import are_extraneous, without_extraneous
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

START = b"\xff\xd8\xff"

_SOF = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
"""Frames of DCT coefficients: baseline, extended and progressive, by Huffman's or arithmetic codes."""
_PROGRESSIVE = {0xC2, 0xCA}
_OTHER_FRAMES = {
    **dict.fromkeys((0xC3, 0xCB), "a lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "a hierarchical JPEG"),
    0xF7: "a JPEG-LS picture",
}
_SOS, _EOI, _APP0, _APP1, _APP2, _ADOBE = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers that no segment follows."""
_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
"""What a segment of JFIF says to a decoder, without densities and thumbnails."""
_EXIF, _ICC = b"Exif\0\0", b"ICC_PROFILE\0"
_MAX_PROFILE = 8 << 20


class _Decode(Protocol):
    """To pixels; raises ValueError with the first that libjpeg warns of, unless it is not strict."""

    def __call__(self, data: bytes, *, strict: bool = True) -> Pixels: ...


class Jpeg:
    """A JPEG file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data = data
        self._needed: list[bytes | memoryview] = [b"\xff\xd8"]
        self._as_it_is = True
        """Whether nothing in front of the scans is what libjpeg would warn of."""
        exif, profiles, frame, behind = list[bytes](), [], b"", 2
        in_scan = 0
        for marker, start, end in _segments(data):
            self._as_it_is &= start == behind + 4
            behind = end
            if marker in _SOF and not frame:
                frame, self._progressive = data[start:end], marker in _PROGRESSIVE
            elif marker == _APP1 and data.startswith(_EXIF, start):
                exif.append(data[start + len(_EXIF) : end])
            elif marker == _APP2 and data.startswith(_ICC, start):
                profiles.append(data[start + len(_ICC) : end])
            elif marker in _OTHER_FRAMES:
                raise UndecodableImage("unsupported", f"{_OTHER_FRAMES[marker]}, which is not read")
            elif marker == _SOS:
                in_scan = int.from_bytes(data[start : start + 1])
            self._keep(marker, start, end)
        icc = _joined(profiles)
        self._as_it_is &= icc is not None or not profiles
        bits, height, width, self._channels = _frame(frame)
        self._in_scans = self._progressive or in_scan < self._channels
        """Whether libjpeg holds all coefficients until it has read the last scan."""
        refuse_sizes(width, height, max_pixels)
        if bits != 8:
            raise UndecodableImage("unsupported", f"a JPEG of {bits} bits a sample")
        if self._channels not in (1, 3, 4):
            raise UndecodableImage("unsupported", f"a JPEG of {self._channels} channels")
        self.header = Header(
            format="JPEG",
            width=width,
            height=height,
            exif=exif_of(b"".join(exif)),
            icc=icc,
            is_plain_rgb=self._channels == 3,
        )

    def memory(self, at_least: int) -> int:
        """Pixels at the size they are decoded to; all coefficients where scans are several; Pillow's copy of inks."""
        width, height = self.header.width, self.header.height
        area, decoded = width * height, width * height
        for eighths in (4, 2, 1):
            if at_least and min(width, height) * eighths >= at_least * 8:
                decoded = area * eighths * eighths // 64
        coefficients = 2 * self._channels * area if self._in_scans else 0
        return coefficients + (11 * area if self._channels == 4 else 3 * decoded) + (12 << 20)

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        width, height = self.header.width, self.header.height
        shrink = at_least / min(width, height) if at_least else 1
        size = {"min_height": int(height * shrink), "min_width": int(width * shrink)} if shrink < 1 else {}
        inks = self._channels == 4

        def decode(data: bytes, *, strict: bool = True) -> Pixels:
            return simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGB", min_factor=2, strict=strict, **size)

        still, pixels = self._strictly(decode)
        if inks:
            del pixels
            return self._by_pillow(still), None  # it is whole; Pillow knows which inks are stored upside down
        return pixels, None if is_srgb(self.header.icc) else self.header.icc

    def _keep(self, marker: int, start: int, end: int) -> None:
        """Put by what decoding needs: tables, frame, scans, and the two segments that say how colours are coded."""
        if marker == _SOS:
            self._needed.append(memoryview(self._data)[start - 4 :])
        elif marker == _APP0 and self._data.startswith(b"JFIF\0", start) and end - start >= 14:
            self._as_it_is &= self._data[start + 5] == 1  # its version; of others libjpeg says that it knows none
            self._needed.append(_JFIF)
        elif marker < _APP0 or (marker == _ADOBE and self._data.startswith(b"Adobe", start)):
            self._needed.append(self._data[start - 4 : end])

    def _strictly(self, decode: _Decode) -> tuple[bytes, Pixels]:
        """What is needed of the file, and its pixels; bytes before a marker that mean nothing are no damage."""
        needed = b"".join(self._needed)
        try:
            try:
                return needed, decode(self._data if self._as_it_is else needed)
            except ValueError as error:
                if not are_extraneous(error):
                    raise
                area = self.header.width * self.header.height if self._in_scans else None
                needed = without_extraneous(needed, error, decode, area)
                return needed, decode(needed, strict=False)
        except ValueError as error:
            raise fault(str(error)) from None

    def _by_pillow(self, still: bytes) -> np.ndarray:
        """It gets only what is needed; it would parse all."""
        with told_as_ours():
            image: Image.Image = JpegImageFile(io.BytesIO(still))
            image.load()
            return from_pillow(image, self.header.icc)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of what each segment holds, up to the first scan; what lies between them is skipped."""
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise UndecodableImage("truncated", "the JPEG ends before its first scan")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0 or marker in _ALONE:
            at += 2
        elif marker == _EOI:
            raise UndecodableImage("corrupt", "the JPEG has no scan")
        else:
            size = int.from_bytes(data[at + 2 : at + 4])
            if size < 2:
                raise UndecodableImage("corrupt", f"the JPEG has a segment of {size} bytes")
            if at + 2 + size > len(data):
                raise UndecodableImage("truncated", "the JPEG ends inside a segment")
            yield marker, at + 4, at + 2 + size
            if marker == _SOS:
                return
            at += 2 + size


def _frame(frame: bytes) -> tuple[int, int, int, int]:
    """Bits a sample, height, width and channels."""
    if len(frame) < 6:
        raise UndecodableImage("corrupt", "the JPEG has no frame header before its first scan")
    return frame[0], int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5]), frame[5]


def _joined(parts: list[bytes]) -> bytes | None:
    """A profile may lie in several segments, each with its number and how many there are; wherever they stand."""
    parts = sorted(part for part in parts if len(part) > 2)
    if not parts or parts[0][1] != len(parts) or sum(map(len, parts)) > _MAX_PROFILE:
        return None
    return b"".join(part[2:] for part in parts)
