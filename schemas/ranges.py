"""Numbers that options may have: what lies beyond could only fail later, at a unit, in words of a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_PROCESSES = 4_096
"""More than any machine has cores."""
MOST_SEED = 2**64 - 1
MOST_STEPS = 10**12
"""More than any training takes."""
MOST_EXAMPLES = 2**24
"""Of one batch."""
MOST_FLOAT = 1e38
"""That float32 holds."""
MOST_SIZE = 2**20
"""Channels, layers or other sizes of a network."""


@dataclass(frozen=True)
class Between:
    """From what to what a number may be, both of them too."""

    least: float
    most: float


@dataclass(frozen=True)
class Above(Between):
    """Likewise, but for the least itself."""


def check_range(flag: str, value: float, least: float, most: float) -> None:
    """Refuse a number.

    Raises:
        ValueError: if it is not between these, or no number.
    """
    if not value >= least:
        raise ValueError(f"--{flag} {value}: expected {least:,} or more")
    if value > most:
        raise ValueError(f"--{flag} {value}: expected {most:,} or less")


def check_ranges(options: Any, ranges: Mapping[str, Between]) -> None:
    """Refuse numbers of some options; of those that are not set, none; of several, each.

    Args:
        options: whose attributes they are.
        ranges: by the option's name.

    Raises:
        ValueError: naming the first that is out of its range, or no number.
    """
    for name, allowed in ranges.items():
        value = getattr(options, name)
        for number in value if isinstance(value, tuple) else () if value is None else (value,):
            if isinstance(allowed, Above) and not number > allowed.least:
                raise ValueError(f"--{name} {number}: expected more than {allowed.least:,}")
            check_range(name, number, allowed.least, allowed.most)
