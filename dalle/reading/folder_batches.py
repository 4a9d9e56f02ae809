"""Batches of pictures from plain folders, and of pictures drawn on the spot, for training a dVAE.

Every picture of a batch is a function of the seed, the batch's number and the picture's place in it, so a run can go
on from any batch, and several processes see between them what one would see alone.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dalle import scenes
from dalle.pictures import drawn_textures, images
from dalle.pictures.augment import Pixels, dvae_view

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
AHEAD = 3
"""Batches made while others are trained on."""


class ImageBatches(Protocol):
    """Where a training gets its pictures; `dalle.reading.batches` reads them from shards."""

    def __iter__(self) -> Iterator[Tensor]:
        """This process's share of each batch, [B, 3, H, W] uint8, for ever."""

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come: what it took, not what was made ahead."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class FolderBatches:
    """The pictures of some folders in a new order each epoch, with a share of drawn pictures in every batch."""

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        batch_size: int,
        resolution: int,
        drawn_share: float = 0.0,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._files = [file for folder in folders for file in picture_files(folder)]
        self._resolution, self._seed = resolution, seed
        self._photos = batch_size - round(drawn_share * batch_size)
        if len(self._files) < self._photos:
            where = ", ".join(map(str, folders)) or "no folder"
            raise ValueError(
                f"{len(self._files)} pictures in {where}, expected at least the {self._photos} of one batch; add "
                "folders with --images, or make --batch_size smaller or --drawn_share larger"
            )
        share = batch_size // ranks
        self._places = range(rank * share, (rank + 1) * share)
        self._taken = 0

    def __iter__(self) -> Iterator[Tensor]:
        with ThreadPoolExecutor(2) as pool:
            coming: deque[Future[Tensor]] = deque()
            while True:
                while len(coming) < AHEAD:
                    coming.append(pool.submit(self.batch, self._taken + len(coming)))
                batch = coming.popleft().result()
                self._taken += 1
                yield batch

    def batch(self, number: int) -> Tensor:
        """This process's share of a batch, [B, 3, resolution, resolution] uint8."""
        pictures = [self._picture(number, place) for place in self._places]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)

    def state_dict(self) -> dict[str, Any]:
        """Which batch comes next, and of which pictures."""
        return {"batches": self._taken, "pictures": self._fingerprint()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: if the folders hold other pictures than then.
        """
        if state["pictures"] != self._fingerprint():
            raise ValueError(
                "the folders of --images do not hold the pictures that this training began with; give those back, or "
                "begin anew in another --output_folder"
            )
        self._taken = state["batches"]

    def _picture(self, number: int, place: int) -> Pixels:
        rng = np.random.default_rng((self._seed, number, place))
        if place >= self._photos:
            return dvae_view(_draw(round(1.5 * self._resolution), rng), rng, self._resolution)
        batches = len(self._files) // self._photos  # in an epoch; fewer pictures than one batch are left over
        order = np.random.default_rng((self._seed, number // batches)).permutation(len(self._files))
        file = self._files[order[number % batches * self._photos + place]]
        return dvae_view(images.decode(file.read_bytes()), rng, self._resolution)

    def _fingerprint(self) -> str:
        names = "\n".join(file.name for file in self._files)
        return hashlib.sha256(names.encode()).hexdigest()


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder and its subfolders by name."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


def _draw(side: int, rng: np.random.Generator) -> Pixels:
    """A scene or, twice as often, a texture."""
    if rng.random() < 1 / 3:
        return scenes.draw(scenes.compose(int(rng.integers(2**31)), side, side))
    return drawn_textures.draw(side, rng)
