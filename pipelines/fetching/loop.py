"""Many transfers in one thread: begins links while there is room, moves bytes, ends links, tries again."""

from __future__ import annotations

import heapq
import itertools
import queue
import selectors
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import certifi
import pycurl

from pipelines.fetching.answer import Answer
from pipelines.fetching.deadlines import Deadline
from pipelines.fetching.failures import failure, fault_of_url, retry_after
from pipelines.fetching.host_slots import HostSlots
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import RobotsCache, Rules, site_of
from schemas.reasons import REASONS, NotKept

_BUFFERED = 256 << 20
"""Bytes that were fetched and not yet read above which no new link is begun."""
_FIRST_WAIT = 0.5
"""Seconds before a second attempt, doubled for each further one."""
_LOOK_EVERY = 0.05
"""Seconds after which the loop looks whether its reader has made room."""
_ROBOTS = -1
"""Index of a link that is a site's robots.txt."""

_robots_cache = RobotsCache()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one link."""

    index: int
    data: bytes = b""
    problem: NotKept | None = None
    seconds: float = 0.0
    """From its first attempt to its end, during which it was one of the `--thread_count` links in flight."""


@dataclass(eq=False, slots=True)
class _Link:
    index: int
    url: str
    host: str = ""
    site: str = ""
    tries: int = 0
    anew: bool = False
    """Whether it was begun again because a connection that was kept alive had died."""
    deadline: Deadline | None = None
    """Set when it is taken up, which is earlier than its first attempt where it waits for robots.txt or for a slot."""
    attempted: float = 0.0
    """When its first attempt began."""
    answer: Answer | None = None
    waiting: list[_Link] = field(default_factory=list)
    """Links that wait for this robots.txt."""


class Loop:
    """Fetches links; what becomes of each is put into `results`, then None."""

    def __init__(self, links: Iterable[tuple[int, str]], options: FetchOptions) -> None:
        self.results: queue.SimpleQueue[Fetched | BaseException | None] = queue.SimpleQueue()
        self.stopped = False
        """Set by the reader when it wants no more."""
        self._fresh = iter(links)
        self._more = True
        self._options = options
        self._policy = options.address_policy()
        self._slots: HostSlots[_Link] = HostSlots(options.max_connections_per_host, options.mapped_hosts)
        self._later: list[tuple[float, int, _Link]] = []
        self._tickets = itertools.count()
        self._ready: deque[_Link] = deque()
        self._robots_requests: dict[str, _Link] = {}
        self._held = 0
        self._free: deque[pycurl.Curl] = deque()
        self._active: dict[pycurl.Curl, _Link] = {}
        self._unread = 0
        self._unread_bytes = 0
        self._selector = selectors.DefaultSelector()
        self._timer: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * options.thread_count)

    def consumed(self, result: Fetched) -> None:
        """The reader has taken this result."""
        self._unread -= 1
        self._unread_bytes -= len(result.data)

    def run(self) -> None:
        """Fetch everything; an unexpected error is handed to the reader."""
        try:
            while not self.stopped and (self._more or self._active or self._later or self._ready):
                self._begin_some()
                self._move_bytes()
                self._end_some()
            self.results.put(None)
        except BaseException as error:  # noqa: BLE001  raised again by the reader
            self.results.put(error)
        finally:
            for handle in self._active:
                self._multi.remove_handle(handle)
            for handle in (*self._active, *self._free):
                handle.close()
            self._multi.close()
            self._selector.close()

    def _begin_some(self) -> None:
        room = self._options.thread_count
        now = time.monotonic()
        while self._ready:
            self._attempt(self._ready.popleft())
        while len(self._active) < room and self._later and self._later[0][0] <= now:
            self._attempt(heapq.heappop(self._later)[2])
        while self._more and len(self._active) + len(self._later) < room:
            waiting = self._slots.waiting + self._held
            if waiting >= 4 * room or self._unread >= room or self._unread_bytes >= _BUFFERED:
                return
            following = next(self._fresh, None)
            if following is None:
                self._more = False
                return
            self._take_up(_Link(*following))

    def _take_up(self, link: _Link) -> None:
        """A fresh link: refused at once, held until its site's robots.txt is known, or begun."""
        if fault := fault_of_url(link.url):
            self._put(link, NotKept("bad-url", fault))
            return
        link.host, link.site = str(urlsplit(link.url.strip()).hostname), site_of(link.url)
        rules = Rules() if self._options.ignore_robots else _robots_cache.get(link.site)
        if rules is not None:
            self._begin(link, rules)
            return
        link.deadline = Deadline.after(self._options.deadline)
        robots = self._robots_requests.get(link.site)
        if robots is None:
            robots = _Link(_ROBOTS, f"{link.site}/robots.txt", link.host, link.site)
            self._robots_requests[link.site] = robots
            self._attempt_in_turn(robots)
        robots.waiting.append(link)
        self._held += 1

    def _begin(self, link: _Link, rules: Rules) -> None:
        if problem := rules.refusal(link.url, self._options.agent):
            self._put(link, problem)
        else:
            self._attempt_in_turn(link)

    def _attempt_in_turn(self, link: _Link) -> None:
        if self._slots.take(link.host, link):
            self._attempt(link)

    def _attempt(self, link: _Link) -> None:
        link.deadline = link.deadline or Deadline.after(self._options.deadline)
        link.attempted = link.attempted or time.monotonic()
        link.tries += 1
        link.answer = Answer(self._policy, self._options)
        left = link.deadline.seconds_for_an_attempt(self._options.timeout)
        if left <= 0:
            self._settle(link, NotKept("timeout", "no time was left for it"))
            return
        handle = self._free.pop() if self._free else self._new_handle()
        try:
            handle.setopt(pycurl.URL, link.url.strip().encode("utf-8", "replace"))
        except (pycurl.error, ValueError) as error:
            self._free.append(handle)
            self._settle(link, NotKept("bad-url", str(error)))
            return
        handle.setopt(pycurl.FRESH_CONNECT, link.anew)
        handle.setopt(pycurl.TIMEOUT_MS, max(1, int(1000 * left)))
        link.answer.attach(handle)
        self._active[handle] = link
        self._multi.add_handle(handle)

    def _new_handle(self) -> pycurl.Curl:
        options, handle = self._options, pycurl.Curl()
        for option, value in (
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.FOLLOWLOCATION, 1),
            (pycurl.MAXREDIRS, options.max_redirects),
            (pycurl.MAXFILESIZE, options.max_bytes),
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROXY, options.proxy or ""),  # never one of the environment's, which would hide the address
            (pycurl.ACCEPT_ENCODING, "identity"),
            (pycurl.HTTPHEADER, ["Accept: image/*, */*;q=0.5"]),
            (pycurl.USERAGENT, options.user_agent),
            (pycurl.CAINFO, certifi.where()),
            (pycurl.BUFFERSIZE, 1 << 18),
            (pycurl.DNS_CACHE_TIMEOUT, 300),
        ):
            handle.setopt(option, value)
        if options.connect_to:
            handle.setopt(pycurl.CONNECT_TO, list(options.connect_to))
        return handle

    def _watch(self, event: int, descriptor: int, _multi: Any, _known: Any) -> None:
        """libcurl's callback: which events of a socket it has to be called for."""
        if event == pycurl.POLL_REMOVE:
            self._selector.unregister(descriptor)
            return
        wanted = selectors.EVENT_READ if event & pycurl.POLL_IN else 0
        wanted |= selectors.EVENT_WRITE if event & pycurl.POLL_OUT else 0
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, wanted)
        else:
            self._selector.register(descriptor, wanted)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl's callback: after which time it has to be called again, -1 for never."""
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _move_bytes(self) -> None:
        wait = 0.0 if self._ready else _LOOK_EVERY
        if self._timer is not None:
            wait = min(wait, max(0.0, self._timer - time.monotonic()))
        for key, events in self._selector.select(wait):
            happened = pycurl.CSELECT_IN if events & selectors.EVENT_READ else 0
            happened |= pycurl.CSELECT_OUT if events & selectors.EVENT_WRITE else 0
            self._multi.socket_action(key.fd, happened)
        if self._timer is not None and time.monotonic() >= self._timer:
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _end_some(self) -> None:
        left = 1
        while left:
            left, ended_well, ended_badly = self._multi.info_read()
            for handle in ended_well:
                self._end(handle, 0, "")
            for handle, error, message in ended_badly:
                self._end(handle, error, message)

    def _end(self, handle: pycurl.Curl, error: int, message: str) -> None:
        link = self._active.pop(handle)
        self._multi.remove_handle(handle)
        redirects = handle.getinfo(pycurl.REDIRECT_COUNT)
        reused = handle.getinfo(pycurl.NUM_CONNECTS) <= redirects
        self._free.append(handle)
        assert link.answer is not None
        if link.answer.fault:
            raise link.answer.fault
        problem = failure(link.answer, error, message, redirected=redirects > 0)
        if problem and problem.reason == "reset" and reused and not link.anew:
            link.anew = True  # the server closed a connection that it had kept alive; that is no failure of the link
            link.tries -= 1
            self._ready.append(link)
            return
        if problem and REASONS[problem.reason].transient and link.tries <= self._options.retries:
            wait = max(_FIRST_WAIT * 2 ** (link.tries - 1), retry_after(link.answer.headers))
            if link.deadline is None or link.deadline.allows_a_wait_of(wait):
                heapq.heappush(self._later, (time.monotonic() + wait, next(self._tickets), link))
                return
        self._settle(link, problem)

    def _settle(self, link: _Link, problem: NotKept | None) -> None:
        """A link that had a slot has ended."""
        following = self._slots.free(link.host)
        if link.index == _ROBOTS:
            self._settle_robots(link, problem)
        else:
            self._put(link, problem)
        if following:
            self._ready.append(following)

    def _settle_robots(self, robots: _Link, problem: NotKept | None) -> None:
        assert robots.answer is not None
        rules = Rules.of_answer(robots.answer.status, robots.answer.body.getvalue(), problem)
        _robots_cache.put(robots.site, rules)
        del self._robots_requests[robots.site]
        self._held -= len(robots.waiting)
        for link in robots.waiting:
            self._begin(link, rules)

    def _put(self, link: _Link, problem: NotKept | None) -> None:
        data = b"" if problem or link.answer is None else link.answer.body.getvalue()
        self._unread += 1
        self._unread_bytes += len(data)
        seconds = time.monotonic() - link.attempted if link.attempted else 0.0
        self.results.put(Fetched(link.index, data, problem, seconds))
