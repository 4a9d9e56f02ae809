"""What all ways to scale gradients have in common: weights belong to groups, and a group's gradients to one scale.

Where any gradient on any process is not finite the update is skipped on all of them, and the group is told.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dalle.training.ranks import Ranks


class Scaling(abc.ABC):
    """Scales of the gradients of some weights.

    Args:
        parameters: the weights by name, as this process has them: parts, where several hold them together.
        groups: modules by name whose weights have a scale of their own; those in none are one more group, the last.
        ranks: the processes that train, each with its share of the batch.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], groups: Sequence[str], ranks: Ranks) -> None:
        self._parameters, self._groups, self._ranks = parameters, groups, ranks
        index_of = {group: index for index, group in enumerate(groups)}
        self._group_of = {
            name: next((index_of[stem] for stem in _stems(name) if stem in index_of), len(groups))
            for name in parameters
        }

    @abc.abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add to the gradients, scaled.

        Args:
            loss: divided by this process's share of the batch; the others divide it to that of all.
        """

    @abc.abstractmethod
    def factors(self) -> Tensor:
        """[groups + 1] float32: by what gradients, averaged over all processes, are multiplied to be the true ones."""

    @abc.abstractmethod
    def update(self, overflowed: Tensor) -> None:
        """Follow an update of the weights, also one that was skipped.

        Args:
            overflowed: [groups + 1] bool, on the processor; whether any gradient of the group is not finite.
        """

    @abc.abstractmethod
    def figures(self) -> dict[str, float]:
        """The scales, for the log."""

    @abc.abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The scales and what they follow by, the same on all processes."""

    @abc.abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with any number of processes."""

    def factor(self, name: str) -> Tensor:
        """By what the gradient of a weight is multiplied; without dimensions."""
        return self.factors()[self._group_of[name]]

    def unscale(self) -> bool:
        """Make gradients the true ones, and let the scales follow; gives whether all are finite, on all processes.

        Gradients are averaged over the processes. Parts of them may differ between processes, what is given does not.
        """
        owned = [
            (self._group_of[name], value.grad)
            for name, value in self._parameters.items()
            if value.grad is not None and value.grad.numel()
        ]
        counts = torch.zeros(len(self._groups) + 1, device=self._ranks.device)
        if owned:
            gradients, groups = [gradient for _, gradient in owned], [group for group, _ in owned]
            largest = torch.stack(torch._foreach_norm(gradients, torch.inf))
            counts.index_add_(0, torch.tensor(groups, device=counts.device), (~largest.isfinite()).to(counts.dtype))
            factors = self.factors().unbind()
            torch._foreach_mul_(gradients, [factors[group] for group in groups])
        overflowed = (self._ranks.mean(counts) > 0).cpu()
        self.update(overflowed)
        return not bool(overflowed.any())

    def follow(self, not_finite: Collection[str]) -> None:
        """Let the scales follow an update whose gradients others have made the true ones, by `factor`.

        Args:
            not_finite: names of the gradients that were not, on any process; the same on all.
        """
        overflowed = torch.zeros(len(self._groups) + 1, dtype=torch.bool)
        for name in not_finite:
            overflowed[self._group_of[name]] = True
        self.update(overflowed)


def _stems(name: str) -> list[str]:
    """Of `layers.0.mlp.norm.weight` the modules that it is in, from inside: `layers.0.mlp.norm`, `layers.0.mlp`, ..."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
