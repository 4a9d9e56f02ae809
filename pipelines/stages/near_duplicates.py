"""Find the pictures that are near-duplicates of reference pictures, exactly.

A fast product (FAISS in float32, or a bfloat16 matrix product where the processor has one) only chooses candidates,
with a margin no smaller than its error; every similarity that is stored or decided on is computed anew from the
stored vectors. So the result does not depend on the product, its threads or its order.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from pipelines.copies.duplicates import Found
from pipelines.copies.products import MARGIN, exact, products

MOST = 10
"""References of a set that are kept for a picture."""

_BLOCK = 512
"""Pictures in one product."""

_FEW = 8
"""Cosines that are looked at only if the greatest of them is wanted."""


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
    none = np.zeros(0, np.int64)
    pairs = [(none, none, none.astype(np.float32))]
    margin = MARGIN[fast]
    nearest = _Nearest(count, views, 2 * margin)
    for start, _, product in products(vectors, flat, fast=fast, block=_BLOCK):
        peaks = _Peaks(product)
        rows, columns, _ = peaks.at_least(torch.nonzero(peaks.greatest >= floor - margin).flatten(), floor - margin)
        pairs.append(exact(vectors, flat, rows + start, columns, floor))
        nearest.look_at(peaks, start)
    rows, columns, values = (np.concatenate(part) for part in zip(*pairs, strict=True))
    rows, refs, values = _best_view(rows, columns // views, values)
    return Found(rows, refs, values, *nearest.found(vectors, flat))


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


class _Peaks:
    """A block's cosines and the greatest of each few of them, so that what is sought is looked for in few places.

    Args:
        product: [M, n] cosines; only its lines' greatest values are read before something is sought.
    """

    def __init__(self, product: torch.Tensor) -> None:
        self._cosines = product.view(len(product), math.gcd(product.shape[1], _FEW), -1)
        self._of_few = self._cosines.amax(1)  # the only pass over the whole product: it is slower to read than to make
        self.greatest = self._of_few.amax(1).float()
        """[M] float32."""

    def at_least(self, lines: torch.Tensor, cut: torch.Tensor | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where these lines have values at or above the cut, in no order: pictures, lines, and the float32 values.

        Args:
            lines: [L] int64.
            cut: one, or [L] float32, one for each line.
        """
        cut = torch.as_tensor(cut).to(self._cosines.dtype).expand(len(lines))
        picked, few = torch.nonzero(self._of_few[lines] >= cut[:, None], as_tuple=True)
        values = self._cosines[lines[picked], :, few]
        found, place = torch.nonzero(values >= cut[picked, None], as_tuple=True)
        pictures = place * self._of_few.shape[1] + few[found]
        return pictures.numpy(), lines[picked[found]].numpy(), values[found, place].float().numpy()


class _Nearest:
    """For each reference the picture most like it: candidates are gathered block by block, and judged at the end."""

    def __init__(self, count: int, views: int, slack: float) -> None:
        self._shape, self._slack = (count, views), slack
        self._lead = torch.full((count * views,), -torch.inf)
        self._candidates: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def look_at(self, peaks: _Peaks, start: int) -> None:
        """Take what may still turn out to be the greatest, as far as the product can tell.

        Args:
            peaks: of a block of pictures with all views of references.
            start: number of the block's first picture.
        """
        chosen = torch.nonzero(peaks.greatest >= self._lead - self._slack).flatten()
        self._lead = torch.maximum(self._lead, peaks.greatest)
        rows, columns, values = peaks.at_least(chosen, self._lead[chosen] - self._slack)
        self._candidates.append((rows + start, columns, values))

    def found(self, vectors: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[R] int64 pictures, the first of equals, -1 if there are none; [R] float32 similarities."""
        count, views = self._shape
        best, best_row = np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64)
        if not self._candidates:
            return best_row, best
        rows, columns, values = (np.concatenate(part) for part in zip(*self._candidates, strict=True))
        lead = self._lead.numpy().reshape(count, views).max(1)
        near = values >= lead[columns // views] - self._slack
        rows, columns, values = exact(vectors, flat, rows[near], columns[near], -np.inf)
        references = columns // views
        order = np.lexsort((rows, -values, references))
        rows, references, values = rows[order], references[order], values[order]
        known, first = np.unique(references, return_index=True)
        best[known], best_row[known] = values[first], rows[first]
        return best_row, best
