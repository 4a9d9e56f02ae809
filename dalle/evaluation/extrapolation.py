"""How much of a FID is there only because of how few pictures it was computed from.

FID falls with the number of pictures, in good approximation as a line in one over that number, so two numbers can be
compared only at the same N. Computed for several parts of the pictures and continued to infinitely many, the line gives
FID-infinity, of which the bias is gone. Both sides are thinned out alike where both have pictures; statistics stay.

Source: Chong and Forsyth 2020 (arXiv 1911.07023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ENOUGH = 10_000
"""Pictures from which FID is taken as it is (Heusel et al. 2017 advise so)."""
POINTS = 8
_LEAST_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """A FID continued to infinitely many pictures."""

    value: float
    """FID-infinity."""
    points: tuple[tuple[int, float], ...]
    """Numbers of samples, and the distance with so many."""
    error: float
    """Standard error of the value, from how far the points lie off the line."""

    def to_json(self) -> dict[str, object]:
        """As `evaluation.json` has it."""
        return {"value": self.value, "standard_error": self.error, "points": [list(point) for point in self.points]}


def extrapolate(distance: Callable[[float, np.random.Generator], float], count: int, seed: int) -> Extrapolation | None:
    """Continue a distance to infinitely many pictures.

    Args:
        distance: gives it for a share of the pictures, which it draws with the generator.
        count: of the samples.
        seed: of the draws.

    Returns:
        None where there are too few pictures for two parts of them to differ.
    """
    sizes = sorted({int(size) for size in np.linspace(max(_LEAST_SHARE * count, 2), count, POINTS)})
    if len(sizes) < 3:
        return None
    points = [(size, distance(size / count, np.random.default_rng([seed, size]))) for size in sizes]
    inverse = np.array([1 / size for size, _ in points])
    values = np.array([value for _, value in points])
    design = np.stack([np.ones_like(inverse), inverse], 1)
    line, *_ = np.linalg.lstsq(design, values, rcond=None)
    left = values - design @ line
    variance = float(left @ left) / (len(points) - 2) * np.linalg.inv(design.T @ design)[0, 0]
    return Extrapolation(value=float(line[0]), points=tuple(points), error=float(np.sqrt(variance)))
