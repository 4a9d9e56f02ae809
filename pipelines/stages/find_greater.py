"""Find for each picture of a cell the greatest ones that it is like, among those that are greater than itself.

Which picture is the greater of two is decided before (by rank). From these lists follows which pictures stay: one goes
if it is like a greater one that stays. Only the first few of a list are kept: in a cell full of one picture a few are
enough to tell that all others go, where all its pairs would be the square of their number.

A large cell comes in blocks, of which two are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipelines.vectors.products import Factor, Product
from schemas.embeddings import similarity

FEW = 4
"""Greater pictures that are kept for each."""

_BLOCK = 256
"""Pictures in one product."""
_NONE = np.iinfo(np.int64).max
"""Stands for the rank of no picture."""


@dataclass(frozen=True)
class Greater:
    """For each of the N pictures of a cell the greatest ones that it is like."""

    positions: np.ndarray
    """[N, FEW] int64: where they stand in the cell, the greatest first; -1 where there are fewer."""
    more: np.ndarray
    """[N] bool: whether there may be more than these."""


@dataclass(frozen=True)
class _CellBlock:
    """Some pictures of a cell."""

    vectors: Factor
    positions: np.ndarray
    """[n] int64: where each stands in the cell, the greatest first."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """N pictures that are compared with each other."""

    read: Callable[[int], np.ndarray]
    """Gives the vectors of a block, [n, D] float32 of unit length."""
    sizes: Sequence[int]
    """Of the blocks, in pictures."""
    ranks: np.ndarray
    """[N] int64, all different: the lower a picture's rank, the greater it is."""
    apart: np.ndarray
    """[A, 2] positions of pairs that are not alike whatever their similarity."""

    def block(self, number: int, threshold: float, *, fast: bool) -> tuple[_CellBlock, np.ndarray]:
        """A block ready to be searched, and what `_without_most_of_the_same` says of those that are not in it."""
        start = sum(self.sizes[:number])
        vectors, positions = self.read(number), start + np.arange(self.sizes[number])
        order = np.argsort(self.ranks[positions])
        vectors, positions = vectors[order], positions[order]
        chosen, following = _without_most_of_the_same(vectors, positions, np.unique(self.apart), threshold)
        return _CellBlock(Factor(np.ascontiguousarray(vectors[chosen]), fast=fast), positions[chosen]), following


def find_greater(cell: Cell, threshold: float, *, fast: bool, wanted: np.ndarray | None = None) -> Greater:
    """Search a cell.

    Args:
        cell: to search.
        threshold: pairs at or above this similarity are alike, -1 to 1.
        fast: choose candidates by a bfloat16 product; else by FAISS in float32.
        wanted: [N] bool: pictures whose lists are asked for; of others they may be short. All without it.
    """
    lists = _Lists(cell.ranks, np.sort(cell.apart.reshape(-1, 2), axis=1), threshold)
    followers = [np.zeros((0, 2), np.int64)]
    if wanted is not None:
        lists.leave_out(~wanted)
    for number in range(len(cell.sizes)):
        block, following = cell.block(number, threshold, fast=fast)
        followers.append(following)
        lists.take_in(following[:, 1])  # these stand for others
        lists.add(block, block)
        for before in range(number):
            lists.add(block, cell.block(before, threshold, fast=fast)[0])
    followed = np.concatenate(followers)
    lists.positions[followed[:, 0]] = lists.positions[followed[:, 1]]
    lists.more[followed[:, 0]] = True
    return Greater(lists.positions, lists.more)


def _without_most_of_the_same(
    vectors: np.ndarray, positions: np.ndarray, one_by_one: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of pictures whose vectors are the very same, all but the greatest few have the same list.

    Args:
        vectors, positions: of a block, the greatest first.
        one_by_one: positions that have lists of their own.
        threshold: from which similarity vectors are alike; some are not even like themselves.

    Returns:
        [M] rows to search, in order; and [F, 2] positions of the others, each with the one whose list it has.
    """
    alone = np.isin(positions, one_by_one) | (similarity(vectors, vectors) < threshold)
    rows = np.flatnonzero(~alone)
    if not len(rows):
        return np.arange(len(vectors)), np.zeros((0, 2), np.int64)
    whole = np.dtype((np.void, vectors.shape[1] * vectors.itemsize))
    _, of = np.unique(np.ascontiguousarray(vectors[rows]).view(whole), return_inverse=True)
    order = np.argsort(of.ravel(), kind="stable")
    groups = of.ravel()[order]
    first = np.searchsorted(groups, groups)
    place = np.arange(len(rows)) - first  # in its group, from the greatest
    follows = place > FEW
    others = np.column_stack([positions[rows[order[follows]]], positions[rows[order[first[follows] + FEW]]]])
    chosen = np.ones(len(vectors), bool)
    chosen[rows[order[follows]]] = False
    return np.flatnonzero(chosen), others


class _Lists:
    """The lists of all pictures of a cell, as far as pairs were looked at."""

    def __init__(self, ranks: np.ndarray, apart: np.ndarray, threshold: float) -> None:
        self._ranks, self._threshold = ranks, threshold
        self._apart = np.sort(apart[:, 0] * len(ranks) + apart[:, 1])
        self._limits = np.full(len(ranks), _NONE)
        """The rank from which another picture does not get into a full list any more."""
        self.positions = np.full((len(ranks), FEW), -1, np.int64)
        self.more = np.zeros(len(ranks), bool)

    def leave_out(self, those: np.ndarray) -> None:
        """Nothing gets into these lists."""
        self._limits[those] = -1

    def take_in(self, those: np.ndarray) -> None:
        """Something gets into these lists after all."""
        self._limits[those] = np.where(self._limits[those] < 0, _NONE, self._limits[those])

    def add(self, block: _CellBlock, others: _CellBlock) -> None:
        """Look at all pairs of two blocks, which may be the same."""
        product = Product(block.vectors, others.vectors)
        for start, first, cosines in product.blocks(_BLOCK, triangle=block is others):
            candidates = torch.nonzero(cosines >= product.least(self._threshold), as_tuple=True)
            rows, columns = candidates[1].numpy() + start, candidates[0].numpy() + first
            if block is others:
                once = columns > rows
                rows, columns = rows[once], columns[once]
            self._add_pairs(product, (block.positions, others.positions), rows, columns)

    def _add_pairs(
        self, product: Product, positions: tuple[np.ndarray, np.ndarray], rows: np.ndarray, columns: np.ndarray
    ) -> None:
        """Of candidates the greatest few for each picture are compared exactly, then the next few, while any can
        matter."""
        one, other = positions[0][rows], positions[1][columns]
        swap = self._ranks[one] < self._ranks[other]
        lesser, greater = np.where(swap, other, one), np.where(swap, one, other)
        if len(self._apart):
            code = np.minimum(one, other) * len(self._ranks) + np.maximum(one, other)
            alike = ~np.isin(code, self._apart)
            rows, columns, lesser, greater = rows[alike], columns[alike], lesser[alike], greater[alike]
        while len(rows):
            fits = self._ranks[greater] < self._limits[lesser]
            self.more[lesser[~fits]] = True
            rows, columns, lesser, greater = rows[fits], columns[fits], lesser[fits], greater[fits]
            order = np.lexsort((self._ranks[greater], lesser))
            place = np.arange(len(order)) - np.searchsorted(lesser[order], lesser[order])
            now, later = order[place < FEW], np.sort(order[place >= FEW])
            _, _, values = product.exact(rows[now], columns[now], -np.inf)
            sure = now[values >= self._threshold]
            self._insert(lesser[sure], greater[sure])
            rows, columns, lesser, greater = rows[later], columns[later], lesser[later], greater[later]

    def _insert(self, lesser: np.ndarray, greater: np.ndarray) -> None:
        """Put pictures into lists, each where its rank belongs; what does not fit any more falls out."""
        changed = np.unique(lesser)
        before = self.positions[changed]
        there = before >= 0
        lesser = np.concatenate([np.repeat(changed, there.sum(1)), lesser])
        greater = np.concatenate([before[there], greater])
        order = np.lexsort((self._ranks[greater], lesser))
        lesser, greater = lesser[order], greater[order]
        place = np.arange(len(lesser)) - np.searchsorted(lesser, lesser)
        fits = place < FEW
        self.more[lesser[~fits]] = True
        self.positions[changed] = -1
        self.positions[lesser[fits], place[fits]] = greater[fits]
        full = lesser[place == FEW - 1]
        self._limits[full] = self._ranks[self.positions[full, FEW - 1]]
