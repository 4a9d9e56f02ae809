"""Numbers that options may have: what lies beyond could only fail later, at a unit, in words of a library."""

from __future__ import annotations

MOST_PROCESSES = 4096
"""More than any machine has cores."""
MOST_SEED = 2**64 - 1


def check_range(flag: str, value: float, least: float, most: float) -> None:
    """Refuse a number.

    Raises:
        ValueError: if it is not between these, or no number.
    """
    if not value >= least:
        raise ValueError(f"--{flag} {value}: expected {least} or more")
    if value > most:
        raise ValueError(f"--{flag} {value}: expected {most} or less")
