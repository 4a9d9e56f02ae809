"""What a search for near-duplicates is given and gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ReferenceSet:
    """Vectors of a reference set."""

    name: str
    ids: tuple[str, ...]
    """[R] as matches name them."""
    sha256s: tuple[str, ...]
    """[R] of their files."""
    vectors: np.ndarray
    """[R, V, D] float32 of unit length; V views of each."""
    threshold: float
    """The similarity from which a picture counts as a copy."""


@dataclass(frozen=True)
class Found:
    """What a search gives for N pictures and R references."""

    rows: np.ndarray
    """[P] int64: pictures of the pairs at or above the floor, in order; of each the most alike reference first."""
    references: np.ndarray
    """[P] int64."""
    similarities: np.ndarray
    """[P] float32: the best of the reference's views."""
    nearest: np.ndarray
    """[R] int64: for each reference the picture most like it, the first of equals; -1 if there are no pictures."""
    nearest_similarities: np.ndarray
    """[R] float32."""
