"""Which part of a tensor a process holds, and trees of tensors of which it holds parts.

A tensor is cut along one dimension into parts of equal length, but for the last ones, which may be shorter or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """One part of a tensor: `first` to before `end` along `dim`."""

    shape: tuple[int, ...]
    """Of the whole tensor."""
    dim: int
    first: int
    end: int

    @classmethod
    def of(cls, shape: tuple[int, ...], dim: int, index: int, count: int) -> Cut:
        """The part of this index among so many, as `torch.chunk` cuts, with empty ones where there is nothing left.

        >>> [(cut.first, cut.end) for cut in (Cut.of((5, 2), 0, index, 4) for index in range(4))]
        [(0, 2), (2, 4), (4, 5), (5, 5)]
        """
        length = -(-shape[dim] // count)
        return cls(shape, dim, *(min(place * length, shape[dim]) for place in (index, index + 1)))

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Of the part."""
        return (*self.shape[: self.dim], self.end - self.first, *self.shape[self.dim + 1 :])

    def __call__(self, whole: Tensor) -> Tensor:
        """The part of a whole tensor: a view."""
        return whole.narrow(self.dim, self.first, self.end - self.first)


def dim_of(shape: tuple[int, ...], count: int, *, stacked: bool = False) -> int:
    """Along which dimension a weight is cut: the longer side of a matrix, where torch can cut it into equal parts.

    The factors that are sent of a part's gradient are smallest then (Ramesh et al. 2021, App. E). Of linear maps that
    are stacked in one matrix each process has a part of each, if they are cut along their inputs.

    >>> dim_of((4, 16), 4), dim_of((4, 15), 4), dim_of((16, 4), 4), dim_of((7,), 4)
    (1, 0, 0, 0)
    >>> dim_of((16, 4), 4, stacked=True), dim_of((15, 5), 4, stacked=True)
    (1, 0)
    """
    can_be = len(shape) == 2 and shape[1] % count == 0
    return 1 if can_be and (stacked or shape[1] > shape[0]) else 0


@dataclass(frozen=True)
class Piece:
    """A part of a tensor, in a tree that several processes save together."""

    part: Tensor
    cut: Cut


@runtime_checkable
class StoredTensor(Protocol):
    """A tensor on disk that is not read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self, cut: Cut | None) -> Tensor:
        """A part of it, or all; the same is asked for on every process that holds a copy of that part."""
        ...


Cuts = Mapping[str | int, Cut]
"""By the key of a dict below which a tensor lies: the name of its weights, or their number for the optimizer."""


def marked(tree: Any, cuts: Cuts, cut: Cut | None = None) -> Any:
    """A tree with those tensors marked that are parts: all below a key of a cut that have its part's shape."""
    if isinstance(tree, dict):
        return {key: marked(value, cuts, cuts.get(key, cut)) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [marked(value, cuts, cut) for value in tree]
    is_part = cut is not None and isinstance(tree, Tensor) and tuple(tree.shape) == cut.part_shape
    return Piece(tree, cut) if is_part else tree  # type: ignore[arg-type]


def read(tree: Any, cuts: Cuts, cut: Cut | None = None) -> Any:
    """A tree with its stored tensors read: parts of those that are cut, others wholly.

    Raises:
        ValueError: if a tensor cannot be read, or is none of numbers.
    """
    if isinstance(tree, dict):
        return {key: read(value, cuts, cuts.get(key, cut)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [read(value, cuts, cut) for value in tree]
    if not isinstance(tree, StoredTensor):
        return tree
    return tree.read(cut if cut is not None and tree.shape == cut.shape else None)
