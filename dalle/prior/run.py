"""The training of a prior in progress: everything that changes with a step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from dalle.prior.losses import weighted
from dalle.prior.network import Prior
from dalle.prior.options import TrainPriorOptions
from dalle.reading.batches import Batch
from dalle.reading.endless import Endless
from dalle.training.logs import Log, Means
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerStep
from schemas.commands.stopping import at_once
from schemas.manifest import WEIGHTS
from schemas.whole_file import whole_file


class PriorRun:
    """A prior's weights, the optimizer and the examples; see `dalle.training.loop.Run`.

    Args:
        options: of the training.
        ranks: this process, which has to be alone.
        prior: the network.
        batches: `text_tokens` [B, T] and `image_codes` [B, N], for ever.
        made_for: fingerprints of the vocabulary and the dVAE of the examples.
    """

    def __init__(
        self, options: TrainPriorOptions, ranks: Ranks, prior: Prior, batches: Endless, made_for: Mapping[str, str]
    ) -> None:
        if ranks.count > 1:
            raise ValueError(
                f"{ranks.count} processes were started, and a prior trains in one so far; leave torchrun out"
            )
        self.batches, self.prior = batches, prior.to(ranks.device)
        self._options, self._ranks, self._made_for = options, ranks, made_for
        self._optimizer = OptimizerStep(self.prior, options.optimizer, ranks.device)
        self._means = Means(("loss", "text", "image"))

    def step(self, batch: Batch, step: int) -> None:
        """One step on a batch."""
        with at_once():
            text_tokens, image_codes = (batch[name].to(self._ranks.device) for name in ("text_tokens", "image_codes"))
            with self._optimizer.autocast():
                text, image = self.prior.losses(text_tokens, image_codes)
            loss = weighted(text, image)
            self._optimizer.backward(loss)
        self._optimizer(step)
        self._means.add(torch.stack([loss, text, image]))

    def figures(self, step: int) -> dict[str, float]:
        """Loss and its parts in nats a token, and the learning rate."""
        return self._means.take(self._ranks) | {"learning_rate": self._options.optimizer.schedule()(step - 1)}

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss and its parts."""
        loss, text, image = (f"{figures[name]:.3f}" for name in ("loss", "text", "image"))
        return f"loss {loss}, text {text}, codes {image}, {figures['samples_per_second']:,.1f} examples/s"

    def watch(self, batch: Batch, step: int, log: Log) -> None:
        """Nothing so far."""

    def save(self, folder: Path) -> Path:
        """The weights, with the sizes and what they are made for as JSON in the file's metadata."""
        path = folder / WEIGHTS
        model = {"config": asdict(self.prior.config), **self._made_for}  # one entry: several come in any order
        with whole_file(path) as unfinished:
            unfinished.write_bytes(safetensors.torch.save(self.prior.state_dict(), {"model": json.dumps(model)}))
        return path

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step."""
        return {
            "weights": self.prior.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "means": self._means.state_dict(),
        }

    def tallies(self) -> dict[str, Any]:
        """What is added up for the log."""
        return {"means": self._means.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.prior.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])
