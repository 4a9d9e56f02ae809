"""The Fréchet distance between two Gaussians, which is FID where they are of Inception's features.

    |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr sqrt(S1 S2)

Others take the square root of the product, which is not symmetric: its root comes out complex where rounding makes an
eigenvalue negative, as it does for fewer pictures than features. Here S1 = B1' B1 with B1 of as many rows as S1 has
rank, and S1 S2 has the same eigenvalues as B1 S2 B1', which is symmetric and never negative but for rounding: real and
finite for whatever is given. Of few pictures B1 and B2 are the features themselves, and the trace is the sum of the
singular values of B1 B2', without any rounded zero under a root.

Source: Heusel et al. 2017 (arXiv 1706.08500), eq. 6; Dowson and Landau 1982.
"""

from __future__ import annotations

import numpy as np

from dalle.evaluation.statistics import Statistics


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """The squared distance, 0 or more, of two sets of features' Gaussians.

    Raises:
        ValueError: if they are of features of different length.
    """
    if first.mu.shape != second.mu.shape:
        raise ValueError(
            f"{first.name} has features of {first.mu.size:,} numbers, {second.name} of {second.mu.size:,}; both must "
            "be of one network"
        )
    apart = first.mu - second.mu
    spread = np.trace(first.sigma) + np.trace(second.sigma) - 2 * trace_of_root(first, second)
    return max(0.0, float(apart @ apart + spread))  # rounding may leave less than nothing of two equal sets


def trace_of_root(first: Statistics, second: Statistics) -> float:
    """tr sqrt(S1 S2) of two covariances."""
    if first.root is not None and second.root is not None:
        return float(np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum())
    if first.root is None and second.root is not None:
        first, second = second, first
    root = _root(first.sigma) if first.root is None else first.root  # [rank, D]
    inner = root @ second.sigma @ root.T
    eigenvalues = np.linalg.eigvalsh((inner + inner.T) / 2)
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _root(sigma: np.ndarray) -> np.ndarray:
    """B with B' B = S; what is but rounding of an eigenvalue 0 is left out, as `numpy.linalg.matrix_rank` has it."""
    eigenvalues, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    kept = eigenvalues > max(eigenvalues[-1], 0) * len(sigma) * np.finfo(np.float64).eps
    return (vectors[:, kept] * np.sqrt(eigenvalues[kept])).T
