"""When a link has had its time: its attempts and the waits between them together, whatever its server does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a link's time, by the clock that is never set."""

    ends: float
    """A value of `time.monotonic`."""

    @classmethod
    def after(cls, seconds: float) -> Self:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    def seconds_for_an_attempt(self, timeout: float) -> float:
        """How long an attempt that begins now may take; 0 or less if no time is left."""
        return min(timeout, self.ends - time.monotonic())

    def allows_a_wait_of(self, seconds: float) -> bool:
        """Whether there is time for another attempt after it."""
        return time.monotonic() + seconds < self.ends
