"""Find the pictures that are near-duplicates of reference pictures, exactly.

A fast product (FAISS in float32, or a bfloat16 matrix product where the processor has one) only chooses candidates,
with a margin no smaller than its error; every similarity that is stored or decided on is computed anew from the
stored vectors. So the result does not depend on the product, its threads or its order.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import torch

from pipelines.duplicates import Found
from schemas.embeddings import similarity

MOST = 10
"""References of a set that are kept for a picture."""

_BLOCK = 512
"""Pictures in one product."""
_MARGIN = {True: 0.008, False: 1e-5}
"""By whether the product is bfloat16's: its inputs lose up to 2^-9 each and its output another, of unit vectors."""
_AT_ONCE = 1 << 16
"""Pairs computed anew together."""


def search(vectors: np.ndarray, references: np.ndarray, floor: float, *, fast: bool) -> Found:
    """Compare all pictures with all references.

    Args:
        vectors: [N, D] float32 of unit length.
        references: [R, V, D] float32 of unit length.
        floor: pairs at or above it are given.
        fast: choose candidates by a bfloat16 product; else by FAISS in float32.
    """
    count, views, dimension = references.shape
    flat = np.ascontiguousarray(references.reshape(-1, dimension))
    best = np.full(len(flat), -np.inf, np.float32)
    best_row = np.full(len(flat), -1, np.int64)
    none = np.zeros(0, np.int64)
    pairs = [(none, none, none.astype(np.float32))]
    blocks = _by_bfloat16(vectors, flat) if fast else _by_faiss(vectors, flat)
    for start, product in blocks:
        margin = _MARGIN[fast]
        rows, columns = product.above(floor - margin)
        pairs.append(_exact(vectors, flat, rows + start, columns, floor))
        rows, columns = product.greatest(best - margin, 2 * margin)
        rows, columns, values = _exact(vectors, flat, rows + start, columns, -np.inf)
        _keep_greatest(best, best_row, rows, columns, values)
    rows, columns, values = (np.concatenate(part) for part in zip(*pairs, strict=True))
    rows, refs, values = _best_view(rows, columns // views, values)
    by_reference = best.reshape(count, views)
    chosen = np.where(by_reference == by_reference.max(1, keepdims=True), best_row.reshape(count, views), 1 << 62)
    return Found(rows, refs, values, chosen.min(1) if len(vectors) else np.full(count, -1), by_reference.max(1))


def most_alike(found: Found) -> tuple[np.ndarray, np.ndarray]:
    """Of the pairs those that are among the `MOST` of their picture, and their rank from 1 (two [P'] int64)."""
    starts = np.searchsorted(found.rows, found.rows, side="left")
    rank = np.arange(len(found.rows)) - starts + 1
    chosen = np.flatnonzero(rank <= MOST)
    return chosen, rank[chosen]


def _exact(
    vectors: np.ndarray, flat: np.ndarray, rows: np.ndarray, columns: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values[part] = similarity(vectors[rows[part]], flat[columns[part]])
    kept = values >= floor
    return rows[kept], columns[kept], values[kept]


def _best_view(rows: np.ndarray, refs: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.lexsort((-values, refs, rows))
    rows, refs, values = rows[order], refs[order], values[order].astype(np.float32)
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (refs[1:] != refs[:-1])
    rows, refs, values = rows[first], refs[first], values[first]
    order = np.lexsort((refs, -values, rows))
    return rows[order], refs[order], values[order]


def _keep_greatest(
    best: np.ndarray, best_row: np.ndarray, rows: np.ndarray, columns: np.ndarray, values: np.ndarray
) -> None:
    """Take over what is greater; blocks come in order, so of equals the first stays."""
    order = np.lexsort((rows, -values, columns))
    rows, columns, values = rows[order], columns[order], values[order]
    first = np.ones(len(columns), bool)
    first[1:] = columns[1:] != columns[:-1]
    rows, columns, values = rows[first], columns[first], values[first]
    greater = values > best[columns]
    best[columns[greater]] = values[greater]
    best_row[columns[greater]] = rows[greater]


class _Product:
    """Cosines of a block of pictures with all references, [n, R V], as good as the product is."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    def above(self, cut: float) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = torch.nonzero(self._values >= cut, as_tuple=True)
        return rows.numpy(), columns.numpy()

    def greatest(self, at_least: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray]:
        """Of each column that reaches `at_least` the values within `slack` of its greatest."""
        greatest = self._values.amax(0).float()
        columns = torch.nonzero(greatest >= torch.from_numpy(at_least)).flatten()
        part = self._values[:, columns]
        rows, picked = torch.nonzero(part >= (greatest[columns] - slack).to(part.dtype), as_tuple=True)
        return rows.numpy(), columns[picked].numpy()


@torch.inference_mode()
def _by_bfloat16(vectors: np.ndarray, flat: np.ndarray) -> Iterator[tuple[int, _Product]]:
    references = torch.from_numpy(flat).bfloat16().T
    for start in range(0, len(vectors), _BLOCK):
        yield start, _Product(torch.from_numpy(vectors[start : start + _BLOCK]).bfloat16() @ references)


def _by_faiss(vectors: np.ndarray, flat: np.ndarray) -> Iterator[tuple[int, _Product]]:
    for start in range(0, len(vectors), _BLOCK):
        values = faiss.pairwise_distances(vectors[start : start + _BLOCK], flat, faiss.METRIC_INNER_PRODUCT)
        yield start, _Product(torch.from_numpy(values))
