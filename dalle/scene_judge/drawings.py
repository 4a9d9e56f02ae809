"""What a judge is trained on: drawings of all combinations of the dialect, new ones for every step."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dalle.reading.ahead import read_ahead
from dalle.scenes import draw_flat
from dalle.scenes.dialect import compose_simple
from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, MOST_THINGS, SIZES
from dalle.scenes.layout import stream
from schemas.ranges import MOST_STEPS

DRAWN_SIDE = 192
"""Side in pixels at which scenes are drawn before they are shrunk, as those of the web are."""
_FIRST, _OF_SEED = 3_000_000_000, 1_000_000_000
"""Seeds of scenes: none is one of a web or of an evaluation."""
NOTHING = -1


class Drawings:
    """Batches of `dalle.training.loop`, for ever: a function of seed and step.

    Args:
        side: of the pictures, pixels.
        batch_size: B.
        seed: of the drawings.
        workers: processes that draw ahead; 0 draws in this one.
    """

    def __init__(self, *, side: int, batch_size: int, seed: int, workers: int) -> None:
        self._steps, self._done, self._workers = _Steps(side, batch_size, seed), 0, workers

    def __iter__(self) -> Generator[dict[str, Tensor], None, None]:
        left = range(self._done, MOST_STEPS)
        made = read_ahead(self._steps, self._workers, left) if self._workers else map(self._steps.__getitem__, left)
        for batch in made:
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many steps were taken."""
        return {"steps": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._done = max(int(state["steps"]), 0)


class _Steps(Dataset[dict[str, Tensor]]):
    """The batch of each step, by its number."""

    def __init__(self, side: int, batch_size: int, seed: int) -> None:
        self._side, self._batch_size, self._seed = side, batch_size, seed

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        cv2.setNumThreads(1)
        first = _FIRST + self._seed % 1_000_000 * _OF_SEED + step * self._batch_size
        return drawn(range(first, first + self._batch_size), self._side, blurred=True)


def drawn(seeds: range, side: int, *, blurred: bool = False) -> dict[str, Tensor]:
    """Scenes and what is in them.

    Args:
        seeds: of B scenes.
        side: of the pictures, pixels.
        blurred: make some of them softer and noisier, as what comes out of codes is.

    Returns:
        `images` [B, side, side, 3] uint8; `things` [B, 3, 5] float32, kind, colour and size by number and the middle's
        x and y as shares, kind -1 where there is none; `background` [B] int64.
    """
    images = np.empty((len(seeds), side, side, 3), np.uint8)
    things = np.full((len(seeds), MOST_THINGS, 5), NOTHING, np.float32)
    background = np.empty(len(seeds), np.int64)
    for row, seed in enumerate(seeds):
        made = compose_simple(seed, DRAWN_SIDE)
        small = cv2.resize(draw_flat(made.scene), (side, side), interpolation=cv2.INTER_AREA)
        images[row] = _softened(small, stream(seed, 10)) if blurred else small
        background[row] = tuple(BACKGROUNDS).index(made.scene.background)
        for number, thing in enumerate(made.scene.things):
            words = tuple(KINDS).index(thing.shape), COLOURS.index(thing.colour), tuple(SIZES).index(thing.size)
            things[row, number] = (*words, *thing.centre)
    return {
        "images": torch.from_numpy(images),
        "things": torch.from_numpy(things),
        "background": torch.from_numpy(background),
    }


def _softened(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.9))
    noise = rng.standard_normal(picture.shape, np.float32) * rng.uniform(0, 8)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
