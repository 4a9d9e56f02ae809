"""Where a dVAE's training gets its pictures: a dataset of pairs, or folders; seen as Listing 1 says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dalle.dvae.options import TrainDVAEOptions
from dalle.pictures.augment import dvae_view
from dalle.pictures.folders import picture_files
from dalle.reading.batches import Batch, Batches, Reading, Shards
from dalle.reading.endless import Endless
from dalle.reading.pair_shards import PairShards
from dalle.reading.picture_folders import PictureFolders
from dalle.training.ranks import Ranks

WINDOW = 4_096
"""Stored pictures that are shuffled together."""


@dataclass(frozen=True, kw_only=True)
class TrainingPictures:
    """What is trained on."""

    batches: Endless
    """`images`, [B, 3, H, W] uint8, this process's share of each batch, for ever."""
    source: str
    """What a person calls it."""
    inputs: Sequence[Mapping[str, Any]]
    """Name and sha256, for the manifest."""
    lineage: Sequence[Mapping[str, Any]]
    """The datasets behind it."""
    reading: Reading
    """Picture after picture of the first epoch and those after it, all of them, without ranks."""

    def first(self, size: int) -> Iterator[Tensor]:
        """From the first picture on, whatever was taken of the batches, for ever: [size, 3, H, W] uint8."""
        pictures = iter(self.reading)
        while True:
            yield torch.cat([_images(next(pictures)) for _ in range(size)])


def training_pictures(options: TrainDVAEOptions, ranks: Ranks) -> TrainingPictures:
    """The pictures that the options name.

    Raises:
        ValueError: unless it is exactly one of a dataset and folders, and fills a batch of all processes.
    """
    chosen, batch_size = options.pictures, options.loop.batch_size
    if (chosen.input_folder is None) == (not chosen.images and not chosen.drawn_share):
        raise ValueError("expected either --input_folder, a dataset of pairs, or --images, folders of pictures")
    ranks.share(batch_size, "--batch_size")
    if chosen.validation_images is not None:
        picture_files(chosen.validation_images)  # a wrong folder is said now, not at the first evaluation
    lineage: Sequence[Mapping[str, Any]] = ()
    shards: Shards
    if chosen.input_folder is not None:
        shards = pairs = PairShards(
            chosen.input_folder,
            view=partial(dvae_view, resolution=chosen.resolution, mirrored=chosen.mirrored),
            allow_undeduplicated=chosen.allow_undeduplicated,
        )
        name, source = "pairs", chosen.input_folder
        lineage = pairs.lineage
    else:
        shards = PictureFolders(
            chosen.images, resolution=chosen.resolution, drawn_share=chosen.drawn_share, mirrored=chosen.mirrored
        )
        name, source = "images", ", ".join(map(str, chosen.images)) or "drawn"
    batches = Batches(
        shards,
        batch_size=batch_size,
        seed=options.loop.seed,
        window=WINDOW,
        rank=ranks.rank,
        ranks=ranks.count,
        workers=chosen.workers,
    )
    return TrainingPictures(
        batches=Endless(batches),
        source=source,
        inputs=[{"name": name, "sha256": shards.fingerprint}],
        lineage=lineage,
        reading=Reading(shards, 1, options.loop.seed, WINDOW, epoch=0, consumed=0, rank=0, ranks=1, endless=True),
    )


def _images(batch: Batch | ValueError) -> Tensor:
    if isinstance(batch, ValueError):  # as a process that reads ahead hands it on; this one raises
        raise batch
    return batch["images"]
