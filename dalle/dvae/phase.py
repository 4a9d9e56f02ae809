"""One objective of a dVAE's training being lowered: its weights, their average, the optimizer, figures for the log."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dalle.dvae.bound import Objective
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import Conv2d
from dalle.dvae.options import TrainDVAEOptions
from dalle.dvae.watching import code_usage
from dalle.training.checkpoint import like
from dalle.training.ema import Ema
from dalle.training.logs import Means
from dalle.training.ranks import Ranks, gathering
from dalle.training.steps import OptimizerOptions, OptimizerStep
from schemas.commands.stopping import at_once

COUNT_EVERY = 8
"""Steps between two whose codes are counted; looking for the largest of 8,192 logits takes time."""


class Phase:
    """What changes with a step while one objective is lowered; its steps are counted from 0.

    Args:
        options: of the training.
        optimizer: how this objective's weights follow the gradients.
        ranks: the processes that train.
        objective: what is lowered.
    """

    def __init__(
        self, options: TrainDVAEOptions, optimizer: OptimizerOptions, ranks: Ranks, objective: Objective
    ) -> None:
        self.objective = objective
        self._options, self._ranks, self._schedule = options, ranks, optimizer.schedule()
        objective.to(ranks.device).to(memory_format=torch.channels_last)
        for layer in objective.modules():
            if isinstance(layer, Conv2d):
                layer.full_precision &= options.full_precision_codes
        self._parallel = ranks.parallel(objective)
        self._optimizer = OptimizerStep(objective, optimizer, ranks)
        self.ema = Ema(objective, options.ema_decay)
        self._means = Means(("loss", *objective.names), forgiving=self._optimizer.skips)
        self._counts = torch.zeros(options.network.vocab_size, dtype=torch.int64)

    def step(self, images: Tensor, step: int) -> None:
        """One step from this process's share of a batch, [B, 3, H, W] uint8."""
        with at_once():
            self._backward(images, step)
        self._optimizer(step)
        self.ema.update(step + 1)

    def _backward(self, images: Tensor, step: int) -> None:
        """Gradients and figures."""
        micro = self._options.micro_batch_size
        first = self._ranks.rank * len(images)
        portions = images.split(micro)
        for index, portion in enumerate(portions):
            pixels = map_pixels(portion.to(self._ranks.device)).contiguous(memory_format=torch.channels_last)
            start, share = first + index * micro, len(portion) / len(images)
            seeds = [(self._options.loop.seed, step, start + picture) for picture in range(len(portion))]
            with gathering(self._parallel, last=index == len(portions) - 1):
                with self._optimizer.autocast():
                    loss, parts, logits = self._parallel(pixels, step, seeds)
                self._optimizer.backward(loss * share)
            self._means.add(torch.cat([loss.detach()[None], parts]), share)
            if logits is not None and step % COUNT_EVERY == 0:
                self._counts += logits.argmax(1).flatten().bincount(minlength=len(self._counts)).cpu()

    def figures(self, step: int) -> dict[str, float]:
        """After so many steps: loss and its parts, the schedules, the learning rate, and the use of the codes."""
        figures = self._means.take(self._ranks)
        schedules = {**self.objective.schedules(step - 1), "learning_rate": self._schedule(step - 1)}
        counts = (self._ranks.mean(self._counts.double()) * self._ranks.count).round()
        self._counts.zero_()
        return figures | schedules | (code_usage(counts) if counts.any() else {})

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step."""
        return {
            "weights": self.objective.state_dict(),
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
        self.objective.load_state_dict(state["weights"])
        self.ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])
        self._counts = like(state["counts"], self._counts)
