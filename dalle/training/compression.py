"""PowerSGD between groups of processes that hold the weights together: where `Shards` and `PowerSGD` meet.

Torch hands over the gradient of each unit when it is whole and averaged within the group. It is unscaled there, for
what is left of it stays in error buffers, and scales change (Ramesh et al. 2021, App. E.2, step 2).

Which weights are compressed follows from their whole shapes and the whole rank: so it is the same with groups of any
size, and what is owed of a gradient can be handed on to any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch import distributed as dist

from dalle.training.bandwidth import GradientShape, rank_of_shard, shards_of, weight_of
from dalle.training.powersgd import Averaged, Neighbours, PowerSGD, views_of
from dalle.training.reduction import BufferPart
from dalle.training.scaling import Scaling
from dalle.training.sharding import Shards


class Compression:
    """What averages the gradients of shards between the groups from now on.

    Args:
        shards: of the network, in two groups or more.
        scaling: of the gradients; None if they have no scale.
        rank: of the factors of a whole matrix, a multiple of the processes of a group.
        seed: of their directions.
        apart: what names begin with that are not compressed.

    Raises:
        ValueError: if the rank is no such multiple.
    """

    def __init__(
        self, shards: Shards, scaling: Scaling | None, rank: int, seed: int, apart: Sequence[str] = ()
    ) -> None:
        whole = {name: cut.shape for name, cut in shards.cuts.items()}
        parts = {name: cut.part_shape for name, cut in shards.cuts.items()}
        self.shapes = shards_of(whole, parts, rank, apart, shards.stacked)
        """Of the gradients that are averaged: parts of weights, or of the maps that are stacked in one."""
        self._of_weights: dict[str, list[GradientShape]] = {name: [] for name in parts}
        for each in self.shapes:
            self._of_weights[weight_of(each.name)].append(each)
        self._shards, self._scaling = shards, scaling
        neighbours = Neighbours(machines=shards.replicas, shards=shards.group)
        self._powersgd = PowerSGD(self.shapes, rank_of_shard(rank, shards.group.size()), neighbours, seed)
        shards.reduce_by(self._average)

    def _average(self, gradient: Tensor, parts: Sequence[BufferPart], group: dist.ProcessGroup) -> None:
        """A unit's flat gradient; see `reduction.Compressor`."""
        room = [math.prod(part.shape) for part in parts]
        views = views_of(gradient, [self._shards.cuts[part.name].part_shape for part in parts], room)
        gradients: dict[str, Tensor] = {}
        for part, view in zip(parts, views, strict=True):
            if self._scaling is not None:
                view *= self._scaling.factor(part.name)
            gradients |= self._split(part.name, view)
        self._powersgd.exchange(gradients)

    def settle(self) -> Averaged:
        """Agree on a step whose gradients are all averaged, and let the scales follow; see `PowerSGD.settle`."""
        averaged = self._powersgd.settle()
        if self._scaling is not None:
            self._scaling.follow({weight_of(name) for name in averaged.not_finite})
        self._shards.between.add(averaged.bytes_sent, averaged.seconds)
        return averaged

    def owed(self) -> dict[str, Tensor]:
        """This process's parts of what was not sent yet of the mean gradient, float32, by name; called on all."""
        owed: Mapping[str, Tensor] = self._powersgd.buffers.owed()
        return {
            name: torch.cat([owed.get(each.name, torch.zeros(each.shape)) for each in some])  # of empty parts nothing
            for name, some in self._of_weights.items()
            if some[0].is_compressed
        }

    def owe(self, owed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Go on from there, with any number of groups; gives what is owed of gradients that are not compressed.

        Raises:
            ValueError: if it is of other shapes.
        """
        mine: dict[str, Tensor] = {}
        for name, some in self._of_weights.items():
            if some[0].is_compressed:
                nothing = torch.zeros(self._shards.cuts[name].part_shape)
                mine |= self._split(name, owed.get(name, nothing))
        self._powersgd.buffers.owe({name: value for name, value in mine.items() if value.numel()})
        return {name: value for name, value in owed.items() if not self._of_weights[name][0].is_compressed}

    def _split(self, name: str, part: Tensor) -> dict[str, Tensor]:
        """A weight's part, or what is like it, as the gradients that it is averaged as; views."""
        names = [each.name for each in self._of_weights[name]]
        return dict(zip(names, part.chunk(len(names)) if len(names) > 1 else [part], strict=True))
