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

    def fault(self, number: float) -> str:
        """What was expected instead of a number; nothing if it may be."""
        if not number >= self.least:
            return f"expected {self.least:,} or more"
        return f"expected {self.least:,} to {self.most:,}" if number > self.most else ""


@dataclass(frozen=True)
class Above(Between):
    """Likewise, but for the least itself."""

    def fault(self, number: float) -> str:
        """See `Between`."""
        if not number > self.least:
            return f"expected more than {self.least:,}"
        return f"expected more than {self.least:,}, at most {self.most:,}" if number > self.most else ""


@dataclass(frozen=True)
class Below(Between):
    """Likewise, but for the most itself."""

    def fault(self, number: float) -> str:
        """See `Between`."""
        return "" if self.least <= number < self.most else f"expected {self.least:,} to below {self.most:,}"


@dataclass(frozen=True)
class Multiple(Between):
    """Likewise, in steps: multiples of a number."""

    of: int

    def fault(self, number: float) -> str:
        """See `Between`."""
        return super().fault(number) or (f"expected a multiple of {self.of}" if number % self.of else "")


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
            if fault := allowed.fault(number):
                raise ValueError(f"--{name} {number}: {fault}")
