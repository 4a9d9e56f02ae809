"""What error buffers owe, on disk: the mean over the machines, from which any number of machines goes on.

What a buffer holds was not sent yet, and must not be lost. The paper saves the sum of the buffers and gives each of m
machines an m-th of it (Ramesh et al. 2021, App. E). Its gradients are divided by the overall batch, ours by a machine's
share of it, so its sum is our mean, and an m-th of it is for us the mean again. What follows is what would have
followed, but for rounding: each machine's own would take as many copies of the weights as there are machines.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributed as dist

from dalle.training.checkpoint import like
from dalle.training.low_rank import LowRankMatrix
from dalle.training.words import Form


class ErrorBuffers:
    """The error buffers of one process.

    Args:
        matrices: by name, of a `PowerSGD`.
        machines: the processes with the same shard; None where there is one.
        form: of the buffers.
    """

    def __init__(self, matrices: Mapping[str, LowRankMatrix], machines: dist.ProcessGroup | None, form: Form) -> None:
        self._matrices, self._group, self._form = matrices, machines, form
        self._machine = dist.get_rank(machines) if machines is not None else 0
        self._machines = dist.get_world_size(machines) if machines is not None else 1

    def owed(self) -> dict[str, Tensor]:
        """What is still to be sent of the mean gradient, float32 by name: the same on all machines, who call it."""
        owed = {name: self._form.decode(matrix.errors).clone() for name, matrix in self._matrices.items()}
        for value in owed.values():
            if self._group is not None:
                dist.all_reduce(value, group=self._group)
            value /= self._machines
        return owed

    def owe(self, owed: Mapping[str, Tensor]) -> None:
        """Go on from what is owed, on any number of machines.

        Each machine takes it, rounded: so that what one's rounding loses the next has more.

        Raises:
            ValueError: if it is of other matrices.
        """
        if owed.keys() != self._matrices.keys():
            raise ValueError(f"there are error buffers of {sorted(owed)}, expected {sorted(self._matrices)}")
        for name, matrix in self._matrices.items():
            matrix.errors = like(self._share(like(owed[name], torch.empty(matrix.errors.shape))), matrix.errors)

    def _share(self, owed: Tensor) -> Tensor:
        """This machine's words, which have `owed` as their mean over the machines."""
        left = owed * self._machines
        for machine in range(self._machine + 1):
            words = self._form.encode(left / (self._machines - machine))
            left = left - self._form.decode(words)
        return words
