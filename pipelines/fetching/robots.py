"""What sites allow: robots.txt, asked for once a site, and the X-Robots-Tag header of an answer.

robots.txt is read as RFC 9309 says: a missing one (4xx) allows everything; one that cannot be had (5xx, no connection)
allows nothing for now, so links of such a site fail for the same reason as its robots.txt did.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from protego import Protego

from schemas.reasons import NotKept

LONGEST = 500 << 10
"""Bytes of a robots.txt that count (RFC 9309, section 2.5)."""
_REMEMBERED = 50_000


@dataclass(frozen=True)
class Rules:
    """What a site's robots.txt says, or why it could not be had."""

    rules: Protego | None = None
    problem: NotKept | None = None

    def refusal(self, url: str, agent: str) -> NotKept | None:
        """Why the link may not be fetched, if it may not."""
        if self.problem:
            return self.problem
        if self.rules is None or self.rules.can_fetch(url, agent):
            return None
        return NotKept("robots-txt", f"robots.txt does not allow {agent} to fetch it")

    @classmethod
    def of_answer(cls, status: int, body: bytes, problem: NotKept | None) -> Rules:
        """From the answer to a request for robots.txt."""
        if problem is None:
            return cls(Protego.parse(body[:LONGEST].decode("utf-8", "replace")))
        if 400 <= status < 500 or problem.reason in ("empty", "too-large", "redirects", "opted-out"):
            return cls()
        return cls(problem=NotKept(problem.reason, f"robots.txt: {problem.message}"))


class RobotsCache:
    """Rules by site, the least recently used forgotten first; lives as long as the worker process."""

    def __init__(self) -> None:
        self._rules: OrderedDict[str, Rules] = OrderedDict()

    def get(self, site: str) -> Rules | None:
        """The rules of a site, or None if they are not known."""
        rules = self._rules.get(site)
        if rules:
            self._rules.move_to_end(site)
        return rules

    def put(self, site: str, rules: Rules) -> None:
        """Remember a site's rules."""
        self._rules[site] = rules
        if len(self._rules) > _REMEMBERED:
            self._rules.popitem(last=False)


def site_of(url: str) -> str:
    """What one robots.txt answers for: scheme, host and port."""
    parts = urlsplit(url.strip())
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"


def opts_out(tags: Sequence[str], agent: str, disallowed: Collection[str]) -> bool:
    """Whether X-Robots-Tag headers tell us not to use the picture, as img2dataset reads them.

    Args:
        tags: the header's values, one for each time it was sent: `noai, noindex` or `agent: noai`.
        agent: our name.
        disallowed: the directives that count.
    """
    for tag in tags:
        name, colon, rest = tag.partition(":")
        if colon and name.strip().lower() not in (agent.lower(), "*"):
            continue
        directives = (rest if colon else tag).lower().split(",")
        if any(directive.strip() in disallowed for directive in directives):
            return True
    return False
