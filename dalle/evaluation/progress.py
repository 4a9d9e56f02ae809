"""How far an evaluation is, in a line now and then."""

from __future__ import annotations

import time

_EVERY = 5.0
"""Seconds between two lines."""


class Progress:
    """Is told how many pictures there have been, and says it."""

    def __init__(self) -> None:
        self._what, self._began, self._said = "", 0.0, 0.0

    def __call__(self, what: str, seen: int, total: int) -> None:
        """So many pictures of all were seen for a purpose."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._said = what, now, now
        if now - self._said < _EVERY:
            return
        self._said = now
        rate = seen / (now - self._began)
        left = max(0, total - seen) / rate
        print(f"  {what}: {seen:,} of {total:,} pictures, {rate:.1f} pictures/s, {left:,.0f} s left", flush=True)
