"""The training of a judge in progress: everything that changes with a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.scene_judge.agreement import agreement
from dalle.scene_judge.drawings import DRAWN_SIDE, NOTHING, Drawings, drawn
from dalle.scene_judge.network import PARTS, SceneJudge, normalise, save
from dalle.scene_judge.options import TrainJudgeOptions
from dalle.scene_judge.seeing import see
from dalle.scenes.dialect import compose_simple, read_caption, write_simple
from dalle.training.ema import Ema
from dalle.training.logs import Log, Means
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerStep
from schemas.commands.stopping import at_once
from schemas.manifest import WEIGHTS

_EMA_WARMUP = 10
_NEAR = 0.6
"""Places by which a thing's middle is spread over the map."""
_MAP_WEIGHT, _SIZE_WEIGHT = 4.0, 0.5
_FIRST_HELD_OUT = 2_900_000_000
"""Seed of the first drawing that is never trained on."""


class JudgeRun:
    """A judge's weights, their average and the optimizer; see `dalle.training.loop.Run`.

    Args:
        options: of the training.
        ranks: this process, which has to be alone.
    """

    def __init__(self, options: TrainJudgeOptions, ranks: Ranks) -> None:
        if ranks.count > 1:
            raise ValueError(f"{ranks.count} processes were started, and a judge trains in one; leave torchrun out")
        self._options, self._ranks = options, ranks
        loop, side = options.loop, options.network.side
        self.batches = Drawings(side=side, batch_size=loop.batch_size, seed=loop.seed, workers=options.workers)
        self.model = SceneJudge(options.network).to(ranks.device).to(memory_format=torch.channels_last)
        self._optimizer = OptimizerStep(self.model, options.optimizer, ranks)
        self._ema = Ema(self.model, options.ema_decay, warmup=_EMA_WARMUP)
        self._means = Means(("loss", "map", "kind", "colour"), forgiving=self._optimizer.skips)

    def step(self, batch: Mapping[str, Tensor], step: int) -> None:
        """One step on a batch of `dalle.scene_judge.drawings.drawn`."""
        with at_once():
            images, things, background = (
                batch[name].to(self._ranks.device) for name in ("images", "things", "background")
            )
            with self._optimizer.autocast():
                maps, backgrounds = self.model(normalise(images))
            parts = losses(maps, things)
            loss = _MAP_WEIGHT * parts[0] + parts[1] + parts[2] + _SIZE_WEIGHT * parts[3]
            loss = loss + F.cross_entropy(backgrounds, background)
            self._optimizer.backward(loss)
        self._optimizer(step)
        self._ema.update(step + 1)
        self._means.add(torch.stack([loss.detach(), *(part.detach() for part in parts[:3])]))

    def figures(self, step: int, _samples_per_second: float) -> dict[str, float]:
        """Loss and its parts, learning rate."""
        rate = self._options.optimizer.schedule()(step - 1)
        return self._means.take(self._ranks) | {"learning_rate": rate}

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss and its parts, speed."""
        return (
            f"loss {figures['loss']:.3f}, places {figures['map']:.4f}, kinds {figures['kind']:.4f}, colours "
            f"{figures['colour']:.4f}, {figures['samples_per_second']:,.1f} drawings/s"
        )

    def watch(self, step: int, log: Log) -> None:
        """How many drawings that are not trained on are read rightly."""
        log.figures(step, {"validation_right": self._share_right()})

    def _share_right(self) -> float:
        seeds = range(_FIRST_HELD_OUT, _FIRST_HELD_OUT + self._options.eval_drawings)
        with self._ema.in_place(), at_once():
            self.model.eval()
            pictures = list(drawn(seeds, self._options.network.side)["images"].numpy())
            captions = (write_simple(compose_simple(seed, DRAWN_SIDE))[0] for seed in seeds)
            seen = zip(see(self.model, pictures), captions, strict=True)
            right = sum(agreement(one, read_caption(caption)).all for one, caption in seen)
        self.model.train()
        return right / len(seeds)

    def save(self, folder: Path) -> Path:
        """The averaged weights; says how many drawings that were not trained on they read rightly."""
        print(f"  of {self._options.eval_drawings:,} drawings that were not trained on all is right in "
              f"{100 * self._share_right():.1f} %")  # fmt: skip
        with self._ema.in_place():
            save(self.model, folder / WEIGHTS)
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


def losses(maps: Tensor, things: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean cross-entropies of the places, and of kind, colour and size where a thing's middle is near.

    Args:
        maps: [B, 27, G, G] logits.
        things: [B, 3, 5] as `dalle.scene_judge.drawings.drawn` gives them.
    """
    grid = maps.shape[-1]
    picture, number = (things[..., 0] != NOTHING).nonzero(as_tuple=True)
    there = things[picture, number]  # [N, 5]
    middle = torch.arange(grid, device=maps.device) + 0.5
    across, down = (middle - there[:, axis, None] * grid for axis in (3, 4))
    distance = across[:, None, :].square() + down[:, :, None].square()  # [N, G, G]
    wanted = maps.new_zeros(len(maps), grid, grid)
    wanted.index_put_((picture,), torch.exp(-distance / (2 * _NEAR**2)), accumulate=True)
    of_places = F.binary_cross_entropy_with_logits(maps[:, 0], wanted.clamp(max=1))
    near, row, column = (distance < 1).nonzero(as_tuple=True)
    logits = maps[picture[near], :, row, column]  # [M, 27]
    _, *words = logits.split(PARTS, dim=1)
    kind, colour, size = (
        F.cross_entropy(word, there[near, index].long()) for index, word in enumerate(words)
    )  # fmt: skip
    return of_places, kind, colour, size
