"""Cosines of many vectors with many: a fast product that only chooses candidates, and the exact values of those.

What is stored or decided on is always computed anew from the stored vectors, so it does not depend on the product,
its number format, its threads or its order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeVar

import faiss
import numpy as np
import torch

from schemas.embeddings import similarity

_AT_ONCE = 1 << 12
"""Vectors, or pairs of them, in one step of an exact computation: few enough to stay in the processor's cache."""

_UNIT = {torch.bfloat16: 2**-8, torch.float32: 2**-24}
"""The greatest relative error of rounding a number to this format."""

Cosine = TypeVar("Cosine", float, np.ndarray, torch.Tensor)


class Factor:
    """Vectors made ready for products.

    Args:
        vectors: [N, D] float32 of unit length.
        fast: multiply in bfloat16; else by FAISS in float32.

    Raises:
        ValueError: if a vector holds NaN or an infinity.
    """

    def __init__(self, vectors: np.ndarray, *, fast: bool) -> None:
        self.exact = np.ascontiguousarray(vectors)
        self.rounded = torch.from_numpy(self.exact).to(torch.bfloat16 if fast else torch.float32)
        """[N, D]"""
        self.longest, self.lost = 0.0, 0.0
        """The greatest length of a vector, and of what rounding took away from one."""
        for start in range(0, len(vectors), _AT_ONCE):
            part = torch.from_numpy(self.exact[start : start + _AT_ONCE])
            longest = float(part.norm(dim=1).max())
            if not math.isfinite(longest):  # compared with anything it gives NaN, which is neither more nor less
                raise ValueError("a vector has a value that is not finite; embed the pictures again")
            self.longest = max(self.longest, longest)
            if fast:
                lost = part - self.rounded[start : start + _AT_ONCE].float()
                self.lost = max(self.lost, float(lost.norm(dim=1).max()))


class Product:
    """All vectors times all others."""

    def __init__(self, vectors: Factor, others: Factor) -> None:
        self._vectors, self._others = vectors, others
        self._unit = _UNIT[vectors.rounded.dtype]
        longest = vectors.longest + vectors.lost
        lost = vectors.lost * others.longest + longest * others.lost  # Cauchy and Schwarz
        summed = vectors.exact.shape[1] * _UNIT[torch.float32] * longest * (others.longest + others.lost)
        self._inner = lost + 2 * summed

    def off(self, cosine: Cosine) -> Cosine:
        """The greatest error that the product has where it, or the exact cosine, is this number."""
        return 1.01 * (self._inner + self._unit * abs(cosine))

    def least(self, cosine: Cosine) -> Cosine:
        """The least that the product may be where the exact cosine is this or more."""
        return cosine - self.off(cosine)

    @torch.inference_mode()
    def blocks(self, size: int, *, triangle: bool = False) -> Iterator[tuple[int, int, torch.Tensor]]:
        """The product, some vectors at a time.

        Args:
            size: vectors at a time.
            triangle: the others are the vectors themselves; leave out those before the block.

        Yields:
            number of the block's first vector, number of the first of the others, and [M - first, size] cosines, in
            rows of the others: a search for the best vector of each of them reads memory in order. The next block
            overwrites them.
        """
        left, right = self._others.rounded, self._vectors.rounded
        fast = left.dtype == torch.bfloat16
        if fast:
            # one piece of memory for all blocks, and numpy's, whose pages are huge: fresh ones cost a product more
            room = torch.from_numpy(np.empty(len(left) * min(size, len(right)), np.int16)).view(torch.bfloat16)
        for start in range(0, len(right), size):
            first = start if triangle else 0
            part = right[start : start + size]
            if fast:
                shape = (len(left) - first, len(part))
                yield start, first, torch.mm(left[first:], part.T, out=room[: shape[0] * shape[1]].view(shape))
            else:
                values = faiss.pairwise_distances(left[first:].numpy(), part.numpy(), faiss.METRIC_INNER_PRODUCT)
                yield start, first, torch.from_numpy(values)

    def exact(self, rows: np.ndarray, columns: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pairs of these whose exact similarity is at or above the floor.

        Args:
            rows, columns: [P] int64 numbers of the vectors and of the others.
            floor: -1 to 1, or -inf for all.

        Returns:
            [P'] rows, [P'] columns and [P'] float32 similarities.
        """
        values = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            values[part] = similarity(self._vectors.exact[rows[part]], self._others.exact[columns[part]])
        kept = values >= floor
        return rows[kept], columns[kept], values[kept]
