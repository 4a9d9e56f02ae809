"""Find which pictures of a cell are copies of each other, directly or through others.

A large cell comes in blocks, of which two are in memory at a time. Pairs that are linked already are not looked at
again, so a cell full of copies of one picture costs little more than another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipelines.vectors.components import join
from pipelines.vectors.products import Factor, Product
from schemas.embeddings import similarity

_BLOCK = 256
"""Pictures in one product."""


@dataclass(frozen=True)
class _CellBlock:
    """Some pictures of a cell."""

    vectors: Factor
    positions: np.ndarray
    """[n] int64: where each stands in the cell."""


def link_alike(
    read: Callable[[int], np.ndarray], sizes: Sequence[int], threshold: float, *, fast: bool, apart: np.ndarray
) -> np.ndarray:
    """Label the pictures of a cell: those with the same label are linked.

    Args:
        read: gives a block's vectors, [n, D] float32 of unit length.
        sizes: of the blocks, in pictures.
        threshold: pairs at or above this similarity are linked, -1 to 1.
        fast: choose candidates by a bfloat16 product; else by FAISS in float32.
        apart: [A, 2] positions in the cell of pairs that are not linked whatever their similarity.

    Returns:
        [N] int64: for each picture the least position in the cell of those that it is linked to.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    labels = np.arange(starts[-1])
    forbidden = np.sort(apart.reshape(-1, 2), axis=1)
    codes = np.sort(forbidden[:, 0] * len(labels) + forbidden[:, 1])
    one_by_one = np.unique(forbidden)
    for number in range(len(sizes)):
        vectors = read(number)
        positions = starts[number] + np.arange(len(vectors))
        labels, chosen = _link_same(labels, vectors, positions, one_by_one, threshold)
        vectors = np.ascontiguousarray(vectors[chosen])  # lets go of the block as it was read
        block = _CellBlock(Factor(vectors, fast=fast), positions[chosen])
        labels = _link(labels, block, block, threshold, codes)
        for before in range(number):
            others = _CellBlock(Factor(read(before), fast=fast), starts[before] + np.arange(sizes[before]))
            labels = _link(labels, block, others, threshold, codes)
    return labels


def _link_same(
    labels: np.ndarray, vectors: np.ndarray, positions: np.ndarray, one_by_one: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Link pictures whose vectors are the very same.

    Returns:
        the labels, and the rows whose pairs remain to be looked at: one of each vector, and all at the positions
        `one_by_one`, some of whose pairs must not be linked.
    """
    if not len(vectors):
        return labels, positions
    alone = np.isin(positions, one_by_one) | (similarity(vectors, vectors) < threshold)
    rows = np.flatnonzero(~alone)
    if not len(rows):
        return labels, np.arange(len(vectors))
    whole = np.dtype((np.void, vectors.shape[1] * vectors.itemsize))
    _, first, of = np.unique(vectors[rows].view(whole), return_index=True, return_inverse=True)
    labels = join(labels, positions[rows], positions[rows[first[of.ravel()]]])
    return labels, np.sort(np.concatenate([rows[first], np.flatnonzero(alone)]))


def _link(labels: np.ndarray, block: _CellBlock, others: _CellBlock, threshold: float, apart: np.ndarray) -> np.ndarray:
    """The labels with the like pairs of two blocks linked.

    Args:
        labels: [N] of the cell.
        block, others: the same or different blocks.
        threshold: pairs at or above this similarity are linked.
        apart: [A] sorted codes of pairs that are not: lesser position times N plus greater one.
    """
    product = Product(block.vectors, others.vectors)
    for start, first, cosines in product.blocks(_BLOCK, triangle=block is others):
        candidates = torch.nonzero(cosines >= product.least(threshold), as_tuple=True)
        rows, columns = candidates[1].numpy() + start, candidates[0].numpy() + first
        new = labels[block.positions[rows]] != labels[others.positions[columns]]
        rows, columns, _ = product.exact(rows[new], columns[new], threshold)
        one, other = block.positions[rows], others.positions[columns]
        if len(apart):
            code = np.minimum(one, other) * len(labels) + np.maximum(one, other)
            wanted = ~np.isin(code, apart)
            one, other = one[wanted], other[wanted]
        labels = join(labels, one, other)
    return labels
