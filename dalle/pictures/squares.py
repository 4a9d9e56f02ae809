"""Squares of a picture as open_clip's models see them: one at random to train on, the centre's to judge by.

Both are resized by Pillow's bicubic filter, which widens as it shrinks. `centre_square` is to the bit what open_clip's
own preparation makes before it subtracts a mean.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from dalle.pictures.pixels import Pixels


def drawn_square(pixels: Pixels, rng: np.random.Generator, side: int, least_area: float) -> Pixels:
    """[side, side, 3]: a square from anywhere in the picture; never mirrored, for captions say left and right.

    Args:
        pixels: [H, W, 3].
        rng: draws its size and place.
        side: of what comes out.
        least_area: of the square, as a share of the largest there is; 0 to 1.
    """
    height, width = pixels.shape[:2]
    area = float(rng.uniform(least_area, 1))
    cut = max(1, min(height, width, round(area**0.5 * min(height, width))))
    top, left = int(rng.integers(0, height - cut + 1)), int(rng.integers(0, width - cut + 1))
    return _resized(pixels[top : top + cut, left : left + cut], side, side)


def centre_square(pixels: Pixels, side: int) -> Pixels:
    """[side, side, 3]: the picture resized until its short side is `side`, and the centre of that."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    new = int(side * height / short), int(side * width / short)
    resized = _resized(pixels, *new) if new != (height, width) else pixels
    top, left = round((new[0] - side) / 2), round((new[1] - side) / 2)
    return np.ascontiguousarray(resized[top : top + side, left : left + side])


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
