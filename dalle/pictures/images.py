"""Bytes from anywhere to the pixels a person would see: 8-bit sRGB, the right way up.

`open_picture` reads the header only, so that a picture can be refused for its shape, its size or the memory it would
take before anything is decoded. Which decoder reads what, and why, stands in `dalle.pictures.formats`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import cv2
import numpy as np
from PIL import ExifTags, Image

from dalle.pictures.colour import to_srgb
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.formats import Still, open_still
from dalle.pictures.formats.exif import exif_json
from dalle.pictures.pixels import Pixels

MAX_PIXELS = 100_000_000
_BYTES_A_PIXEL, _LEAST_MEMORY = 7.5, 256 << 20

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


def memory_allowed(max_pixels: int) -> int:
    """Bytes that one picture may take while it is decoded, resized and encoded.

    750 MB at the default, so that a process that decodes stays below one gigabyte. The deepest PNG, of four channels of
    16 bits, takes 8 bytes a pixel.
    """
    return max(_LEAST_MEMORY, int(_BYTES_A_PIXEL * max_pixels))


class Picture:
    """A picture whose header was read and whose pixels were not, yet."""

    def __init__(self, still: Still, max_pixels: int) -> None:
        self._still = still
        self.max_pixels = max_pixels
        header = still.header
        self.format = header.format
        orientation = header.exif.get(ExifTags.Base.Orientation, 1)
        self._unturn = None if header.is_turned or not isinstance(orientation, int) else _UNTURN.get(orientation)
        turned = self._unturn is not None and orientation >= 5
        self.width, self.height = (header.height, header.width) if turned else (header.width, header.height)
        """As it is displayed, in pixels."""

    @property
    def is_plain(self) -> bool:
        """Whether its own bytes show the same to a reader that knows neither EXIF, profiles nor colour models."""
        return self._unturn is None and self._still.header.icc is None and self._still.header.is_plain_rgb

    def exif_json(self) -> str:
        """The EXIF tags as one JSON object of strings, of 16 KiB at most: `dalle.pictures.formats.exif.exif_json`."""
        return exif_json(self._still.header.exif)

    def memory(self, at_least: int = 0) -> int:
        """Bytes that `pixels` holds at once, at most, beside the file's own."""
        turned = 3 * self.width * self.height if self._unturn else 0
        return self._still.memory(at_least) + turned

    def pixels(self, at_least: int = 0) -> Pixels:
        """Decode.

        Args:
            at_least: a JPEG may be decoded at half, a quarter or an eighth of its size as long as its short side
                stays at least this long; 0 decodes at full size.

        Returns:
            [H, W, 3] uint8, sRGB, the right way up; H, W may be smaller than `height`, `width` (see `at_least`).

        Raises:
            UndecodableImage: if the data end too early or contradict themselves, or would take too much memory.
            MemoryError: if there is less than they take.
        """
        pixels, profile = self.unconverted(at_least)
        return to_srgb(pixels, profile) if profile else pixels

    def unconverted(self, at_least: int = 0) -> tuple[Pixels, bytes | None]:
        """The same, but pixels of a profile may still be its own: `dalle.pictures.colour.to_srgb` converts them.

        Who shrinks the picture converts it after that, for there is less of it; the difference is not seen.

        Returns:
            pixels as those of `pixels`, and their profile, or None if they are sRGB.
        """
        self.check_memory(self.memory(at_least))
        pixels, profile = self._still.pixels(at_least)
        return (self._unturn(pixels) if self._unturn else pixels), profile

    def check_memory(self, needed: int) -> None:
        """Refuse what would take more bytes than a picture may.

        Raises:
            UndecodableImage: saying how many.
        """
        allowed = memory_allowed(self.max_pixels)
        if needed > allowed:
            raise UndecodableImage(
                "decoder-memory",
                f"{self.width} x {self.height} as {self.format} would take {needed / 1e6:,.0f} MB, more than the "
                f"{allowed / 1e6:,.0f} MB that a picture may",
            )


def open_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the header of a picture.

    Raises:
        UndecodableImage: if the bytes are no picture of a known format, or it has more pixels than the cap.
    """
    return Picture(open_still(data, max_pixels), max_pixels)


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Pixels:
    """All pixels of a picture: [H, W, 3] uint8, sRGB, the right way up.

    Raises:
        UndecodableImage: if there is no picture in the bytes.
    """
    return open_picture(data, max_pixels).pixels()
