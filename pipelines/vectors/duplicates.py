"""What a search for near-duplicates takes and gives."""

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
    """[R, V, D] float32 of unit length, with V views of each reference."""
    threshold: float
    """The similarity from which a picture counts as a copy."""


@dataclass(frozen=True)
class SearchResult:
    """What a search gives for N pictures and R references."""

    rows: np.ndarray
    """[P] int64: pictures of the pairs at or above the floor, in order; of each the most alike reference first."""
    references: np.ndarray
    """[P] int64."""
    similarities: np.ndarray
    """[P] float32: the best of the reference's views."""
    nearest: np.ndarray
    """[R] int64: for each reference the picture most like it, of equally like ones the first; -1 if there are none."""
    nearest_similarities: np.ndarray
    """[R] float32."""
