"""What sites allow: robots.txt, asked for once a site, and the X-Robots-Tag header of an answer.

robots.txt is read as RFC 9309 says: its first 500 KiB; a missing one (4xx) allows everything; one that cannot be had
(5xx, no connection, and 429 or 408, which say "not now") allows nothing for now, so links of such a site fail for the
same reason as its robots.txt did, until it is asked for again.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from protego import Protego

from pipelines.fetching.bounded_cache import BoundedCache
from pipelines.fetching.urls import Target
from schemas.reasons import REASONS, NotKept

LONGEST = 500 << 10
"""Bytes of a robots.txt that count (RFC 9309, section 2.5)."""
AGENT = "dalle-pipelines"
"""The name by which sites address this collector."""

_READ_AGAIN = 24 * 3600.0
"""Seconds for which an answer holds (RFC 9309, section 2.4)."""
_FIRST_FAILURE = 1.0
_LONGEST_FAILURE = 900.0
"""Seconds for which a failure holds: the first one, doubled by each that follows on it, at most."""
_REMEMBERED = 32 << 20
"""Bytes of rules that a worker remembers."""
_PARSED = 96 << 20
"""Bytes that rules take which it has parsed; the largest file there may be fits in."""

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_AGENT_LINE = re.compile(r"user[- ]?agent\s*(?:[:\s]\s*(.*)|$)", re.IGNORECASE)
_RULE_LINE = re.compile(
    r"(?:(allow)|disallow|dissallow|dissalow|disalow|diasllow|disallaw)\s*(?:[:\s]\s*(.*)|$)", re.IGNORECASE
)
"""The only lines that end a list of agents (RFC 9309, section 2.2.4), with the misspellings that Protego knows."""
_PRODUCT = re.compile(r"[^/\s;]*")
_NAME = re.compile(r"[A-Za-z0-9_-]+|\*")
_WITH_VALUES = ("max-image-preview", "max-snippet", "max-video-preview", "unavailable_after")
"""X-Robots-Tag directives whose colon is no agent's."""
_NONE = frozenset(["noindex", "nofollow"])
"""What the X-Robots-Tag directive `none` stands for."""

_parsed: BoundedCache[str, Protego] = BoundedCache(_PARSED)


@dataclass(frozen=True)
class Rules:
    """What a site's robots.txt says, or why it could not be had."""

    text: str = ""
    """The groups of it that are about us or about everybody."""
    problem: NotKept | None = None

    def refusal(self, url: str, *agents: str) -> NotKept | None:
        """Why the link may not be fetched, if it may not: what is forbidden to one of our names is."""
        if self.problem:
            return self.problem
        if not self.text:
            return None
        parsed = _parse(self.text)
        for agent in agents:
            if not parsed.can_fetch(url, agent):
                return NotKept("robots-txt", f"robots.txt does not allow {agent} to fetch it")
        return None

    @classmethod
    def of_answer(cls, status: int, body: bytes, problem: NotKept | None, agents: Sequence[str] = (AGENT,)) -> Rules:
        """From the answer to a request for robots.txt."""
        if problem is None:
            return cls("\n".join(_relevant(_text(body[:LONGEST]), agents)))
        if problem.reason in ("empty", "too-large", "redirects"):
            return cls()
        if 400 <= status < 500 and not REASONS[problem.reason].transient:
            return cls()
        return cls(problem=NotKept(problem.reason, f"robots.txt: {problem.message}"))


def _text(body: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    return body.decode("utf-8", "replace")


def _relevant(text: str, agents: Sequence[str]) -> Iterator[str]:
    """The groups of these agents and of `*`, of lines that name an agent, allow or disallow.

    Others' groups would only cost: a file of many agents over many rules takes their product in memory and time. Lines
    of other kinds would end the list of a group's agents for Protego, and what follows would hold for none of them.
    """
    ours = {agent.lower(): agent for agent in (*agents, "*")}
    named: list[str] = []
    in_rules = False
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        agent_line = _AGENT_LINE.fullmatch(line)
        if agent_line:
            if in_rules:
                named, in_rules = [], False
            product = _PRODUCT.match(agent_line[1] or "")[0].lower()  # type: ignore[index]
            product = product if product == "*" else product.replace("*", "")
            if product in ours and ours[product] not in named:
                named.append(ours[product])
            continue
        rule = _RULE_LINE.fullmatch(line)
        if rule is None:
            continue
        if not in_rules:
            yield from (f"User-agent: {name}" for name in named)
            in_rules = True
        if named:
            yield f"{'Allow' if rule[1] else 'Disallow'}: {rule[2] or ''}"
    if not in_rules:  # a group without a rule forbids nothing to its agents, whatever `*` says
        yield from (f"User-agent: {name}" for name in named)


def _parse(text: str) -> Protego:
    parsed = _parsed.get(text)
    if parsed is None:
        parsed = Protego.parse(text)
        _parsed.put(text, parsed, 4000 + 1600 * (1 + text.count("\n")) + 10 * len(text))  # measured: less than that
    return parsed


@dataclass(frozen=True)
class _Remembered:
    rules: Rules
    until: float
    """A value of `time.monotonic` at which it is asked for again."""
    failure: float = 0.0
    """Seconds for which this failure holds."""


class RobotsCache:
    """Rules by site; lives as long as the worker process."""

    def __init__(self) -> None:
        self._rules: BoundedCache[tuple[str, tuple[str, ...]], _Remembered] = BoundedCache(_REMEMBERED)

    def get(self, site: str, agents: tuple[str, ...], now: float) -> Rules | None:
        """The rules of a site for these names, or None if they are not known, or not any more."""
        remembered = self._rules.get((site, agents))
        return remembered.rules if remembered and now < remembered.until else None

    def put(self, site: str, agents: tuple[str, ...], rules: Rules, now: float) -> None:
        """Remember what a site said, or for a while that it could not be had."""
        failure = 0.0
        if rules.problem:
            before = self._rules.get((site, agents))
            failure = min(_LONGEST_FAILURE, max(_FIRST_FAILURE, 2 * before.failure if before else 0.0))
        remembered = _Remembered(rules, now + (failure or _READ_AGAIN), failure)
        words = rules.problem.message or "" if rules.problem else rules.text
        self._rules.put((site, agents), remembered, 500 + len(site) + len(words) * (1 if words.isascii() else 4))


def site_of(url: str) -> str:
    """What one robots.txt answers for: scheme, host and port.

    Raises:
        ValueError: if it is no web address.
    """
    return Target.of(url).site


def opts_out(tags: Sequence[str], agents: Collection[str], disallowed: Collection[str]) -> bool:
    """Whether X-Robots-Tag headers tell us not to use the picture.

    Args:
        tags: the header's values, one for each time it was sent: `noai, noindex`, or `agent: noai, noindex`, where the
            agent's name counts for what follows it.
        agents: our names, in lower case.
        disallowed: the directives that count.
    """
    counting = that_count(disallowed)
    for tag in tags:
        is_for_us = True
        for part in tag.lower().split(","):
            directive = part.strip()
            name, colon, rest = (word.strip() for word in directive.partition(":"))
            if colon and name not in _WITH_VALUES and _NAME.fullmatch(name):
                is_for_us = name == "*" or name in agents
                directive = rest
            if is_for_us and directive in counting:
                return True
    return False


def that_count(disallowed: Collection[str]) -> frozenset[str]:
    """X-Robots-Tag directives, with `none` where one of those counts that it stands for."""
    return frozenset(disallowed) | ({"none"} if _NONE.intersection(disallowed) else set())
