"""What a random part of a list says of the whole: an estimate and the interval that holds the truth 95 times in 100.

Shares have Wilson's interval (1927), means Student's. Both know how much of the list was seen: a part `fraction` of
it, drawn without replacement, leaves only the unseen rows uncertain, so the variance shrinks by 1 - fraction, and a
list that was seen whole has no interval left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_Z = 1.959963984540054
"""Standard normal quantile of 0.975."""
_DRAWS = 200


@dataclass(frozen=True)
class Estimate:
    """A figure of the whole list, and the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        """The same in another unit, or of as many rows; the factor is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def share(count: int, among: int, fraction: float) -> Estimate:
    """The share of rows of a kind, when `count` of `among` random ones are of it; 0 to 1.

    Args:
        count: rows of the kind.
        among: rows that were looked at.
        fraction: how much of all rows these are, above 0 and at most 1.
    """
    if not among:
        return Estimate(0.0, 0.0, 0.0 if fraction >= 1 else 1.0)
    p = count / among
    if fraction >= 1:
        return Estimate(p, p, p)
    n = among / (1 - fraction)  # rows drawn with replacement that would tell as much
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return Estimate(p, max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half)))


def mean(values: np.ndarray, fraction: float) -> Estimate:
    """The mean of all rows, from `values` [n] of random ones; no interval can be given from a single one.

    Args:
        values: one figure for each row looked at.
        fraction: how much of all rows that is, more than 0 and at most 1.
    """
    n, middle = len(values), float(values.mean()) if len(values) else 0.0
    if fraction >= 1:
        return Estimate(middle, middle, middle)
    if n < 2:
        return Estimate(middle, -math.inf, math.inf)
    half = _student(n - 1) * float(values.std(ddof=1)) * math.sqrt((1 - fraction) / n)
    return Estimate(middle, middle - half, middle + half)


def resampled(rows: int, figure: Callable[[np.ndarray], float], seed: int) -> Estimate:
    """A figure that is no mean: its value on the rows looked at, and the middle 95 % of it on rows drawn from those.

    Args:
        rows: how many were looked at.
        figure: from indices of rows [n] to the figure.
        seed: of the draws; Efron's percentile bootstrap with 200 of them.
    """
    rng = np.random.default_rng(seed)
    drawn = [figure(rng.integers(rows, size=rows)) for _ in range(_DRAWS)]
    value = figure(np.arange(rows))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _student(freedom: int) -> float:
    """Student's 0.975 quantile by its expansion in 1/freedom (Abramowitz and Stegun 26.7.5); within 1 % from 4 on."""
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
