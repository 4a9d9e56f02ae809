"""What every format's reader gives: a picture's file whose header was read and whose pixels were not, yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from dalle.pictures.faults import UndecodableImage
from dalle.pictures.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its picture before a pixel is decoded."""

    format: str
    """As Pillow calls it: JPEG, PNG, WEBP, GIF, BMP, DIB, TIFF, AVIF or HEIF."""
    width: int
    height: int
    """In pixels, as the decoder gives them."""
    exif: Image.Exif
    icc: bytes | None = None
    is_plain_rgb: bool = False
    """One picture of three 8-bit channels, so that any reader shows the same of it."""
    is_turned: bool = False
    """Whether the decoder itself turns the picture as its EXIF orientation says."""


class Still(Protocol):
    """A picture's file."""

    header: Header

    def memory(self, at_least: int) -> int:
        """Bytes that `pixels` will hold at once, at most, beside the file's own."""
        ...

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """Decode.

        Args:
            at_least: how long the short side must stay; 0 for full size. Only JPEG makes use of it.

        Returns:
            [H, W, 3] uint8 as stored, and the profile that is still to be applied to them, or None.

        Raises:
            UndecodableImage: if the data end too early or contradict themselves.
        """
        ...


def refuse_sizes(width: int, height: int, max_pixels: int) -> None:
    """Refuse what a header says of the size.

    Raises:
        UndecodableImage: if there is no pixel, or there are more than the cap.
    """
    if min(width, height) < 1:
        raise UndecodableImage("corrupt", f"size is {width} x {height}")
    if width * height > max_pixels:
        raise UndecodableImage("too-many-pixels", f"{width} x {height} is more than {max_pixels} pixels")
