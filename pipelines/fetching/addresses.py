"""Which network addresses a list of links may lead to.

A list comes from strangers. Without this guard a link, a redirect or a name server could make the job fetch from the
machine's own services or a cloud's metadata server. The check is made on the address a socket is about to be opened
to, after resolution and for every redirect, so that no spelling of a host and no second resolution gets around it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from pipelines.fetching.special_blocks import Address, ipv4_of, is_public

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses may be connected to: all public ones, and what was allowed by name."""

    all_private: bool = False
    networks: frozenset[Network] = frozenset()
    ports: frozenset[int] = frozenset()
    endpoints: frozenset[tuple[Address, int]] = field(default_factory=frozenset)

    @classmethod
    def parse(cls, allowed: Iterable[str] | None) -> Self:
        """Understand `--allow_private_hosts`: None is none, nothing is all, else hosts, host:port, ports, networks.

        Raises:
            ValueError: if one of them is none of these.
        """
        if allowed is None:
            return cls()
        allowed = list(allowed)
        if not allowed:
            return cls(all_private=True)
        networks, ports, endpoints = set[Network](), set[int](), set[tuple[Address, int]]()
        for entry in allowed:
            host, _, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
            if entry.removeprefix(":").isdecimal():
                ports.add(_port(entry.removeprefix(":"), entry))
            elif port:
                endpoints |= {(address, _port(port, entry)) for address in _resolve(host, entry)}
            else:
                networks |= _networks(entry)
        return cls(networks=frozenset(networks), ports=frozenset(ports), endpoints=frozenset(endpoints))

    def with_endpoints(self, endpoints: Iterable[tuple[str, int]]) -> AddressPolicy:
        """The same, and these addresses at these ports."""
        more = {(ipaddress.ip_address(a), p) for a, p in endpoints}
        return AddressPolicy(self.all_private, self.networks, self.ports, self.endpoints | more)

    def allows(self, host: str, port: int) -> bool:
        """Whether a socket may be opened to this numeric address."""
        address = ipaddress.ip_address(host.partition("%")[0])
        if is_public(address) or self.all_private:
            return True
        return any(
            (form, port) in self.endpoints or port in self.ports or any(form in network for network in self.networks)
            for form in _forms(address)
        )


def _forms(address: Address) -> list[Address]:
    """The address as it is, and the one that it is another spelling of."""
    ipv4 = ipv4_of(address) if isinstance(address, ipaddress.IPv6Address) else None
    return [address] if ipv4 is None else [address, ipv4]


def _networks(entry: str) -> set[Network]:
    try:
        return {ipaddress.ip_network(entry.strip("[]"), strict=False)}
    except ValueError:
        return {ipaddress.ip_network(address) for address in _resolve(entry, entry)}


def _resolve(host: str, entry: str) -> set[Address]:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ValueError(
            f"--allow_private_hosts {entry}: not a host with an address, host:port, port or network (10.0.0.0/8)"
        ) from None
    return {ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos}


def _port(text: str, entry: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"--allow_private_hosts {entry}: '{text}' is not a port (1 to 65535)")
    return int(text)
