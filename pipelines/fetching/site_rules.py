"""The gate of robots.txt: links of a site wait here while its rules are asked for, once for all of them."""

from __future__ import annotations

from pipelines.fetching.content_encoding import BadEncoding, decoded_start
from pipelines.fetching.deadlines import Clock
from pipelines.fetching.links import ROBOTS, Link
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import LONGEST, RobotsCache, Rules
from pipelines.fetching.urls import Target
from schemas.reasons import NotKept

_ALL_IS_ALLOWED = Rules()


class SiteRules:
    """Of one loop.

    Args:
        options: how links are fetched.
        cache: what the process knows of sites.
    """

    def __init__(self, options: FetchOptions, cache: RobotsCache) -> None:
        self._options = options
        self._agents = options.agents
        self._cache = cache
        self._requests: dict[str, Link] = {}
        self.waiting = 0
        """Links that wait for a robots.txt."""

    def of(self, link: Link, now: float) -> Rules | None:
        """What applies to the link; None if that has to be asked for."""
        if link.is_robots or self._options.ignore_robots:
            return _ALL_IS_ALLOWED
        return self._cache.get(link.target.site, self._agents, now)

    def hold(self, link: Link) -> Link | None:
        """Have the link wait; gives the link to the robots.txt if that is to be sent now."""
        site = link.target.site
        self.waiting += 1
        robots = self._requests.get(site)
        if robots is not None:
            robots.waiting.append(link)
            return None
        target = Target.of(f"{site}/robots.txt")
        clock = Clock(self._options.deadline, self._options.timeout)
        robots = self._requests[site] = Link(ROBOTS, target, target, clock, waiting=[link])
        return robots

    def learn(self, robots: Link, problem: NotKept | None, now: float) -> Rules:
        """What the site said, or that it could not be had, in the end; `robots.waiting` wait no longer."""
        answer, site = robots.answer, robots.first.site
        status, body = (0, b"") if answer is None else (answer.status, answer.body.getvalue())
        if problem is None and answer is not None:
            try:
                body = decoded_start(body, answer.headers.get("content-encoding", ()), LONGEST)
            except BadEncoding as error:
                problem = NotKept("bad-response", str(error))
        rules = Rules.of_answer(status, body, problem, self._agents)
        self._cache.put(site, self._agents, rules, now)
        del self._requests[site]
        self.waiting -= len(robots.waiting)
        return rules
