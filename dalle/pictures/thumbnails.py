"""Small pictures for pages: as good as their share of the page's bytes allows."""

from __future__ import annotations

from dalle.pictures.images import open_picture
from dalle.pictures.pixels import Pixels
from dalle.pictures.resize import encode, resize

RUNGS = (
    (256, 80, 5_500),
    (256, 65, 4_000),
    (192, 65, 2_800),
    (160, 60, 2_100),
    (128, 60, 1_550),
    (96, 55, 1_000),
    (64, 45, 500),
    (48, 30, 300),
    (32, 10, 0),
)
"""Longest side in pixels, WebP quality, and the bytes from which it is tried: a little above a photograph's median."""


def thumbnail(data: bytes, most: int) -> bytes:
    """A picture as WebP of at most `most` bytes; empty if its smallest form has more.

    Raises:
        UndecodableImage: if there is no picture in the bytes.
    """
    return thumbnail_of(open_picture(data).pixels(at_least=side_decoded_for(most)), most)


def thumbnail_of(pixels: Pixels, most: int) -> bytes:
    """The same of pixels, [H, W, 3], that were decoded with `side_decoded_for` at least."""
    for side, quality, _ in _rungs(most):
        pixels = resize(pixels, side, "keep_ratio_largest", only_if_bigger=True)
        encoded = encode(pixels, "webp", quality)
        if len(encoded) <= most:
            return encoded
    return b""


def side_decoded_for(most: int) -> int:
    """The short side in pixels that a picture must have for its thumbnail."""
    return _rungs(most)[0][0]


def side_for(most: int) -> int:
    """The longer side in pixels of most thumbnails that may have `most` bytes."""
    return next((side for side, _, least in RUNGS if least <= most), RUNGS[-1][0])


def _rungs(most: int) -> tuple[tuple[int, int, int], ...]:
    return tuple(rung for rung in RUNGS if rung[2] <= most) or RUNGS[-1:]
