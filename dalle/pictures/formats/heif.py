"""AVIF and HEIC: boxes and pixels by libavif with dav1d, and by libheif with libde265, through Pillow."""

from __future__ import annotations

import io

from PIL import AvifImagePlugin, Image
from pillow_heif import HeifImageFile, register_heif_opener

from dalle.pictures.colour import from_pillow
from dalle.pictures.faults import UndecodableImage, told_as_ours
from dalle.pictures.formats.exif import exif_of
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each holds frames of its own, and workers have a core each
register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)

_AVIF = (b"avif", b"avis")
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs")
_EITHER = (b"mif1", b"msf1")
"""Brands; of files with these, the other brands tell which."""


def brand(data: bytes) -> str | None:
    """AVIF or HEIF, by the brands in the first box; None if it is neither."""
    if data[4:8] != b"ftyp":
        return None
    brands = data[8 : min(int.from_bytes(data[:4]), 256)]
    first = data[8:12]
    if first in _AVIF or (first in _EITHER and any(each in brands for each in _AVIF)):
        return "AVIF"
    return "HEIF" if first in (*_HEIF, *_EITHER) else None


class _Boxes:
    """A file of boxes, read through one of Pillow's plug-ins."""

    _bytes_a_pixel: int
    """Measured (tests/dalle/pictures/test_memory.py)."""

    def __init__(self, data: bytes, max_pixels: int, image: Image.Image) -> None:
        self._image, self._size = image, len(data)
        refuse_sizes(*image.size, max_pixels)
        self.header = Header(
            format=str(image.format),
            width=image.width,
            height=image.height,
            exif=exif_of(image.info.get("exif")),
            icc=image.info.get("icc_profile") or None,
            is_plain_rgb=image.mode == "RGB",
        )

    def memory(self, at_least: int) -> int:
        """The codec's planes, its RGBA, Pillow's copy and ours."""
        return self._bytes_a_pixel * self.header.width * self.header.height + 3 * self._size + (16 << 20)

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        with told_as_ours():
            self._image.load()
            if self._image.size != (self.header.width, self.header.height):
                raise UndecodableImage("corrupt", f"the picture is {self._image.size}, not as its header says")
            return from_pillow(self._image, self.header.icc), None


class Avif(_Boxes):
    """An AVIF file."""

    _bytes_a_pixel = 14

    def __init__(self, data: bytes, max_pixels: int) -> None:
        with told_as_ours():
            super().__init__(data, max_pixels, AvifImagePlugin.AvifImageFile(io.BytesIO(data)))


class Heif(_Boxes):
    """A HEIC file."""

    _bytes_a_pixel = 12

    def __init__(self, data: bytes, max_pixels: int) -> None:
        with told_as_ours():
            super().__init__(data, max_pixels, HeifImageFile(io.BytesIO(data)))
