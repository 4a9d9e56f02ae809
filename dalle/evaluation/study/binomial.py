"""How sure a share is: Clopper and Pearson's exact interval for a binomial proportion (1934).

    >>> low, high = interval(9, 10)
    >>> round(low, 4), round(high, 4)
    (0.555, 0.9975)

It is never too narrow, also where few were asked or all said the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_BISECTIONS = 50


def interval(count: int, among: int, outside: float = 0.05) -> tuple[float, float]:
    """The ends of the interval that holds the true share at least 95 times in 100.

    Args:
        count: how many were of the kind, 0 to `among`.
        among: independent trials; of none nothing is known.
        outside: how likely the share may lie outside, half on each side.
    """
    low, high = 0.0, 1.0
    if count > 0:
        at_most = _at_most(count - 1, among)
        low = _where(lambda p: 1 - at_most(p) > outside / 2)
    if count < among:
        at_most_all = _at_most(count, among)
        high = _where(lambda p: at_most_all(p) < outside / 2)
    return low, high


def _at_most(count: int, among: int) -> Callable[[float], float]:
    """How likely `count` or fewer of `among` trials succeed, each with a probability above 0 and below 1."""
    k = np.arange(count + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((among - k[1:] + 1) / k[1:]))])  # logarithms
    return lambda p: float(np.exp(ways + k * math.log(p) + (among - k) * math.log1p(-p)).sum())


def _where(is_above: Callable[[float], bool]) -> float:
    """The share at which it begins to hold."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return (low + high) / 2
