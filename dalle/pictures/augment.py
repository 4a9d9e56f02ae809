"""What is done to a picture before a dVAE sees it: the paper's Listings 1 and 2 (Ramesh et al. 2021, App. A and B).

Both shrink with TensorFlow's AREA filter with `align_corners=True`, as the listings do: output pixel i is the mean of
the input over [i r, (i + 1) r), where r = (old - 1) / (new - 1) and what reaches past the edge repeats the last
pixel. OpenCV's INTER_AREA has r = old / new, which is half a pixel apart at the edges.

The listings cannot cut 256 pixels out of a picture whose short side is less, and the paper does not say what it did
with those. Here such a picture is first enlarged (Lanczos) until its short side is long enough, as little as possible.

Everything random comes from the caller's generator, so the same generator gives the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dalle.pictures.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square of a picture as a transformer's training sees it (Listing 2).

    A square of `side` at (`top`, `left`) is shrunk to `scaled`, and of that a window at (`row`, `column`) is kept. All
    are pixels of the picture after `enlarge`.
    """

    top: int
    left: int
    side: int
    scaled: int
    row: int
    column: int

    def box(self, height: int, width: int, resolution: int = 256) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is kept, in pixels of the picture itself, [height, width]."""
        shrink = self.side / self.scaled
        enlarged = max(1.0, resolution / min(height, width))
        left, top = self.left + self.column * shrink, self.top + self.row * shrink
        right, bottom = left + resolution * shrink, top + resolution * shrink
        return left / enlarged, top / enlarged, right / enlarged, bottom / enlarged


def dvae_view(pixels: Pixels, rng: np.random.Generator, resolution: int = 256, *, mirrored: bool = True) -> Pixels:
    """One view for training a dVAE: [resolution, resolution, 3] (Listing 1).

    A square of the short side from anywhere, shrunk to 9/8 to 12/8 of the resolution where it is that large, a
    window from anywhere in it, mirrored half of the time unless told otherwise.
    """
    pixels = enlarge(pixels, resolution)
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = _offset(height - side, rng), _offset(width - side, rng)
    least, most = min(side, round(9 / 8 * resolution)), min(side, round(12 / 8 * resolution))
    scaled = int(rng.integers(least, most + 1))
    square = shrink_area(pixels[top : top + side, left : left + side], scaled)
    row, column = _offset(scaled - resolution, rng), _offset(scaled - resolution, rng)
    view = square[row : row + resolution, column : column + resolution]
    return np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 and mirrored else view)


def draw_crops(height: int, width: int, count: int, rng: np.random.Generator, resolution: int = 256) -> list[Crop]:
    """Where the codes of a picture of this size are taken (Listing 2).

    Args:
        height, width: of the picture as it is stored.
        count: how many crops; one alone is the centre crop and draws nothing.
        rng: draws where the others are: a square of the short side near the centre, shrunk to between the resolution
            and 9/8 of it where it is that large, a window from anywhere in it, never mirrored, for pictures hold
            letters.
    """
    height, width = enlarged_size(height, width, resolution)
    side = min(height, width)
    if count == 1:
        return [Crop(top=(height - side) // 2, left=(width - side) // 2, side=side, scaled=resolution, row=0, column=0)]
    return [_draw_crop(height, width, rng, resolution) for _ in range(count)]


def cut(pixels: Pixels, crop: Crop, resolution: int = 256) -> Pixels:
    """The crop of a picture, [resolution, resolution, 3]."""
    pixels = enlarge(pixels, resolution)
    square = pixels[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    scaled = shrink_area(square, crop.scaled)
    return scaled[crop.row : crop.row + resolution, crop.column : crop.column + resolution]


def enlarge(pixels: Pixels, resolution: int) -> Pixels:
    """The picture with a short side of at least so many pixels; the very same array if it has them."""
    height, width = enlarged_size(pixels.shape[0], pixels.shape[1], resolution)
    if (height, width) == pixels.shape[:2]:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LANCZOS4)


def enlarged_size(height: int, width: int, resolution: int) -> tuple[int, int]:
    """Height and width after `enlarge`."""
    side = min(height, width)
    if side >= resolution:
        return height, width
    return round(height * resolution / side), round(width * resolution / side)


def shrink_area(pixels: Pixels, size: int) -> Pixels:
    """A square picture at a smaller size, by TensorFlow's AREA filter with aligned corners, rounded to uint8."""
    if len(pixels) == size:
        return pixels
    across = _mean_along(pixels.astype(np.float32).transpose(1, 0, 2), size)
    return np.rint(_mean_along(across.transpose(1, 0, 2), size).clip(0, 255)).astype(np.uint8)


def _mean_along(values: np.ndarray, size: int) -> np.ndarray:
    """Means of stretches of the first axis, so many of them."""
    old = len(values)
    ratio = (old - 1) / (size - 1) if size > 1 else float(old)
    start = np.arange(size) * ratio
    first = np.floor(start).astype(int)
    total = np.zeros((size, *values.shape[1:]), np.float32)
    for step in range(int(np.ceil(ratio)) + 1):  # the widest stretch touches so many pixels
        pixel = first + step
        overlap = np.minimum(pixel + 1, start + ratio) - np.maximum(pixel, start)
        weight = (overlap.clip(0, None) / ratio).astype(np.float32)
        total += weight[:, None, None] * values[pixel.clip(None, old - 1)]
    return total


def _draw_crop(height: int, width: int, rng: np.random.Generator, resolution: int) -> Crop:
    side = min(height, width)
    top, left = _near_centre(height - side, rng), _near_centre(width - side, rng)
    most = max(resolution, min(side, round(9 / 8 * resolution)))
    scaled = int(rng.integers(resolution, most + 1))
    row, column = _offset(scaled - resolution, rng), _offset(scaled - resolution, rng)
    return Crop(top=top, left=left, side=side, scaled=scaled, row=row, column=column)


def _near_centre(room: int, rng: np.random.Generator) -> int:
    least = 3 * room // 8
    return int(rng.integers(least, max(least + 1, 5 * room // 8)))


def _offset(room: int, rng: np.random.Generator) -> int:
    """A whole number from 0 to `room`."""
    return int(rng.integers(0, room + 1))
