"""The links of one loop that wait for their hosts' addresses."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.inbox import Inbox
from pipelines.fetching.links import Link
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.resolving import Lookup, Resolver
from pipelines.fetching.urls import Target
from schemas.reasons import NotKept


class Lookups:
    """Asks the resolver of the process for the links of one loop.

    Args:
        options: how links are fetched.
        policy: which addresses may be connected to.
        resolver: looks up names.
        inbox: told when a look-up has begun or is done.
    """

    def __init__(self, options: FetchOptions, policy: AddressPolicy, resolver: Resolver, inbox: Inbox[Lookup]) -> None:
        self._mapped = options.mapped
        self._proxied = options.proxy is not None
        self._for_the_proxy = self._proxied and urlsplit(options.proxy or "").scheme != "socks5"
        """Whether names are given to the proxy as they are."""
        self._policy = policy
        self._resolver = resolver
        self._inbox = inbox
        self._waiting: dict[str, tuple[Lookup, list[Link]]] = {}

    def needs_one(self, target: Target) -> bool:
        """Whether the target's host has to be looked up before it can be connected to."""
        return not (
            target.numeric
            or self._for_the_proxy
            or any(mapped.is_for(target.host, target.port) for mapped in self._mapped)
        )

    def ask(self, link: Link) -> Lookup:
        """Look up a link's host; if that is not done at once, `news` gives the link later."""
        host = link.target.host
        lookup, links = self._waiting.get(host) or (self._resolver.ask(host, self._inbox.put), [])
        if not lookup.done:
            links.append(link)
            self._waiting[host] = lookup, links
        return lookup

    def news(self) -> Iterator[tuple[Link, Lookup]]:
        """Links of which the look-up has begun or is done."""
        for lookup in self._inbox.take():
            _, links = self._waiting.get(lookup.host, (lookup, []))
            if lookup.done:
                self._waiting.pop(lookup.host, None)
            for link in list(links):
                yield link, lookup

    def leave(self, link: Link) -> bool:
        """The link waits no longer; gives whether it did."""
        _, links = self._waiting.get(link.target.host, (None, []))
        if link not in links:
            return False
        links.remove(link)
        return True

    def usable(self, target: Target, lookup: Lookup) -> tuple[str, ...] | NotKept:
        """The addresses that may be connected to, or why there are none."""
        if not lookup.addresses:
            return NotKept("dns", f"Could not resolve host: {target.host}")
        if self._proxied:
            return lookup.addresses
        allowed = tuple(address for address in lookup.addresses if self._policy.allows(address, target.port))
        return allowed or NotKept("forbidden-address", f"{lookup.addresses[0]} is not a public address")
