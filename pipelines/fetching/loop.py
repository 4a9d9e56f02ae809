"""Links in one thread: each waits its turn, passes three gates, gets a place, and ends with its bytes or its reason.

The gates: the rules of its site must be known (and allow it), its host must have a slot for it, and one of the
`--thread_count` places must be free. What waits at a gate holds nothing behind it, so no two links can wait for each
other, and the clock of a link runs only in its place. A redirect passes the gates anew: its target may be another
site, with rules and slots of its own.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable

from pipelines.fetching.answer import Answer
from pipelines.fetching.attempts import Attempts, Told
from pipelines.fetching.content_encoding import BadEncoding, TooLong, decoded
from pipelines.fetching.deadlines import Clock
from pipelines.fetching.host_slots import HostSlots
from pipelines.fetching.links import Fetched, Link
from pipelines.fetching.memory import Allowance
from pipelines.fetching.open_files import open_files
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.resolving import Resolver
from pipelines.fetching.robots import RobotsCache, Rules
from pipelines.fetching.site_rules import SiteRules
from pipelines.fetching.urls import Target
from schemas.reasons import NotKept

_LOOK_EVERY = 0.05
"""Seconds after which the loop looks whether its reader wants no more."""

_robots_cache = RobotsCache()
_resolver = Resolver()


class Loop:
    """Fetches links; what becomes of each is put into `results`, then None."""

    def __init__(self, links: Iterable[tuple[int, str]], options: FetchOptions) -> None:
        self.results: queue.SimpleQueue[Fetched | BaseException | None] = queue.SimpleQueue()
        self.stopped = False
        """Set by the reader when it wants no more."""
        self._fresh = iter(links)
        self._more = True
        self._options = options
        self._agents = options.agents
        files = open_files(options.thread_count)
        _resolver.most = max(_resolver.most, files.lookups)
        self._allowance: Allowance[Answer] = Allowance(options.bytes_held, files.links)
        self._rules = SiteRules(options, _robots_cache)
        self._slots: HostSlots[Link] = HostSlots(options.max_connections_per_host, options.mapped_hosts)
        self._ready: deque[Link] = deque()
        """Links with a slot, which wait for a place."""
        self._attempts = Attempts(options, files, self._allowance, _resolver, Told(self._ended, self._moves))
        self._given = self._taken = 0
        """Results, by this thread and by the reader's; each counts up its own."""
        self._waits_for_reader = False

    def consumed(self, result: Fetched) -> None:
        """The reader has taken this result."""
        self._taken += 1
        self._allowance.taken += len(result.data)
        if self._waits_for_reader:
            self._waits_for_reader = False
            self._attempts.wake()

    def run(self) -> None:
        """Fetch everything; an unexpected error is handed to the reader."""
        try:
            while not self.stopped and self._has_something_to_do():
                self._attempts.try_again()
                self._begin_some()
                self._attempts.step(_LOOK_EVERY)
            self.results.put(None)
        except BaseException as error:  # noqa: BLE001  raised again by the reader
            self.results.put(error)
        finally:
            self._attempts.close()

    def _has_something_to_do(self) -> bool:
        return bool(self._more or self._attempts.busy or self._ready or self._rules.waiting or self._slots.waiting)

    def _begin_some(self) -> None:
        while self._has_room():
            if self._ready:
                self._attempts.begin(self._ready.popleft())
            elif self._more and self._rules.waiting + self._slots.waiting < 4 * self._attempts.places:
                self._take_up_next()
            else:
                return

    def _has_room(self) -> bool:
        places = self._attempts.places
        self._waits_for_reader = self._given - self._taken >= places or not self._allowance.has_room
        return self._attempts.busy < places and not self._waits_for_reader

    def _take_up_next(self) -> None:
        following = next(self._fresh, None)
        if following is None:
            self._more = False
            return
        index, url = following
        try:
            target = Target.of(url)
        except ValueError as error:
            self._give(Fetched(index, problem=NotKept("bad-url", str(error))))
            return
        self._ask_rules(Link(index, target, target, Clock(self._options.deadline, self._options.timeout)))

    def _ask_rules(self, link: Link) -> None:
        """The first gate."""
        rules = self._rules.of(link, time.monotonic())
        if rules is not None:
            self._ask_slot(link, rules)
        elif robots := self._rules.hold(link):
            self._ask_rules(robots)

    def _ask_slot(self, link: Link, rules: Rules) -> None:
        """The second gate."""
        if problem := rules.refusal(link.target.url, *self._agents):
            self._settle(link, problem)
        elif self._slots.take(link.target.host, link):
            self._wait_for_place(link)

    def _wait_for_place(self, link: Link) -> None:
        """The third gate; who was in already goes first, and what many others wait for."""
        link.slot = link.target.host
        if link.redirects or link.is_robots:
            self._ready.appendleft(link)
        else:
            self._ready.append(link)

    def _leave_place(self, link: Link) -> None:
        self._attempts.leave(link)
        following = self._slots.free(link.slot)
        link.slot = ""
        if following:
            self._wait_for_place(following)

    def _moves(self, link: Link) -> None:
        """It has another target."""
        self._leave_place(link)
        self._ask_rules(link)

    def _ended(self, link: Link, problem: NotKept | None) -> None:
        self._leave_place(link)
        self._settle(link, problem)

    def _settle(self, link: Link, problem: NotKept | None) -> None:
        """What became of a link is known."""
        if link.is_robots:
            self._let_in(link, problem)
            return
        data = b""
        if problem is None and link.answer is not None:
            try:
                data = self._data(link.answer)
            except BadEncoding as error:
                problem = NotKept("bad-response", f"Content-Encoding: {error}")
            except TooLong:
                problem = NotKept("too-large", "more bytes than --max_bytes")
        link.answer = None  # the link itself is remembered up to when its time would have ended
        self._give(Fetched(link.index, data, problem, link.clock.spent))

    def _let_in(self, robots: Link, problem: NotKept | None) -> None:
        """A site's rules are known, or cannot be: its links go on."""
        rules = self._rules.learn(robots, problem, time.monotonic())
        waiting, robots.waiting = robots.waiting, []
        if robots.answer:
            robots.answer.drop()
        robots.answer = None
        for link in waiting:
            self._ask_slot(link, rules)

    def _data(self, answer: Answer) -> bytes:
        """The picture's bytes, which are the reader's from now on."""
        data = answer.body.getvalue()
        if encodings := answer.headers.get("content-encoding"):
            try:
                data = decoded(data, encodings, self._options.max_bytes)
            except ValueError:
                answer.drop()
                raise
        self._allowance.hand_over(answer, len(data))
        return data

    def _give(self, fetched: Fetched) -> None:
        self._given += 1
        self.results.put(fetched)
