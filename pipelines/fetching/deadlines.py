"""When a link has had its time: what it is worked on counts, what it waits for its turn does not.

A link's clock runs from the moment it is sent, through its attempts, their redirects and the waits between them. It
stands still while the link waits for a slot of its host, for a site's robots.txt, for a thread that looks up its host,
or for room in memory: none of that is its server's fault.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Of one link. Times are those of `time.monotonic`."""

    whole: float
    """Seconds that all attempts and the waits between them may take."""
    attempt: float
    """Seconds that one attempt may take."""
    spent: float = 0.0
    """Seconds so far, up to when it was stopped."""
    _spent_on_attempt: float = 0.0
    _since: float | None = None

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self._since is not None

    def start(self, now: float) -> None:
        """Let it run, if it does not yet."""
        if self._since is None:
            self._since = now

    def stop(self, now: float) -> None:
        """Let it stand still, if it runs."""
        if self._since is not None:
            self.spent += now - self._since
            self._spent_on_attempt += now - self._since
            self._since = None

    def begin_attempt(self, now: float) -> None:
        """From now on the time of another attempt counts."""
        running = self.runs
        self.stop(now)
        self._spent_on_attempt = 0.0
        if running:
            self.start(now)

    def ends(self, now: float) -> float:
        """When the attempt has had its time, if the clock runs from now on."""
        since = now if self._since is None else self._since
        return since + min(self.attempt - self._spent_on_attempt, self.whole - self.spent)

    def allows_a_wait_of(self, seconds: float, now: float) -> bool:
        """Whether there is time for another attempt after it."""
        since = now if self._since is None else self._since
        return self.spent + (now - since) + seconds < self.whole
