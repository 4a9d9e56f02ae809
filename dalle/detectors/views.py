"""What of a reference picture a detector looks at, because its copies may show only that."""

from collections.abc import Callable

import numpy as np

from dalle.pictures.pixels import Pixels


def _centre(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def _mirror(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


VIEWS: dict[str, Callable[[Pixels], Pixels]] = {
    "whole": lambda pixels: pixels,
    "centre": _centre,
    "mirror": _mirror,
    "centre-mirror": lambda pixels: _mirror(_centre(pixels)),
}
"""centre: the square in its middle, which is what ingest stores of a picture; mirror: left and right exchanged."""
