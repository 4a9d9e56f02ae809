"""Find which pictures of a cell are copies of each other, directly or through others.

A large cell comes in blocks, of which two are in memory at a time. Pairs that are linked already are not looked at
again, so a cell full of copies of one picture costs little more than another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from pipelines.vectors.components import join
from pipelines.vectors.products import Factor, Product
from schemas.embeddings import similarity

_BLOCK = 256
"""Pictures in one product."""


def link_alike(
    read: Callable[[int], np.ndarray], sizes: Sequence[int], threshold: float, *, fast: bool, apart: np.ndarray
) -> np.ndarray:
    """Label the pictures of a cell: those with the same label are linked.

    Args:
        read: gives a block's vectors, [n, D] float32 of unit length.
        sizes: of the blocks.
        threshold: pairs at or above this similarity are linked.
        fast: choose candidates by a bfloat16 product; else by FAISS in float32.
        apart: [A, 2] pairs of places in the cell that are not linked whatever their similarity.

    Returns:
        [N] int64: for each picture the least place in the cell that it is linked to.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    labels = np.arange(starts[-1])
    forbidden = np.sort(apart.reshape(-1, 2), axis=1)
    codes = np.sort(forbidden[:, 0] * len(labels) + forbidden[:, 1])
    lonely = np.unique(forbidden)
    for number in range(len(sizes)):
        mine = read(number)
        places = starts[number] + np.arange(len(mine))
        labels, chosen = _link_same(labels, mine, places, lonely, threshold)
        mine, places = np.ascontiguousarray(mine[chosen]), places[chosen]
        factor = Factor(mine, fast=fast)
        labels = _link(labels, factor, places, factor, places, threshold, codes)
        for earlier in range(number):
            others = Factor(read(earlier), fast=fast)
            labels = _link(
                labels, factor, places, others, starts[earlier] + np.arange(sizes[earlier]), threshold, codes
            )
    return labels


def _link_same(
    labels: np.ndarray, vectors: np.ndarray, places: np.ndarray, lonely: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Link the very same vectors; gives one of each, and all whose pairs have to be looked at one by one."""
    if not len(vectors):
        return labels, places
    alone = np.isin(places, lonely) | (similarity(vectors, vectors) < threshold)
    rows = np.flatnonzero(~alone)
    if not len(rows):
        return labels, np.arange(len(vectors))
    whole = np.dtype((np.void, vectors.shape[1] * vectors.itemsize))
    _, first, of = np.unique(vectors[rows].view(whole), return_index=True, return_inverse=True)
    labels = join(labels, places[rows], places[rows[first[of.ravel()]]])
    return labels, np.sort(np.concatenate([rows[first], np.flatnonzero(alone)]))


def _link(
    labels: np.ndarray,
    mine: Factor,
    my_places: np.ndarray,
    others: Factor,
    their_places: np.ndarray,
    threshold: float,
    apart: np.ndarray,
) -> np.ndarray:
    product = Product(mine, others)
    for start, first, cosines in product.blocks(_BLOCK, triangle=mine is others):
        found = torch.nonzero(cosines >= product.least(threshold), as_tuple=True)
        rows, columns = found[1].numpy() + start, found[0].numpy() + first
        new = labels[my_places[rows]] != labels[their_places[columns]]
        rows, columns, _ = product.exact(rows[new], columns[new], threshold)
        one, other = my_places[rows], their_places[columns]
        if len(apart):
            code = np.minimum(one, other) * len(labels) + np.maximum(one, other)
            wanted = ~np.isin(code, apart)
            one, other = one[wanted], other[wanted]
        labels = join(labels, one, other)
    return labels
