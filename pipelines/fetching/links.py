"""A link on its way: where it goes, how often it was tried, how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.fetching.answer import Answer
from pipelines.fetching.deadlines import Clock
from pipelines.fetching.urls import Target
from schemas.reasons import NotKept

ROBOTS = -1
"""Index of a link that is a site's robots.txt."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one link."""

    index: int
    data: bytes = b""
    problem: NotKept | None = None
    seconds: float = 0.0
    """That it was one of the `--thread_count` links in flight: attempts, and the waits between them."""


@dataclass(eq=False, slots=True)
class Link:
    """One link, or a site's robots.txt."""

    index: int
    first: Target
    """Where each attempt begins."""
    target: Target
    """Where it is now, after redirects."""
    clock: Clock
    tries: int = 1
    """The attempt that it is on."""
    redirects: int = 0
    """That this attempt has followed."""
    slot: str = ""
    """The host of which it has a slot."""
    anew: bool = False
    """Whether it was begun again because a connection that was kept alive had died."""
    ends: float | None = None
    """When its attempt has had its time; None while nothing of it is under way."""
    answer: Answer | None = None
    waiting: list[Link] = field(default_factory=list)
    """Links that wait for this robots.txt."""

    @property
    def is_robots(self) -> bool:
        """Whether it is a site's robots.txt."""
        return self.index == ROBOTS
