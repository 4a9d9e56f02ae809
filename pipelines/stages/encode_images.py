"""Pictures to codes: crops as the paper's transformer sees them, through an encoder in batches of one size.

Ramesh et al. 2021, App. B, Listing 2: a square near the centre, shrunk to between 256 and 288 pixels, a window of 256
from anywhere in it, never mirrored. The paper draws one anew each epoch; here several are drawn once and stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dalle.dvae.image_encoders import ImageEncoder
from dalle.pictures.augment import cut, draw_crops
from dalle.pictures.pixels import Pixels

RESOLUTION = 256
CROP_POLICY = "listing-2"
"""Names what `crops_of` does; another way of drawing would have another name."""


@dataclass(frozen=True)
class Crops:
    """Of one picture."""

    views: list[Pixels]
    """[resolution, resolution, 3] uint8 each."""
    boxes: list[tuple[float, float, float, float]]
    """Left, top, right, bottom in pixels of the stored picture."""


def crops_of(pixels: Pixels, key: str, count: int, seed: int, resolution: int = RESOLUTION) -> Crops:
    """The crops of a picture: a function of its key and the seed alone; one is the centre crop.

    Args:
        pixels: of the stored picture.
        key: of it.
        count: of crops.
        seed: of the run.
        resolution: side of a crop, pixels; the paper's if not given.
    """
    height, width = pixels.shape[:2]
    crops = draw_crops(height, width, count, np.random.default_rng((seed, int(key))), resolution)
    views = [cut(pixels, crop, resolution) for crop in crops]
    return Crops(views, [crop.box(height, width, resolution) for crop in crops])


def encode_views(views: Iterable[Pixels], encoder: ImageEncoder, batch_size: int) -> Iterator[np.ndarray]:
    """[n] uint16 codes of each view, in order.

    Every batch has the same size, the last one is filled up with black: what a convolution gives for a picture may
    depend, in the last bits, on how many go through it together.

    Raises:
        ValueError: if the encoder gives something else than codes.
    """
    views = iter(views)
    while some := list(itertools.islice(views, batch_size)):
        batch = np.zeros((batch_size, *some[0].shape), np.uint8)
        batch[: len(some)] = some
        codes = encoder.encode(torch.from_numpy(batch).permute(0, 3, 1, 2)).reshape(batch_size, -1).numpy()
        if not 0 <= codes.min() <= codes.max() < 1 << 16:
            raise ValueError(f"the encoder gave codes from {codes.min()} to {codes.max()}, expected 0 to 65,535")
        yield from codes[: len(some)].astype(np.uint16)
