"""Find the pictures that are near-duplicates of reference pictures, exactly.

A fast product (FAISS in float32, or a bfloat16 matrix product where the processor has one) only chooses candidates,
with a margin no smaller than its error; every similarity that is stored or decided on is computed anew from the
stored vectors. So the result does not depend on the product, its threads or its order.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from pipelines.vectors.duplicates import Found
from pipelines.vectors.products import Factor, Product

MOST = 10
"""References of a set that are kept for a picture."""

_BLOCK = 512
"""Pictures in one product."""

_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
"""What a number's bits are as an integer: greater for a greater positive number, and faster to compare."""

_FEW = 8
"""Cosines that are looked at only if the greatest of them is wanted."""


def search(vectors: Factor, references: Factor, views: int, floor: float) -> Found:
    """Compare all pictures with all references.

    Args:
        vectors: N of pictures.
        references: R x V of references, all views of one side by side.
        views: V.
        floor: pairs at or above it are given.
    """
    product = Product(vectors, references)
    none = np.zeros(0, np.int64)
    pairs = [(none, none, none.astype(np.float32))]
    least = product.least(floor)
    nearest = _Nearest(product, len(references.exact), views)
    for start, _, cosines in product.blocks(_BLOCK):
        peaks = _Peaks(cosines)
        rows, columns, _ = peaks.at_least(torch.nonzero(peaks.greatest >= least).flatten(), least)
        pairs.append(product.exact(rows + start, columns, floor))
        nearest.look_at(peaks, start)
    rows, columns, values = (np.concatenate(part) for part in zip(*pairs, strict=True))
    rows, refs, values = _best_view(rows, columns // views, values)
    return Found(rows, refs, values, *nearest.found())


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
        bits = _BITS[product.dtype]
        self._of_few = self._cosines.view(bits).amax(1)  # the only pass over the whole product
        """[M, few] bits of the greatest of each few where that is positive, and less than 0 or 0 where it is not."""
        self.greatest = self._of_few.amax(1).view(product.dtype).float()
        """[M] float32."""
        negative = torch.nonzero(self.greatest <= 0).flatten()
        self.greatest[negative] = self._cosines[negative].amax((1, 2)).float()

    def at_least(self, lines: torch.Tensor, cut: torch.Tensor | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where these lines have values at or above the cut, in no order: pictures, lines, and the float32 values.

        Args:
            lines: [L] int64.
            cut: one, or [L] float32, one for each line.
        """
        cut = torch.as_tensor(cut).to(self._cosines.dtype).expand(len(lines))
        bits = cut.contiguous().view(self._of_few.dtype)
        bits = torch.where(cut > 0, bits, torch.iinfo(bits.dtype).min)  # bits say nothing of those below 0
        picked, few = torch.nonzero(self._of_few[lines] >= bits[:, None], as_tuple=True)
        values = self._cosines[lines[picked], :, few]
        found, place = torch.nonzero(values >= cut[picked, None], as_tuple=True)
        pictures = place * self._of_few.shape[1] + few[found]
        return pictures.numpy(), lines[picked[found]].numpy(), values[found, place].float().numpy()


class _Nearest:
    """For each reference the picture most like it: candidates are gathered block by block, and judged at the end."""

    def __init__(self, product: Product, lines: int, views: int) -> None:
        self._product, self._views = product, views
        self._lead = torch.full((lines,), -torch.inf)
        self._candidates: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def look_at(self, peaks: _Peaks, start: int) -> None:
        """Take what may still turn out to be the greatest, as far as the product can tell.

        Args:
            peaks: of a block of pictures with all views of references.
            start: number of the block's first picture.
        """
        self._lead = torch.maximum(self._lead, peaks.greatest)
        least = self._least(self._lead)
        chosen = torch.nonzero(peaks.greatest >= least).flatten()
        rows, columns, values = peaks.at_least(chosen, least[chosen])
        self._candidates.append((rows + start, columns, values))

    def _least(self, lead: torch.Tensor) -> torch.Tensor:
        """What the product may be for the greatest of all, if the greatest product is this."""
        return self._product.least(self._product.least(lead))

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """[R] int64 pictures, the first of equals, -1 if there are none; [R] float32 similarities."""
        views, count = self._views, len(self._lead) // self._views
        best, best_row = np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64)
        if not self._candidates:
            return best_row, best
        rows, columns, values = (np.concatenate(part) for part in zip(*self._candidates, strict=True))
        least = self._least(self._lead.view(count, views).amax(1)).numpy()
        near = values >= least[columns // views]
        rows, columns, values = self._product.exact(rows[near], columns[near], -np.inf)
        references = columns // views
        order = np.lexsort((rows, -values, references))
        rows, references, values = rows[order], references[order], values[order]
        known, first = np.unique(references, return_index=True)
        best[known], best_row[known] = values[first], rows[first]
        return best_row, best
