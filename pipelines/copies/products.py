"""Cosines of many vectors with many: a fast product that only chooses candidates, and the exact values of those.

What is stored or decided on is always computed anew from the stored vectors, so it does not depend on the product,
its number format, its threads or its order.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import torch

from schemas.embeddings import similarity

MARGIN = {True: 0.008, False: 1e-5}
"""How far a product may be off, by whether it is bfloat16's: inputs lose up to 2^-9 each and the output another."""

_AT_ONCE = 1 << 16
"""Pairs computed anew together."""


@torch.inference_mode()
def products(
    vectors: np.ndarray, others: np.ndarray, *, fast: bool, block: int, triangle: bool = False
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Cosines of all vectors with all others, some vectors at a time, as good as the product is.

    Args:
        vectors: [N, D] float32 of unit length.
        others: [M, D] float32 of unit length.
        fast: in bfloat16; else by FAISS in float32.
        block: vectors at a time.
        triangle: the others are the vectors themselves; leave out those before the block.

    Yields:
        number of the block's first vector, of the first of the others, [M - first, block] cosines: so, what is asked of
        each of the others lies side by side in memory. They are overwritten by the next block's.
    """
    if fast:
        left, right = torch.from_numpy(others).bfloat16(), torch.from_numpy(vectors).bfloat16().T
        # one piece of memory for all blocks, and numpy's, whose pages are huge: fresh ones cost as much as a product
        room = torch.from_numpy(np.empty(len(others) * min(block, len(vectors)), np.int16)).view(torch.bfloat16)
    for start in range(0, len(vectors), block):
        first = start if triangle else 0
        if fast:
            part_of = right[:, start : start + block]
            shape = (len(others) - first, part_of.shape[1])
            yield start, first, torch.mm(left[first:], part_of, out=room[: shape[0] * shape[1]].view(shape))
        else:
            part = np.ascontiguousarray(vectors[start : start + block])
            values = faiss.pairwise_distances(others[first:], part, faiss.METRIC_INNER_PRODUCT)
            yield start, first, torch.from_numpy(values)


def exact(
    vectors: np.ndarray, others: np.ndarray, rows: np.ndarray, columns: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of these pairs those at or above the floor: [P'] rows, columns, and float32 similarities."""
    values = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values[part] = similarity(vectors[rows[part]], others[columns[part]])
    kept = values >= floor
    return rows[kept], columns[kept], values[kept]
