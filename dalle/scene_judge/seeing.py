"""What a judge sees in pictures: things with kind, colour, size and place, and the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.scene_judge.network import PARTS, SceneJudge, normalise
from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, SIZES

_AT_ONCE = 128


class SeenThing(NamedTuple):
    """One thing of a picture."""

    kind: str
    colour: str
    size: str
    centre: tuple[float, float]
    """(x, y) as shares of width and height."""


class Seen(NamedTuple):
    """What is seen in a picture."""

    things: tuple[SeenThing, ...]
    """The surest first."""
    background: str


@torch.inference_mode()
def see(judge: SceneJudge, pictures: Sequence[np.ndarray]) -> Iterator[Seen]:
    """What is in each of some pictures.

    Args:
        judge: in use, not in training.
        pictures: [H, W, 3] uint8 RGB each, squares.
    """
    side = judge.config.side
    for first in range(0, len(pictures), _AT_ONCE):
        some = np.stack([_of_side(picture, side) for picture in pictures[first : first + _AT_ONCE]])
        maps, backgrounds = judge(normalise(torch.from_numpy(some)))
        for one, background in zip(maps, backgrounds.argmax(1).tolist(), strict=True):
            yield Seen(tuple(_things(one)), tuple(BACKGROUNDS)[background])


def _of_side(picture: np.ndarray, side: int) -> np.ndarray:
    if picture.shape[:2] == (side, side):
        return picture
    smaller = picture.shape[0] > side
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _things(logits: Tensor) -> Iterator[SeenThing]:
    """From the map of a picture, [27, G, G]: a thing at every peak that is more likely than not."""
    there, *words = logits.split(PARTS)
    peaks = (there == F.max_pool2d(there, 3, 1, 1)) & (there > 0)
    grid = logits.shape[-1]
    spots = peaks[0].nonzero().tolist()
    for row, column in sorted(spots, key=lambda spot: -float(there[0, spot[0], spot[1]])):
        kind, colour, size = (int(word[:, row, column].argmax()) for word in words)
        rows, columns = (slice(max(0, at - 1), at + 2) for at in (row, column))
        weights = there[0, rows, columns].sigmoid()
        y = (weights.sum(1) @ torch.arange(grid)[rows].float() / weights.sum() + 0.5) / grid
        x = (weights.sum(0) @ torch.arange(grid)[columns].float() / weights.sum() + 0.5) / grid
        yield SeenThing(tuple(KINDS)[kind], COLOURS[colour], tuple(SIZES)[size], (float(x), float(y)))
