"""How gradients are averaged between groups of processes that hold the weights together: where they are compressed.

Within a group each process has its part of a gradient already (`sharding`). What is left is the mean over those who
hold the same part, once a step for each unit: a flat buffer, which `Shards.reduce_by` has something else average than
the plain mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class BufferPart:
    """A tensor's part in the flat gradient of a unit; they follow one another without gaps."""

    name: str
    """Of the weights."""
    shape: tuple[int, ...]
    """Of this process's part; where a tensor cannot be cut into equal parts, with rows of zeros at its end."""


class Compressor(Protocol):
    """Averages gradients over the processes that hold the same part, in whatever way."""

    def __call__(self, gradient: Tensor, parts: Sequence[BufferPart], group: dist.ProcessGroup) -> None:
        """Put the mean over a group in the place of a gradient; called once a step for each unit, on all processes.

        Args:
            gradient: [n] float32, of one unit: its parts one after the other; to be changed.
            parts: what it is made of, in order: the same on all processes of the group.
            group: the processes that hold the same parts of the weights, this one among them.
        """
        ...


def mean(gradient: Tensor, parts: Sequence[BufferPart], group: dist.ProcessGroup) -> None:
    """The mean as it is, nothing compressed; see `Compressor`."""
    dist.all_reduce(gradient, group=group)
    gradient /= group.size()
