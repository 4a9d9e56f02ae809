"""The pictures of some folders for a training, and pictures drawn on the spot beside them.

Every file is an example, and so is every drawn picture, so an epoch of `dalle.reading.batches.Batches` shows each file
once, in an order that is a permutation of all of them, with drawn pictures strewn in. A drawn picture is another one
each epoch. What is held in memory are names: a file is read and decoded when its batch is made, by the process that
takes it, and is let go with the batch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dalle import scenes
from dalle.pictures import drawn_textures
from dalle.pictures.augment import dvae_view
from dalle.pictures.folders import picture_names, read_pictures
from dalle.pictures.pixels import Pixels
from dalle.reading.epoch_order import Piece, draws

DRAWN_ALONE = 4_096
"""Pictures in an epoch where all are drawn."""

_VIEW = 4
"""What is drawn of an example each epoch: where it is cut, and a drawn picture itself."""


class PictureFolders:
    """Pictures of folders and drawn ones, for `dalle.reading.batches.Batches`: `images` [B, 3, H, W] uint8.

    Each goes through `dalle.pictures.augment.dvae_view`, so H and W are `resolution`.

    Args:
        folders: with everything in their subfolders.
        resolution: sides of a picture in pixels.
        drawn_share: of all examples, the share that is drawn, 0 to 1: a third scenes, two thirds textures. N files have
            `round(N * drawn_share / (1 - drawn_share))` drawn pictures beside them; 1 takes no folders, and an epoch
            has `DRAWN_ALONE`.

    Raises:
        ValueError: if a folder is not there, cannot be listed or has no pictures, or nothing is left to read.
    """

    def __init__(
        self, folders: Sequence[Path], *, resolution: int, drawn_share: float = 0.0, mirrored: bool = True
    ) -> None:
        if not 0 <= drawn_share <= 1:
            raise ValueError(f"--drawn_share is {drawn_share}, expected 0 to 1")
        if 0.99 < drawn_share < 1:
            raise ValueError(f"--drawn_share is {drawn_share}, expected at most 0.99, or 1 and no --images")
        if (drawn_share == 1) == bool(folders):
            raise ValueError(
                f"--drawn_share is {drawn_share:g} and --images has {len(folders)} folders; give folders of pictures, "
                "or a drawn share of 1 and no folders"
            )
        self._folders, self._names = list(folders), [picture_names(folder) for folder in folders]
        self._first_ids = np.cumsum([0, *map(len, self._names)])
        self._files = int(self._first_ids[-1])
        self._mirrored = mirrored
        self._drawn = round(self._files * drawn_share / (1 - drawn_share)) if drawn_share < 1 else DRAWN_ALONE
        self._resolution = resolution
        self.fingerprint = _fingerprint(self._names, drawn_share)

    @property
    def counts(self) -> Sequence[int]:
        """One for each example, so that an epoch's order knows of no folders: the files first, then those drawn."""
        return [1] * (self._files + self._drawn)

    def too_few(self, batch_size: int) -> str:
        """That they do not fill a batch, for an error."""
        if not self._folders:
            return (
                f"{self._drawn} drawn pictures are an epoch, expected at least the {batch_size} of one batch; make "
                "--batch_size smaller, or give folders with --images"
            )
        drawn = f" and {self._drawn} drawn ones" if self._drawn else ""
        return (
            f"{self._files} pictures in {', '.join(map(str, self._folders))}{drawn}, expected at least the "
            f"{batch_size} of one batch; add folders with --images, or make --batch_size smaller or --drawn_share "
            "larger"
        )

    def load(self, pieces: Sequence[Piece]) -> np.ndarray:
        """[pictures] int64: the number of each in the dataset; files are read when their batch is made."""
        return np.array([piece.shard for piece in pieces], np.int64)

    def batch(self, examples: np.ndarray, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The pictures at some indices, read or drawn.

        Raises:
            ValueError: naming the file, if one cannot be read or decoded.
        """
        ids = examples[index]
        seeds = draws(seed, epoch, ids, _VIEW)
        pictures = []
        of_files = read_pictures(self._path(number) for number in ids.tolist() if number < self._files)
        for number, own_seed in zip(ids.tolist(), seeds.tolist(), strict=True):
            rng = np.random.default_rng(own_seed)
            if number < self._files:
                pixels = next(of_files)
            else:
                pixels = draw_picture(max(16, round(1.5 * self._resolution)), rng)
            pictures.append(dvae_view(pixels, rng, self._resolution, mirrored=self._mirrored))
        return {"images": np.stack(pictures).transpose(0, 3, 1, 2)}

    def _path(self, number: int) -> Path:
        folder = int(np.searchsorted(self._first_ids, number, side="right")) - 1
        return self._folders[folder] / self._names[folder][number - int(self._first_ids[folder])]


def draw_picture(side: int, rng: np.random.Generator) -> Pixels:
    """A drawn picture, [side, side, 3], of 16 pixels or more: a scene or, twice as often, a texture."""
    if rng.random() < 1 / 3:
        return scenes.draw(scenes.compose(int(rng.integers(2**31)), side, side))
    return drawn_textures.draw(side, rng)


def _fingerprint(names: Sequence[Sequence[str]], drawn_share: float) -> str:
    """sha256 of the names relative to their folders, in order, and of the drawn share; the folders may move."""
    digest = hashlib.sha256(repr(float(drawn_share)).encode())
    for of_folder in names:
        digest.update(os.fsencode("\0".join(["", str(len(of_folder)), *of_folder])))
    return digest.hexdigest()
