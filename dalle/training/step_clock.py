"""How fast a training is, and for how long it waits for data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

_FIRST = 10.0
"""Seconds that a step may take before one was taken."""


class StepClock:
    """How long steps take: without evaluations, and without what comes before the first batch is there."""

    def __init__(self) -> None:
        self._longest, self._last = 0.0, time.monotonic()
        self.steps = 0
        """That were taken since the last `take`; whoever takes them counts."""
        self._began: float | None = None
        self._waited = self._elsewhere = 0.0

    def longest(self) -> float:
        """Seconds for which a step, with all that follows it, may take: twice as long as any has."""
        return 2 * max(self._longest, time.monotonic() - self._last, _FIRST)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The block waits for data."""
        started = time.monotonic()
        self._longest = max(self._longest, started - self._last)
        yield
        self._last = time.monotonic()
        if self._began is None:
            self._began = time.monotonic()
        else:
            self._waited += time.monotonic() - started

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The block is no part of a step."""
        started = time.monotonic()
        yield
        if self._began is not None:
            self._elsewhere += time.monotonic() - started

    def take(self) -> tuple[float, float]:
        """Seconds a step since the last call, and the share of them that data were waited for; they begin anew."""
        now = time.monotonic()
        seconds = max(now - (self._began or now) - self._elsewhere, 1e-9)
        taken = seconds / max(self.steps, 1), self._waited / seconds
        self.steps, self._began, self._waited, self._elsewhere = 0, now, 0.0, 0.0
        return taken
