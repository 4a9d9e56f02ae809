"""Find the pictures that are near-duplicates of reference pictures, exactly.

A fast product (FAISS in float32, or a bfloat16 matrix product where the processor has one) only chooses candidates,
with a margin no smaller than its error; every similarity that is stored or decided on is computed anew from the
stored vectors. So the result does not depend on the product, its threads or its order.
"""

from __future__ import annotations

import numpy as np
import torch

from pipelines.copies.duplicates import Found
from pipelines.copies.products import MARGIN, exact, products

MOST = 10
"""References of a set that are kept for a picture."""

_BLOCK = 512
"""Pictures in one product."""


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
    margin = MARGIN[fast]
    for start, _, product in products(vectors, flat, fast=fast, block=_BLOCK):
        greatest = product.amax(1).float()  # the only pass over the whole product: it is slower to read than to make
        rows, columns = _above(product, greatest, floor - margin)
        pairs.append(exact(vectors, flat, rows + start, columns, floor))
        rows, columns = _greatest(product, greatest, best - margin, 2 * margin)
        rows, columns, values = exact(vectors, flat, rows + start, columns, -np.inf)
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


def _above(product: torch.Tensor, greatest: torch.Tensor, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and references of the values at or above the cut; `greatest` is of each reference."""
    return _within(product, torch.nonzero(greatest >= cut).flatten(), cut)


def _greatest(
    product: torch.Tensor, greatest: torch.Tensor, at_least: np.ndarray, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of each reference that reaches `at_least` the values within `slack` of its greatest."""
    chosen = torch.nonzero(greatest >= torch.from_numpy(at_least)).flatten()
    return _within(product, chosen, (greatest[chosen] - slack).to(product.dtype)[:, None])


def _within(product: torch.Tensor, chosen: torch.Tensor, cut: torch.Tensor | float) -> tuple[np.ndarray, np.ndarray]:
    picked, rows = torch.nonzero(product[chosen] >= cut, as_tuple=True)
    return rows.numpy(), chosen[picked].numpy()
