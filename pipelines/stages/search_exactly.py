"""Find the pictures that are near-duplicates of reference pictures, exactly.

A fast product (FAISS in float32, or a bfloat16 matrix product where the processor has one) only chooses candidates,
with a margin no smaller than its error; every similarity that is stored or decided on is computed anew from the
stored vectors. So the result does not depend on the product, its threads or its order.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from pipelines.vectors.duplicates import SearchResult
from pipelines.vectors.products import Factor, Product

MOST = 10
"""References of a set that are kept for a picture."""

_BLOCK = 512
"""Pictures in one product."""

_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
"""Integers of a number format's size. The bits of positive numbers, read as integers, are in the order of the numbers
and faster to compare; those of negative ones are below all of them, in the wrong order."""

_GROUP = 8
"""Cosines in a group, which is read only if its maximum can match."""


def search(vectors: Factor, references: Factor, views: int, floor: float) -> SearchResult:
    """Compare all pictures with all references.

    Args:
        vectors: of N pictures, [N, D].
        references: of R references with V views each, [R * V, D], all views of one in succession.
        views: V, 1 or more.
        floor: the least similarity of the pairs that are given, -1 to 1.
    """
    product = Product(vectors, references)
    none = np.zeros(0, np.int64)
    pairs = [(none, none, none.astype(np.float32))]
    least = product.least(floor)
    nearest = _Nearest(product, len(references.exact), views)
    for start, _, cosines in product.blocks(_BLOCK):
        maxima = _BlockMaxima(cosines)
        rows, columns, _ = maxima.at_least(torch.nonzero(maxima.maxima >= least).flatten(), least)
        pairs.append(product.exact(rows + start, columns, floor))
        nearest.add(maxima, start)
    rows, columns, values = (np.concatenate(part) for part in zip(*pairs, strict=True))
    rows, refs, values = _best_view(rows, columns // views, values)
    return SearchResult(rows, refs, values, *nearest.result())


def most_alike(result: SearchResult) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that are among the `MOST` most alike of their picture.

    Returns:
        [P'] int64 indices into the pairs of `result`, and [P'] int64 ranks among their picture's, from 1.
    """
    starts = np.searchsorted(result.rows, result.rows, side="left")
    rank = np.arange(len(result.rows)) - starts + 1
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


class _BlockMaxima:
    """The cosines of a block, searched by way of their maxima.

    A line of n cosines is split into n / G groups of G (`_GROUP`, or less where that does not divide n): group g has
    the columns g, g + n / G, g + 2 n / G and so on. A search reads the groups' maxima, and only those groups that can
    match.

    Args:
        product: [M, n] bfloat16 or float32 cosines: a line for each view of a reference, a column for each picture.
    """

    def __init__(self, product: torch.Tensor) -> None:
        self._cosines = product.view(len(product), math.gcd(product.shape[1], _GROUP), -1)  # [M, G, n / G]
        bits = _BITS[product.dtype]
        self._group_maxima = self._cosines.view(bits).amax(1)  # the only pass over the whole product
        """[M, n / G] each group's maximum as bits (`_BITS`), which are the maximum's only where that is positive; else
        they are some number up to 0."""
        self.maxima = self._group_maxima.amax(1).view(product.dtype).float()
        """[M] float32: each line's maximum."""
        negative = torch.nonzero(self.maxima <= 0).flatten()
        self.maxima[negative] = self._cosines[negative].amax((1, 2)).float()

    def at_least(self, lines: torch.Tensor, cut: torch.Tensor | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All cosines of these lines at or above the cut.

        Args:
            lines: [L] int64.
            cut: one for all lines, or [L] float32.

        Returns:
            [P] int64 columns, [P] int64 lines and [P] float32 cosines, in no order.
        """
        cut = torch.as_tensor(cut).to(self._cosines.dtype).expand(len(lines))
        bits = cut.contiguous().view(self._group_maxima.dtype)
        bits = torch.where(cut > 0, bits, torch.iinfo(bits.dtype).min)  # bits do not order negative numbers
        picked, group = torch.nonzero(self._group_maxima[lines] >= bits[:, None], as_tuple=True)
        values = self._cosines[lines[picked], :, group]
        hits, member = torch.nonzero(values >= cut[picked, None], as_tuple=True)
        columns = member * self._group_maxima.shape[1] + group[hits]
        return columns.numpy(), lines[picked[hits]].numpy(), values[hits, member].float().numpy()


class _Nearest:
    """For each reference the picture most like it: candidates of all blocks are compared exactly at the end."""

    def __init__(self, product: Product, lines: int, views: int) -> None:
        self._product, self._views = product, views
        self._maxima = torch.full((lines,), -torch.inf)
        self._candidates: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, block: _BlockMaxima, start: int) -> None:
        """Keep what may still turn out to be a reference's maximum, as far as the product can tell.

        Args:
            block: of some pictures with all views of references.
            start: number of the block's first picture.
        """
        self._maxima = torch.maximum(self._maxima, block.maxima)
        least = self._least(self._maxima)
        chosen = torch.nonzero(block.maxima >= least).flatten()
        rows, columns, values = block.at_least(chosen, least[chosen])
        self._candidates.append((rows + start, columns, values))

    def _least(self, maxima: torch.Tensor) -> torch.Tensor:
        """The least product that the pair with the greatest cosine may have, where these are the greatest products."""
        return self._product.least(self._product.least(maxima))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """[R] int64: each reference's nearest picture, of equally near ones the first, -1 if there are no pictures; and
        [R] float32: their similarities."""
        views, count = self._views, len(self._maxima) // self._views
        best, best_row = np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64)
        if not self._candidates:
            return best_row, best
        rows, columns, values = (np.concatenate(part) for part in zip(*self._candidates, strict=True))
        least = self._least(self._maxima.view(count, views).amax(1)).numpy()
        near = values >= least[columns // views]
        rows, columns, values = self._product.exact(rows[near], columns[near], -np.inf)
        references = columns // views
        order = np.lexsort((rows, -values, references))
        rows, references, values = rows[order], references[order], values[order]
        known, first = np.unique(references, return_index=True)
        best[known], best_row[known] = values[first], rows[first]
        return best_row, best
