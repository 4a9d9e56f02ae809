"""Links in their places: looked up, sent, paused while memory is full, broken off when their time is over, tried again.

What becomes of a link is told to who put it into its place: that it has ended, or that it has to go elsewhere (after a
redirect, or back to where it began) and must ask for leave there first.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import pycurl

from pipelines.fetching.answer import Answer
from pipelines.fetching.failures import failure, retry_after
from pipelines.fetching.inbox import Inbox
from pipelines.fetching.links import Link
from pipelines.fetching.lookups import Lookups
from pipelines.fetching.memory import Allowance
from pipelines.fetching.open_files import OpenFiles
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.resolving import Lookup, Resolver
from pipelines.fetching.shortage import WAIT, Shortage
from pipelines.fetching.transfers import Ended, Transfers
from schemas.reasons import REASONS, NotKept

_FIRST_WAIT = 0.5
"""Seconds before a second attempt, doubled for each further one."""
_REDIRECTS_OF_ROBOTS = 5
"""That are followed to a robots.txt (RFC 9309, section 2.3.1.2)."""


@dataclass(frozen=True)
class Told:
    """Who is told what becomes of links."""

    ended: Callable[[Link, NotKept | None], None]
    """The link has ended: its answer is whole, or this is the problem."""
    moves: Callable[[Link], None]
    """The link has another target, and must ask for leave there."""


class Attempts:
    """The links of one loop that are in their places.

    Args:
        options: how links are fetched.
        files: what the limit of open files allows.
        allowance: how many bytes may lie in memory.
        resolver: looks up names.
        told: who is told what becomes of links.
    """

    def __init__(
        self,
        options: FetchOptions,
        files: OpenFiles,
        allowance: Allowance[Answer],
        resolver: Resolver,
        told: Told,
    ) -> None:
        self._options = options
        self._policy = options.address_policy()
        self._files = files
        self._allowance = allowance
        self._told = told
        self.places = files.links
        """Links that may be in a place; fewer, once this machine was short of something."""
        self.busy = 0
        """Links that are in one, those that wait to be tried again included."""
        self._inbox: Inbox[Lookup] = Inbox()
        self._lookups = Lookups(options, self._policy, resolver, self._inbox)
        self._transfers = Transfers(options, files.connections, self._inbox.file)
        self._later: list[tuple[float, int, Link]] = []
        self._ends: list[tuple[float, int, Link]] = []
        self._tickets = itertools.count()
        self._shortage = Shortage()

    def begin(self, link: Link) -> None:
        """Put a link into a place."""
        self.busy += 1
        self._send(link)

    def leave(self, link: Link) -> None:
        """Take a link out of its place."""
        self.busy -= 1
        link.clock.stop(time.monotonic())

    def step(self, seconds: float) -> None:
        """Do what there is to do, after waiting for it some seconds at most."""
        if self._transfers.move(seconds):
            self._hear_of_names()
        for ended in self._transfers.ended():
            self._end(ended)
        self._pause_and_go_on()
        self._expire()

    def try_again(self) -> None:
        """Send links once more whose wait is over."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            link = heapq.heappop(self._later)[2]
            link.tries += 1
            link.redirects = 0
            link.anew = False
            link.target = link.first
            link.clock.begin_attempt(now)
            if link.slot == link.target.host:
                self._send(link)
            else:
                self._told.moves(link)

    def close(self) -> None:
        """Break everything off."""
        self._transfers.close()
        self._inbox.close()

    def wake(self) -> None:
        """End the wait of `step` from another thread."""
        self._inbox.wake()

    def _send(self, link: Link) -> None:
        now = time.monotonic()
        link.answer = None
        link.clock.start(now)
        if not self._lookups.needs_one(link.target):
            self._request(link, ())
            return
        lookup = self._lookups.ask(link)
        if lookup.done:
            self._connect(link, lookup)
        elif lookup.begun:
            self._let_end(link, now)
        else:
            link.clock.stop(now)

    def _hear_of_names(self) -> None:
        for link, lookup in self._lookups.news():
            now = time.monotonic()
            link.clock.start(now)
            if lookup.done:
                self._connect(link, lookup)
            else:
                self._let_end(link, now)

    def _connect(self, link: Link, lookup: Lookup) -> None:
        link.ends = None
        if lookup.fault:
            self._be_short(link, lookup.fault)
            return
        addresses = self._lookups.usable(link.target, lookup)
        if isinstance(addresses, NotKept):
            self._conclude(link, addresses)
        else:
            self._request(link, addresses)

    def _request(self, link: Link, addresses: tuple[str, ...]) -> None:
        link.answer = Answer(
            self._policy, self._options, self._allowance, is_robots=link.is_robots, highest=self._files.highest
        )
        try:
            self._transfers.start(link, link.answer, addresses)
        except ValueError as error:
            self._conclude(link, NotKept("redirects" if link.redirects else "bad-url", str(error)))
        else:
            self._let_end(link, time.monotonic())

    def _let_end(self, link: Link, now: float) -> None:
        link.ends = link.clock.ends(now)
        heapq.heappush(self._ends, (link.ends, next(self._tickets), link))

    def _expire(self) -> None:
        """Break off what has had its time."""
        now = time.monotonic()
        while self._ends and self._ends[0][0] <= now:
            link = heapq.heappop(self._ends)[2]
            if link.ends is None or link.ends > now:
                continue
            link.ends = None
            if self._lookups.leave(link):
                self._conclude(link, NotKept("timeout", "Resolving timed out"))
                continue
            assert link.answer is not None
            self._transfers.stop(link.answer)
            self._allowance.end(link.answer)
            self._conclude(link, NotKept("timeout", "Operation timed out"))

    def _pause_and_go_on(self) -> None:
        """Links for whose bytes there is no room stop their clocks; those for which there is some go on."""
        for answer in self._allowance.just_paused():
            link = self._transfers.link_of(answer)
            link.clock.stop(time.monotonic())
            link.ends = None
        while (paused := self._allowance.next_to_go_on()) is not None:
            link = self._transfers.link_of(paused)
            now = time.monotonic()
            link.clock.start(now)
            self._let_end(link, now)
            if ended := self._transfers.go_on(paused):
                self._end(ended)

    def _end(self, ended: Ended) -> None:
        """A request has ended."""
        link, answer = ended.link, ended.link.answer
        assert answer is not None
        link.ends = None
        self._allowance.end(answer)
        if isinstance(answer.fault, OSError | MemoryError):
            raise answer.fault
        if shortage := self._shortage.of(ended, answer):
            self._be_short(link, shortage)
            return
        location = answer.headers.get("location")
        if location and 300 <= answer.status < 400 and ended.error in (0, pycurl.E_WRITE_ERROR):
            self._redirect(link, location)
            return
        problem = failure(answer, ended.error, ended.message, redirected=link.redirects > 0)
        if problem and problem.reason == "reset" and ended.reused and not link.anew:
            link.anew = True  # the server closed a connection that it had kept alive; that is no failure of the link
            answer.drop()
            self._send(link)
            return
        self._conclude(link, problem)

    def _redirect(self, link: Link, locations: list[str]) -> None:
        most = _REDIRECTS_OF_ROBOTS if link.is_robots else self._options.max_redirects
        link.redirects += 1
        if len(set(locations)) > 1:
            self._conclude(link, NotKept("bad-response", "several Location headers that differ"))
            return
        try:
            if link.redirects > most:
                raise ValueError(f"Maximum ({most}) redirects followed")
            link.target = link.target.redirected(locations[0].encode("latin-1"))
        except ValueError as error:
            self._conclude(link, NotKept("redirects", str(error)))
            return
        link.anew = False
        self._told.moves(link)

    def _be_short(self, link: Link, error: OSError) -> None:
        """This machine was short of something: fewer links at once, and this one again, which is not its failure."""
        now = time.monotonic()
        self._shortage.met(error, now)
        self.places = max(1, self.busy - 1)
        link.clock.stop(now)
        link.tries -= 1
        heapq.heappush(self._later, (now + WAIT, next(self._tickets), link))

    def _conclude(self, link: Link, problem: NotKept | None) -> None:
        """An attempt has ended: another one later, or this is what became of the link."""
        if problem:
            asked = 0.0
            if link.answer:
                asked = retry_after(link.answer.headers)
                link.answer.drop()
            if REASONS[problem.reason].transient and link.tries <= self._options.retries:
                now = time.monotonic()
                wait = max(_FIRST_WAIT * 2 ** (link.tries - 1), asked)
                if link.clock.allows_a_wait_of(wait, now):
                    heapq.heappush(self._later, (now + wait, next(self._tickets), link))
                    return
        self._told.ended(link, problem)
