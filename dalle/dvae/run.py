"""The training of a dVAE in progress: everything that changes with a step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from dalle.dvae.bound import Objective
from dalle.dvae.files import save
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import Conv2d
from dalle.dvae.options import TrainDVAEOptions
from dalle.dvae.pictures import TrainingPictures
from dalle.dvae.watching import LOOKED_AT, code_usage, reconstruct, validation_pictures
from dalle.reading.batches import Batch
from dalle.training.checkpoint import like
from dalle.training.ema import Ema
from dalle.training.logs import Log, Means
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerStep
from schemas.commands.stopping import at_once
from schemas.manifest import WEIGHTS

COUNT_EVERY = 8
"""Steps between two whose codes are counted; looking for the largest of 8,192 logits takes time."""


class DVAERun:
    """A dVAE's weights, their average, the optimizer and the pictures; see `dalle.training.loop.Run`.

    Args:
        options: of the training.
        ranks: the processes that train.
        objective: what is lowered.
        pictures: what is trained on.
    """

    def __init__(
        self, options: TrainDVAEOptions, ranks: Ranks, objective: Objective, pictures: TrainingPictures
    ) -> None:
        self.batches, self.dvae = pictures.batches, objective.dvae
        self._options, self._ranks, self._objective = options, ranks, objective
        objective.to(ranks.device).to(memory_format=torch.channels_last)
        for layer in objective.modules():
            if isinstance(layer, Conv2d):
                layer.full_precision &= options.full_precision_codes
        self._parallel = DistributedDataParallel(objective) if ranks.count > 1 else objective
        self._optimizer = OptimizerStep(objective, options.optimizer, ranks.device)
        self.ema = Ema(objective, options.ema_decay)
        self._means = Means(("loss", *objective.names))
        self._counts = torch.zeros(options.network.vocab_size, dtype=torch.int64)

    def step(self, batch: Batch, step: int) -> None:
        """One step from this process's share of a batch, `images` [B, 3, H, W] uint8."""
        with at_once():
            self._backward(batch["images"], step)
        self._optimizer(step)
        self.ema.update(step + 1)

    def _backward(self, images: Tensor, step: int) -> None:
        """Gradients and figures of this process's share, [B, 3, H, W] uint8."""
        micro = self._options.micro_batch_size
        first = self._ranks.rank * len(images)
        portions = images.split(micro)
        for index, portion in enumerate(portions):
            pixels = map_pixels(portion.to(self._ranks.device)).contiguous(memory_format=torch.channels_last)
            start, share = first + index * micro, len(portion) / len(images)
            seeds = [(self._options.loop.seed, step, start + picture) for picture in range(len(portion))]
            with self._gathering(last=index == len(portions) - 1):
                with self._optimizer.autocast():
                    loss, parts, logits = self._parallel(pixels, step, seeds)
                self._optimizer.backward(loss * share)
            self._means.add(torch.cat([loss.detach()[None], parts]), share)
            if logits is not None and step % COUNT_EVERY == 0:
                self._counts += logits.argmax(1).flatten().bincount(minlength=len(self._counts)).cpu()

    def _gathering(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the processes once a step, with the last portion's."""
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return nullcontext()

    def figures(self, step: int) -> dict[str, float]:
        """Loss and its parts, beta, tau, the learning rate, and the use of the codes."""
        figures = self._means.take(self._ranks)
        beta, tau = self._options.relaxation.at(step - 1)
        rate = self._options.optimizer.schedule()(step - 1)
        counts = (self._ranks.mean(self._counts.double()) * self._ranks.count).round()
        self._counts.zero_()
        return (
            figures | {"beta": beta, "tau": tau, "learning_rate": rate} | (code_usage(counts) if counts.any() else {})
        )

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss, error and codes in use."""
        vocab_size = self._options.network.vocab_size
        parts = [f"loss {figures['loss']:.3f}"]
        parts += [f"off by {100 * figures[name]:.1f} % of the range" for name in figures if name.endswith("error")]
        if "codes_dead" in figures:
            parts.append(f"{vocab_size - figures['codes_dead']:,.0f} of {vocab_size:,} codes in use")
        return ", ".join([*parts, f"{figures['samples_per_second']:,.1f} images/s"])

    def watch(self, batch: Batch, step: int, log: Log) -> None:
        """Reconstructions by the averaged weights, of pictures that are not trained on if there are any."""
        folder = self._options.pictures.validation_images
        if folder is None and not self._objective.has_codes:
            return
        originals = (
            batch["images"][:LOOKED_AT]
            if folder is None
            else validation_pictures(folder, self._options.pictures.resolution)
        )
        with self.ema.in_place(), at_once():
            seen = reconstruct(self.dvae, originals)
        kind = "training" if folder is None else "validation"
        log.figures(step, {f"{kind}_{name}": value for name, value in seen.figures.items()})
        log.images(step, "original_and_reconstruction", seen.shown)

    def save(self, folder: Path) -> Path:
        """The averaged weights."""
        with self.ema.in_place():
            return self.write(folder)

    def write(self, folder: Path) -> Path:
        """The weights as they are now."""
        save(self.dvae, folder / WEIGHTS)
        return folder / WEIGHTS

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step."""
        return {
            "weights": self._objective.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "means": self._means.state_dict(),
            "counts": self._counts,
        }

    def tallies(self) -> dict[str, Any]:
        """What is added up for the log."""
        return {"means": self._means.copy(), "counts": self._counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._objective.load_state_dict(state["weights"])
        self.ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])
        self._counts = like(state["counts"], self._counts)
