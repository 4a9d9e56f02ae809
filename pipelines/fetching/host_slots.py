"""How many links of one host are fetched at once; the others wait their turn."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict, deque
from collections.abc import Collection
from typing import Generic, TypeVar

from pipelines.fetching.special_blocks import is_public

Link = TypeVar("Link")


class HostSlots(Generic[Link]):
    """Gives each host `most` slots; this machine and its network have no limit, nor has a host of `unlimited`."""

    def __init__(self, most: int, unlimited: Collection[str] = ()) -> None:
        self._most = most
        self._unlimited = frozenset(unlimited)
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[Link]] = defaultdict(deque)
        self.waiting = 0
        """Links that wait for a slot."""

    def take(self, host: str, link: Link) -> bool:
        """Take a slot for the link, or have it wait until `free` gives it out."""
        if self._taken[host] < self._most or not has_limit(host, self._unlimited):
            self._taken[host] += 1
            return True
        self._waiting[host].append(link)
        self.waiting += 1
        return False

    def free(self, host: str) -> Link | None:
        """A link has ended: the one whose turn it is, which has the slot now."""
        if self._waiting.get(host):
            self.waiting -= 1
            return self._waiting[host].popleft()
        self._taken[host] -= 1
        if not self._taken[host]:
            del self._taken[host]
            self._waiting.pop(host, None)
        return None


def has_limit(host: str, unlimited: Collection[str] = ()) -> bool:
    """Whether the number of a host's links in flight is limited; it is not for this machine and its network.

    Args:
        host: a name or a numeric address.
        unlimited: further hosts without a limit.
    """
    if host in unlimited or host == "localhost":
        return False
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return True
