"""Bytes from anywhere to the pixels a person would see: 8-bit sRGB, the right way up.

`open_picture` reads the header only, so that a picture can be refused for its shape or size before anything is
decoded. JPEG goes through libjpeg-turbo and PNG through libpng, which refuse damaged files where Pillow would make
something up; the rest through Pillow, with the formats it may try named here, because some of its other readers start
programs.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable

import cv2
import numpy as np
import pillow_heif
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from dalle.pictures.colour import PILLOW_FAULTS, decode_with_opencv, from_channels, from_pillow, is_srgb

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF")
MAX_PIXELS = 100_000_000

pillow_heif.register_heif_opener(thumbnails=False)
Image.init()  # loads the readers; left to itself Pillow loads MPO's only after its first JPEG
Image.MAX_IMAGE_PIXELS = None  # our own cap is checked on the header, before Pillow would warn
cv2.setNumThreads(1)  # workers are processes; a picture is too small to share among threads
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what it has to say reaches the ledger as a reason

_UNTURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: cv2.flip(a, 1),
    3: lambda a: cv2.rotate(a, cv2.ROTATE_180),
    4: lambda a: cv2.flip(a, 0),
    5: lambda a: cv2.transpose(a),
    6: lambda a: cv2.rotate(a, cv2.ROTATE_90_CLOCKWISE),
    7: lambda a: cv2.rotate(cv2.transpose(a), cv2.ROTATE_180),
    8: lambda a: cv2.rotate(a, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""How to show pixels that were stored with this EXIF orientation."""

_TIFF_COMPRESSIONS = {"raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"}
_TIFF_MODES = {"L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I;16L", "YCbCr"}
_SAMPLE_FORMAT, _UNSIGNED = 339, 1
_WHERE_DATA_LIE = ((273, 279), (324, 325))
"""TIFF tags: offsets and byte counts of strips, and of tiles."""
_RLE = (1, 2)


class UndecodableImage(ValueError):
    """No picture can be had from these bytes."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """One of the words of the stage `decode` in `schemas.reasons`."""


class Picture:
    """A picture whose header was read and whose pixels were not, yet."""

    def __init__(self, data: bytes, image: Image.Image) -> None:
        self._data = data
        self._image = image
        self.format = "JPEG" if image.format == "MPO" else str(image.format)
        self._exif = _exif(image)
        self._icc: bytes | None = image.info.get("icc_profile") or None
        orientation = self._exif.get(ExifTags.Base.Orientation, 1)
        self._unturn = None if self.format == "TIFF" else _UNTURN.get(orientation)  # Pillow turns TIFFs itself
        turned = self._unturn is not None and orientation >= 5
        self.width, self.height = image.size[::-1] if turned else image.size
        """As it is displayed, in pixels."""

    @property
    def is_plain(self) -> bool:
        """Whether its own bytes show the same to a reader that knows neither EXIF, profiles nor colour models."""
        return self._unturn is None and self._icc is None and self._image.mode == "RGB"

    def exif_json(self) -> str:
        """The EXIF tags as one JSON object of strings; places where it was taken and binary tags are left out."""
        tags = {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in self._exif.items()}
        with warnings.catch_warnings(action="ignore"):
            try:
                inner = self._exif.get_ifd(ExifTags.IFD.Exif)
            except PILLOW_FAULTS:
                inner = {}
        tags |= {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in inner.items()}
        for pointer in ("ExifOffset", "GPSInfo", "ExifInteroperabilityOffset"):
            tags.pop(pointer, None)
        text = {name: str(value).strip("\0 ") for name, value in tags.items() if not isinstance(value, bytes)}
        return json.dumps(text, sort_keys=True)

    def pixels(self, at_least: int = 0) -> np.ndarray:
        """Decode.

        Args:
            at_least: a JPEG may be decoded at half, a quarter or an eighth of its size as long as its short side
                stays at least this long; 0 decodes at full size.

        Returns:
            [H, W, 3] uint8, sRGB, the right way up; H, W may be smaller than `height`, `width` (see `at_least`).

        Raises:
            UndecodableImage: if the data end too early or contradict themselves.
        """
        pixels, profile = self.unconverted(at_least)
        return from_channels(pixels, profile) if profile else pixels

    def unconverted(self, at_least: int = 0) -> tuple[np.ndarray, bytes | None]:
        """The same, but pixels of a profile may still be its own: `dalle.pictures.colour.from_channels` converts them.

        Who shrinks the picture converts it after that, for there is less of it; the difference is not seen.

        Returns:
            pixels as those of `pixels`, and their profile, or None if they are sRGB.
        """
        profile = None
        if self.format == "JPEG":
            pixels, profile = self._jpeg(at_least)
        elif self.format == "PNG":
            pixels = self._png()
        else:
            pixels = self._by_pillow()
        return (self._unturn(pixels) if self._unturn else pixels), profile

    def _jpeg(self, at_least: int) -> tuple[np.ndarray, bytes | None]:
        width, height = self._image.size
        shrink = at_least / min(width, height) if at_least else 1
        size = {"min_height": int(height * shrink), "min_width": int(width * shrink)} if shrink < 1 else {}
        inks = self._image.mode == "CMYK"
        try:
            pixels = simplejpeg.decode_jpeg(self._data, "CMYK" if inks else "RGB", min_factor=2, **size)
        except ValueError as error:
            if "extraneous bytes" not in str(error):
                raise UndecodableImage(*_fault(str(error))) from None
            return self._by_pillow(), None  # what sloppy writers leave between segments harms nobody; Pillow skips it
        if inks:
            return self._by_pillow(), None  # it is whole; Pillow knows which inks are stored upside down
        return pixels, None if is_srgb(self._icc) else self._icc

    def _png(self) -> np.ndarray:
        values = decode_with_opencv(self._data)
        if values is not None:
            return from_channels(_with_transparent_grey(values, self._image.info.get("transparency")), self._icc)
        self._by_pillow()  # tells what is wrong with it
        raise UndecodableImage("corrupt", "libpng finds the file damaged")

    def _by_pillow(self) -> np.ndarray:
        if self.format == "GIF" and decode_with_opencv(self._data) is None:
            raise UndecodableImage("corrupt", "a GIF that OpenCV cannot read; Pillow would make something up")
        pixels = self._read_by_pillow()
        if self.format == "BMP" and _differs(pixels, decode_with_opencv(self._data)):
            raise UndecodableImage("unsupported", "a BMP that Pillow and OpenCV show differently")
        return pixels

    def _read_by_pillow(self) -> np.ndarray:
        try:
            with warnings.catch_warnings(action="ignore"):
                self._image.load()
                return from_pillow(self._image, self._icc)
        except PILLOW_FAULTS as error:
            raise UndecodableImage(*_fault(str(error) or type(error).__name__)) from None


def open_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the header of a picture.

    Raises:
        UndecodableImage: if the bytes are no picture of a known format, or it has more pixels than the cap.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            picture = Picture(data, image)
    except UnidentifiedImageError:
        raise UndecodableImage("not-an-image", _what_it_looks_like(data)) from None
    except PILLOW_FAULTS as error:
        raise UndecodableImage("corrupt", str(error) or type(error).__name__) from None
    if picture.width * picture.height > max_pixels:
        raise UndecodableImage(
            "too-many-pixels", f"{picture.width} x {picture.height} is more than {max_pixels} pixels"
        )
    if min(picture.width, picture.height) < 1:
        raise UndecodableImage("corrupt", f"size is {picture.width} x {picture.height}")
    if odd := _what_is_unsupported(image):
        raise UndecodableImage("unsupported", odd)
    if image.format == "TIFF" and _ends_too_early(image, len(data)):
        raise UndecodableImage("truncated", "a TIFF whose data lie behind its end")
    return picture


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """All pixels of a picture: [H, W, 3] uint8, sRGB, the right way up.

    Raises:
        UndecodableImage: if there is no picture in the bytes.
    """
    return open_picture(data, max_pixels).pixels()


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF block; not XMP's idea of an orientation, which viewers do not follow."""
    exif = Image.Exif()
    try:
        if image.format == "TIFF":
            return image.getexif()
        exif.load(image.info.get("exif") or b"")
    except PILLOW_FAULTS:  # damaged EXIF is no reason to lose the picture
        return Image.Exif()
    return exif


def _differs(pixels: np.ndarray, channels: np.ndarray | None) -> bool:
    if channels is None:  # kinds that only Pillow reads
        return False
    other = from_channels(channels, None)
    return pixels.shape != other.shape or float(np.abs(pixels.astype(np.int16) - other).mean()) > 1


def _with_transparent_grey(values: np.ndarray, transparent: object) -> np.ndarray:
    """OpenCV resolves a palette's transparency but not that of one grey value."""
    if values.ndim != 2 or not isinstance(transparent, int):
        return values
    white = np.iinfo(values.dtype).max
    return np.where(values == transparent, white, values).astype(values.dtype)


def _what_is_unsupported(image: Image.Image) -> str:
    """Kinds of files that readers show differently; few pictures, many scans and measurements."""
    if image.format == "TIFF":
        compression = image.info.get("compression")
        if compression not in _TIFF_COMPRESSIONS:
            return f"a TIFF with compression {compression}"
        if image.mode not in _TIFF_MODES:
            return f"a TIFF of mode {image.mode}"
        formats = image.tag_v2.get(_SAMPLE_FORMAT, (_UNSIGNED,))  # type: ignore[attr-defined]
        if set(formats if isinstance(formats, tuple) else (formats,)) != {_UNSIGNED}:
            return "a TIFF of signed or floating point numbers"
    if image.format in ("BMP", "DIB") and image.info.get("compression") in _RLE:
        return "a run-length encoded BMP"
    if image.format == "GIF" and tuple(image.tile[0][1]) != (0, 0, *image.size):  # type: ignore[attr-defined]
        return "a GIF whose first frame does not fill it"
    return ""


def _ends_too_early(image: Image.Image, size: int) -> bool:
    tags = image.tag_v2  # type: ignore[attr-defined]
    for offsets, counts in _WHERE_DATA_LIE:
        if any(o + c > size for o, c in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)):
            return True
    return False


def _fault(message: str) -> tuple[str, str]:
    early = "remature end" in message or "truncated" in message
    return ("truncated" if early else "corrupt"), message


def _what_it_looks_like(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if b"<svg" in start:
        return "the bytes are SVG, a drawing program rather than a picture"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "the bytes are a web page"
    if start.startswith(b"{"):
        return "the bytes are JSON"
    if start.startswith(b"\x1f\x8b"):
        return "the bytes are a gzip file"
    return f"the bytes begin with {data[:12]!r}"
