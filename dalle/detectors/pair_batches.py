"""Batches of pairs for the training of a detector: two edited views of each picture, a function of seed and step."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dalle.detectors.learning_pairs import LearningPictures, batch, read_pictures
from dalle.detectors.options import TrainDetectorOptions
from dalle.reading.ahead import read_ahead
from schemas.manifest import fingerprint

SOURCE = 1.375
"""Short side of the pictures that views are made from, over the side of a view."""


class PairBatches:
    """[2, B, S, S, 3] uint8 for every step of a training; see `dalle.training.loop.Batches`.

    Args:
        options: which pictures, how many, and their sides.
        names: of the photographs, in order; a training that goes on must have the same.
    """

    def __init__(self, options: TrainDetectorOptions, names: list[str]) -> None:
        self._options, self._steps = options, 0
        self.fingerprint = fingerprint([names, options.hold_out_every, options.drawn, options.loop.seed])

    def __iter__(self) -> Generator[Tensor, None, None]:
        options, pairs = self._options, _Steps(self._options)
        left = range(self._steps, options.loop.steps)
        for views in read_ahead(pairs, options.workers, left) if options.workers else map(pairs.__getitem__, left):
            self._steps += 1
            yield views

    def state_dict(self) -> dict[str, Any]:
        """How many steps were taken, on which pictures."""
        return {"steps": self._steps, "pictures": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: if it was a training on other pictures.
        """
        if state["pictures"] != self.fingerprint:
            raise ValueError(
                "--images do not hold the pictures that this training began with, or another seed draws them; give "
                "what it began with, or begin anew in another --output_folder"
            )
        self._steps = max(int(state["steps"]), 0)


class _Steps(Dataset[Tensor]):
    """The batch of each step, by its number."""

    def __init__(self, options: TrainDetectorOptions) -> None:
        self._options = options
        self._pictures = cache(self._read)  # in the worker: too much to be pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return _Steps, (self._options,)

    def __getitem__(self, step: int) -> Tensor:
        options, side = self._options, self._options.side_of(step)
        pictures = self._pictures(side)
        return torch.from_numpy(batch(pictures, side, options.loop.batch_size, (options.loop.seed, step)))

    def _read(self, side: int) -> LearningPictures:
        cv2.setNumThreads(1)
        options = self._options
        return read_pictures(
            options.images, round(SOURCE * side), options.drawn, options.loop.seed, options.hold_out_every
        )
