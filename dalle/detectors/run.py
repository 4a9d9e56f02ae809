"""The training of a detector in progress: everything that changes with a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dalle.detectors.contrast import crowding, info_nce
from dalle.detectors.learning_pairs import read_pictures
from dalle.detectors.network import Detector, load, normalise, save
from dalle.detectors.options import TrainDetectorOptions
from dalle.detectors.pair_batches import PairBatches
from dalle.detectors.thumbnails import thumbnail
from dalle.training.ema import Ema
from dalle.training.logs import Log, Means
from dalle.training.model_file import check_same_sizes
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerStep
from schemas.commands.stopping import at_once
from schemas.manifest import WEIGHTS

EMA_WARMUP = 10
"""Steps over which the moving average forgets the fresh weights sooner."""


class DetectorRun:
    """A detector's weights, their average, the optimizer and the pairs; see `dalle.training.loop.Run`.

    Args:
        options: of the training.
        ranks: this process, which has to be alone: the loss compares all pictures of a batch.
        batches: what is learnt from.
    """

    def __init__(self, options: TrainDetectorOptions, ranks: Ranks, batches: PairBatches) -> None:
        if ranks.count > 1:
            raise ValueError(f"{ranks.count} processes were started, and a detector trains in one; leave torchrun out")
        self.batches = batches
        self._options, self._ranks = options, ranks
        self.model = load(options.begins_with).train() if options.begins_with else Detector(options.network)
        check_same_sizes(f"--init_from {options.init_from}", self.model.config, options.network)
        self.model.unwhiten()  # fitted anew at the end
        self.model.to(ranks.device).to(memory_format=torch.channels_last)
        self._optimizer = OptimizerStep(self.model, options.optimizer, ranks)
        self._ema = Ema(self.model, options.ema_decay, warmup=EMA_WARMUP)
        self._means = Means(("loss", "contrast", "crowding", "right"), forgiving=self._optimizer.skips)

    def step(self, batch: Tensor, step: int) -> None:
        """One step on [2, B, S, S, 3] uint8."""
        options = self._options
        with at_once():
            with self._optimizer.autocast():
                vectors = self.model(normalise(batch.flatten(0, 1).to(self._ranks.device)))
            first, second = vectors.float().chunk(2)
            contrast = info_nce(first, second, options.temperature)
            entropy = crowding(first, second)
            loss = contrast + options.entropy_weight * entropy
            self._optimizer.backward(loss)
        self._optimizer(step)
        self._ema.update(step + 1)
        nearest = (first.detach() @ second.detach().T).argmax(1)
        right = (nearest == torch.arange(len(first), device=nearest.device)).float().mean()
        self._means.add(torch.stack([loss, contrast, entropy, right]))

    def figures(self, step: int, _samples_per_second: float) -> dict[str, float]:
        """Loss and its parts, the share of pictures whose other view is the nearest, side, learning rate."""
        rate = self._options.optimizer.schedule()(step - 1)
        return self._means.take(self._ranks) | {"side": self._options.side_of(step - 1), "learning_rate": rate}

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss, and how often the other view was the nearest."""
        return (
            f"contrast {figures['contrast']:.3f}, {100 * figures['right']:.1f} % found their other view at side "
            f"{figures['side']:.0f}, {figures['samples_per_second']:,.1f} pairs/s"
        )

    def watch(self, step: int, log: Log) -> None:
        """Nothing: `benchmarks/near_duplicates.py` measures a detector on pictures it has not seen."""

    @torch.inference_mode()
    def save(self, folder: Path) -> Path:
        """The averaged weights, whose last layer is fitted to the training pictures, unedited."""
        options = self._options
        with self._ema.in_place():
            side = options.sides[-1]
            pictures = read_pictures(options.images, side, options.drawn, options.loop.seed, options.hold_out_every)
            thumbnails = np.stack([thumbnail(pixels, side) for pixels in pictures.photos + pictures.drawn])
            self.model.eval().unwhiten()
            parts = torch.from_numpy(thumbnails).split(options.loop.batch_size)
            self.model.whiten(torch.cat([self.model(normalise(part.to(self._ranks.device))) for part in parts]))
            save(self.model, folder / WEIGHTS)
        self.model.train()
        return folder / WEIGHTS

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step."""
        return {
            "weights": self.model.state_dict(),
            "ema": self._ema.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "means": self._means.state_dict(),
        }

    def tallies(self) -> dict[str, Any]:
        """What is added up for the log."""
        return {"means": self._means.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["weights"])
        self._ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])
