"""The Kernel Inception Distance: unbiased for any number of pictures, so small sets can be compared by it.

The squared maximum mean discrepancy under the kernel (x'y / D + 1)^3, estimated without bias on subsets drawn without
replacement; the mean over the subsets is the distance, their standard deviation says how sure it is. It may be below 0.

Source: Binkowski et al. 2018 (arXiv 1801.01401); draws and numbers are torch-fidelity's for the same subsets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SEED = 2020
"""torch-fidelity's."""


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """Between some samples and references."""

    mean: float
    std: float
    """Over the subsets."""
    subsets: int
    size: int
    """Pictures of each side in a subset."""

    def to_json(self) -> dict[str, float | int]:
        """As `evaluation.json` has it."""
        return {"mean": self.mean, "std": self.std, "subsets": self.subsets, "size": self.size}


Rows = Callable[[np.ndarray], np.ndarray]


def kernel_distance(
    samples: tuple[Rows, int], references: tuple[Rows, int], *, subsets: int = 100, size: int = 1000
) -> KernelDistance:
    """Between two sets of features.

    Args:
        samples: what gives for [n] numbers of pictures their features, [n, D] float32, and how many there are.
        references: the same of the other side.
        subsets: how many are drawn.
        size: of each, or as many as the smaller side has.

    Raises:
        ValueError: if a side has fewer than two pictures.
    """
    size = min(size, samples[1], references[1])
    if size < 2:
        raise ValueError(f"a kernel distance needs 2 pictures of each side or more, found {size}")
    if size == samples[1] == references[1]:
        subsets = 1  # the same pictures each time
    rng = np.random.RandomState(SEED)
    found = np.zeros(subsets)
    for subset in range(subsets):
        drawn = [rows(rng.choice(count, size, replace=False)) for rows, count in (samples, references)]
        found[subset] = squared_mmd(*drawn)
    return KernelDistance(mean=float(found.mean()), std=float(found.std()), subsets=subsets, size=size)


def squared_mmd(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate for two sets of as many features, each [n, D] float32."""
    n = len(first)
    own = [_kernel(one, one) for one in (first, second)]
    sums = [float((kernel.sum(1) - np.diagonal(kernel)).sum()) for kernel in own]
    across = float(_kernel(first, second).sum())
    return sum(sums) / (n * (n - 1)) - 2 * across / (n * n)


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first @ second.T / first.shape[1] + 1) ** 3
