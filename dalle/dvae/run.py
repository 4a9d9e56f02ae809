"""The training of a dVAE in progress: what changes with every update, how it is kept, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from dalle.dvae.bound import Objective
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import Conv2d
from dalle.dvae.options import TrainOptions
from dalle.pictures import images
from dalle.pictures.augment import cut, draw_crops, dvae_view
from dalle.reading.batches import Batches
from dalle.reading.folder_batches import FolderBatches, ImageBatches, picture_files
from dalle.reading.pair_shards import PairShards
from dalle.training import checkpoint
from dalle.training.steps import Average, Log, Ranks, Stepper, perplexity

PICTURES_IN_MEMORY = 4_096
"""Stored pictures that are shuffled together."""
COUNT_EVERY = 8
"""The codes of every so manieth update are counted; looking for the largest of 8,192 takes time."""


class Run:
    """Everything that changes with an update."""

    def __init__(self, options: TrainOptions, ranks: Ranks, objective: Objective) -> None:
        self.options, self.ranks, self.dvae = options, ranks, objective.dvae
        objective.to(ranks.device).to(memory_format=torch.channels_last)
        for layer in objective.modules():
            if isinstance(layer, Conv2d):
                layer.full_precision &= options.full_precision_codes
        self.names, self.has_codes, self._objective = objective.names, objective.has_codes, objective
        self._parallel = DistributedDataParallel(objective) if ranks.count > 1 else objective
        optimiser = torch.optim.AdamW(
            objective.parameters(), betas=(0.9, 0.999), eps=1e-8, weight_decay=options.weight_decay, fused=True
        )
        self._stepper = Stepper(optimiser, options.precision, ranks.device)
        self.average = Average(objective, options.average)
        self.batches = pictures(options, ranks)
        self.updates = 0
        self._sums = torch.zeros(1 + len(self.names), dtype=torch.float64)
        self._counts = torch.zeros(options.network.vocab_size, dtype=torch.int64)

    def update(self, batch: Tensor) -> None:
        """One update from this process's share of a batch, [B, 3, H, W] uint8."""
        first = self.ranks.rank * len(batch)
        portions = batch.split(self.options.pictures_at_once)
        for index, portion in enumerate(portions):
            pixels = map_pixels(portion.to(self.ranks.device)).contiguous(memory_format=torch.channels_last)
            start = first + index * self.options.pictures_at_once
            seeds = [(self.options.seed, self.updates, start + place) for place in range(len(portion))]
            with self._gathering(last=index == len(portions) - 1):
                with self._stepper.autocast():
                    loss, parts, logits = self._parallel(pixels, self.updates, seeds)
                share = len(portion) / len(batch)
                self._stepper.backward(loss * share)
            self._sums += torch.cat([loss.detach()[None], parts]).double().cpu() * share
            if logits is not None and self.updates % COUNT_EVERY == 0:
                self._counts += logits.argmax(1).flatten().bincount(minlength=len(self._counts)).cpu()
        *_, step_size = self.options.schedule.at(self.updates)
        self._stepper.step(step_size)
        self.average.update()
        self.updates += 1

    def _gathering(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the processes once an update, with the last portion's."""
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return nullcontext()

    def figures(self) -> dict[str, float]:
        """Means over the updates since the last call, of all processes, and the schedules' values."""
        means = self.ranks.mean(self._sums / self.options.log_every).tolist()
        counts = (self.ranks.mean(self._counts.double()) * self.ranks.count).round()
        scheduled = self.options.schedule.at(self.updates - 1)
        self._sums.zero_()
        self._counts.zero_()
        figures = dict(zip(("loss", *self.names, "beta", "tau", "step_size"), (*means, *scheduled), strict=True))
        return figures | (usage(counts) if counts.any() else {})

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "updates": self.updates,
            "network": asdict(self.options.network),
            "weights": self._objective.state_dict(),
            "average": self.average.state_dict(),
            "stepper": self._stepper.state_dict(),
            "batches": self.batches.state_dict(),
            "sums": self._sums,
            "counts": self._counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: if it was a training of another network or on other pictures.
        """
        expected = asdict(self.options.network)
        if state["network"] != expected:
            raise ValueError(
                f"the checkpoint is of a network with {state['network']}, expected {expected}; give the options that "
                "the training began with, or another --output_folder"
            )
        self.updates = state["updates"]
        self._objective.load_state_dict(state["weights"])
        self.average.load_state_dict(state["average"])
        self._stepper.load_state_dict(state["stepper"])
        self.batches.load_state_dict(state["batches"])
        self._sums, self._counts = state["sums"], state["counts"]


def go_on(run: Run) -> None:
    """Run the updates that are left, from the last checkpoint if there is one, with a log."""
    options, folder = run.options, run.options.output_folder / "checkpoints"
    last = checkpoint.latest(folder)
    if last is not None:
        run.load_state_dict(checkpoint.load(last))
        if run.ranks.first:
            print(f"  goes on from {last}, {run.updates:,} of {options.schedule.updates:,} updates are done")
    log = Log(options.output_folder, run.updates) if run.ranks.first else None
    since = time.monotonic()
    for batch in run.batches if run.updates < options.schedule.updates else ():
        run.update(batch)
        if run.updates % options.log_every == 0:
            figures = run.figures()  # by all processes, for they add up
            figures["pictures_per_second"] = options.batch_size * options.log_every / (time.monotonic() - since)
            since = time.monotonic()
            if log is not None:
                log.figures(run.updates, figures)
                print(progress_line(run, figures), flush=True)
        if log is not None and run.updates % options.watch_every == 0:
            watch(run, log, batch)
        ended = run.updates >= options.schedule.updates
        if log is not None and (ended or run.updates % options.checkpoint_every == 0):
            checkpoint.save(folder, run.updates, run.state_dict())
        if ended:
            break
    if log is not None:
        log.close()


def progress_line(run: Run, figures: Mapping[str, float]) -> str:
    """What a log's line says, for whoever looks on."""
    vocab_size = run.options.network.vocab_size
    parts = [f"loss {figures['loss']:.3f}"]
    parts += [f"off by {100 * figures[name]:.1f} % of the range" for name in run.names if name.endswith("error")]
    if "codes_dead" in figures:
        parts.append(f"{vocab_size - figures['codes_dead']:,.0f} of {vocab_size:,} codes in use")
    parts.append(f"{figures['pictures_per_second']:,.1f} pictures/s")
    return f"  update {run.updates:,} of {run.options.schedule.updates:,}: {', '.join(parts)}"


def watch(run: Run, log: Log, batch: Tensor) -> None:
    """Measure the averaged weights and show reconstructions: of pictures that are not trained on, if there are any.

    Args:
        run: what is trained.
        log: takes the figures, `validation_...`, or `training_...` where there is no folder of other pictures.
        batch: [B, 3, H, W] uint8, what was just trained on.
    """
    folder = run.options.validation_images
    if folder is not None:
        views = [centre(file, run.options.resolution) for file in picture_files(folder)[:64]]
        originals = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
    elif run.has_codes:
        originals = batch[:64]
    else:
        return
    with run.average.in_place():
        codes = torch.cat([run.dvae.encode(part.to(run.ranks.device)) for part in originals.split(8)])
        again = torch.cat([run.dvae.decode(part).cpu() for part in codes.split(8)])
    errors = (again - originals / 255).square().flatten(1).mean(1)
    used = usage(codes.flatten().bincount(minlength=run.options.network.vocab_size))
    figures = {"psnr": float((-10 * errors.log10()).mean()), **used}
    kind = "training" if folder is None else "validation"
    log.figures(run.updates, {f"{kind}_{name}": value for name, value in figures.items()})
    log.pictures(run.updates, "original_and_reconstruction", torch.cat([originals[:8] / 255, again[:8]], dim=2))


def centre(file: Path, side: int) -> np.ndarray:
    """A picture's centre crop, [side, side, 3]."""
    pixels = images.decode(file.read_bytes())
    height, width, _ = pixels.shape
    (crop,) = draw_crops(height, width, 1, np.random.default_rng(0), side)
    return cut(pixels, crop, side)


def usage(counts: Tensor) -> dict[str, float]:
    """How evenly the codes were used, how many never were, and how many places were looked at."""
    return {
        "codes_perplexity": perplexity(counts),
        "codes_dead": int((counts == 0).sum()),
        "codes_counted": int(counts.sum()),
    }


def pictures(options: TrainOptions, ranks: Ranks) -> ImageBatches:
    """Where the pictures come from.

    Raises:
        ValueError: unless it is exactly one of a dataset and folders.
    """
    if (options.input_folder is None) == (not options.images and not options.drawn_share):
        raise ValueError("expected either --input_folder, a dataset of pairs, or --images, folders of pictures")
    ranks.share(options.batch_size, "--batch_size")
    if options.input_folder is not None:
        return pairs_batches(options, ranks)
    return FolderBatches(
        options.images,
        batch_size=options.batch_size,
        resolution=options.resolution,
        drawn_share=options.drawn_share,
        seed=options.seed,
        rank=ranks.rank,
        ranks=ranks.count,
    )


def pairs_batches(options: TrainOptions, ranks: Ranks) -> ImageBatches:
    """The pictures of a dataset of pairs, each through `dalle.pictures.augment.dvae_view`, epoch after epoch."""
    assert options.input_folder is not None
    shards = PairShards(
        options.input_folder,
        view=partial(dvae_view, resolution=options.resolution),
        allow_undeduplicated=options.allow_undeduplicated,
    )
    return PictureBatches(
        Batches(
            shards,
            batch_size=options.batch_size,
            seed=options.seed,
            window=PICTURES_IN_MEMORY,
            rank=ranks.rank,
            ranks=ranks.count,
            workers=options.workers,
        )
    )


class PictureBatches:
    """The pictures of `Batches`, for ever."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            for batch in self._batches:
                yield batch["images"]

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come."""
        return self._batches.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._batches.load_state_dict(state)
