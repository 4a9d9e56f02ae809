"""How links are fetched."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import urlsplit

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.robots import AGENT
from pipelines.fetching.urls import host_name
from schemas.options import no_change_of_bytes, words_of
from schemas.ranges import Above, Between, check_ranges

Downloader = Literal["builtin", "img2dataset"]


_LEAST_MEMORY = 512 << 20
_USUAL_MEMORY = 1 << 30
_RANGES = {
    "thread_count": Between(1, 1 << 16),
    "timeout": Above(0, 86_400),
    "retries": Between(0, 100),
    "max_redirects": Between(0, 100),
    "max_connections_per_host": Between(1, 1 << 16),
    "max_bytes": Between(1, 1 << 40),
    "memory_limit": Between(0, 1 << 50),
}


@dataclass(frozen=True)
class Mapped:
    """An entry of --connect_to."""

    host: str
    """As `Target` spells it; empty for all."""
    port: str
    """Empty for all."""
    address: str
    """Numeric."""
    at: int
    """The port that is connected to."""

    @classmethod
    def of(cls, entry: str) -> Self:
        """Understand it.

        Raises:
            ValueError: if it is not of this form.
        """
        try:
            host, port, address, at = entry.split(":")
            ipaddress.ip_address(address)
            return cls(host and host_name(host), port and str(int(port)), address, int(at))
        except ValueError:
            raise ValueError(f"--connect_to {entry}: expected HOST:PORT:ADDRESS:PORT with a numeric address") from None

    def is_for(self, host: str, port: int) -> bool:
        """Whether it says where such links go."""
        return self.host in ("", host) and self.port in ("", str(port))


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How links are fetched."""

    thread_count: int = no_change_of_bytes(default=256)
    """Links that each worker process has open at once, 1 to 65,536; fewer where the limit of open files (ulimit -n)
    has no room for them."""
    timeout: float = no_change_of_bytes(default=10.0)
    """Seconds of wall-clock time that an attempt may take, redirects and a slowly sent body included; above 0, at most
    86,400. Waiting for a slot of the host or for robots.txt does not count."""
    retries: int = no_change_of_bytes(default=1)
    """Further attempts after a failure that may pass (name lookup, time-out, broken connection, HTTP 429 or 5xx), 0 to
    100. The first comes after 0.5 seconds, each further one after twice as long, or as the server's Retry-After
    says."""
    max_redirects: int = no_change_of_bytes(default=5)
    """Redirects that an attempt follows at most, 0 to 100."""
    max_connections_per_host: int = no_change_of_bytes(default=64)
    """Links of one host that each worker process fetches at once, 1 to 65,536. Addresses of this machine and its
    network have no such limit."""
    max_bytes: int = 32 << 20
    """Bytes that a fetched picture may have, 1 to 2^40; a larger one is not read to its end and fails as too-large."""
    memory_limit: int = no_change_of_bytes(default=0)
    """Bytes of memory that a worker process keeps below, at least 512 MiB and 16 times --max_bytes, at most 2^50; 0 is
    1 GiB, or what --max_bytes needs. A quarter is for fetched bytes, those being received and those waiting to be
    decoded: links pause when it is full."""
    allow_private_hosts: tuple[str, ...] | None = no_change_of_bytes(default=None)
    """Private, loopback and link-local addresses that are fetched from as well: all of them if the flag stands alone,
    or only these hosts, host:port pairs, ports or networks (10.0.0.0/8). By default none is."""
    user_agent_token: str | None = no_change_of_bytes(default=None)
    """Name by which robots.txt and X-Robots-Tag may address this collector, of letters, digits, - and _; it is sent in
    the user agent before dalle-pipelines, which is the name by default and by which they may address it still."""
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives that opt a picture out; none does if the flag stands alone. The directive `none` counts
    where noindex or nofollow does."""
    ignore_robots: bool = False
    """Fetch also what robots.txt does not allow. By default such links fail as robots-txt."""
    proxy: str | None = no_change_of_bytes(default=None)
    """URL of a proxy for all links (http://, https://, socks5:// or socks5h://), which then decides which addresses are
    connected to. By default there is none; proxy variables of the environment are ignored."""
    connect_to: tuple[str, ...] = no_change_of_bytes(default=())
    """Addresses that are connected to in place of a host's own, HOST:PORT:ADDRESS:PORT each, as for curl
    --connect-to."""
    downloader: Downloader = "builtin"
    """What fetches the links. builtin has all that is said here; img2dataset is that package's own downloader, which
    keeps to no address limits and therefore needs --allow_private_hosts standing alone."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        words = words_of("--disallowed_header_directives", self.disallowed_header_directives)
        object.__setattr__(self, "disallowed_header_directives", tuple(word.lower() for word in words))
        check_ranges(self, _RANGES)
        if self.memory_limit and self.memory_limit < self._least_memory:
            raise ValueError(
                f"--memory_limit {self.memory_limit}: expected {self._least_memory} or more (512 MiB, and 16 times "
                f"--max_bytes {self.max_bytes}), or 0"
            )
        for entry in self.connect_to:
            Mapped.of(entry)
        if self.proxy is not None and (
            not urlsplit(self.proxy).hostname
            or urlsplit(self.proxy).scheme not in ("http", "https", "socks5", "socks5h")
        ):
            raise ValueError(f"--proxy {self.proxy}: expected a URL such as http://proxy.example:3128")
        if self.user_agent_token is not None and not self.user_agent_token.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"--user_agent_token {self.user_agent_token}: expected letters, digits, - and _")
        if self.downloader == "img2dataset" and self.allow_private_hosts != ():
            raise ValueError(
                "--downloader img2dataset: fetches from any address, this machine's and its network's too; give "
                "--allow_private_hosts to say that this is wanted"
            )
        AddressPolicy.parse(self.allow_private_hosts)

    @property
    def deadline(self) -> float:
        """Seconds after which a link has ended once it was sent, attempts and the waits between them together."""
        return self.timeout * (1 + self.retries)

    @property
    def _least_memory(self) -> int:
        return max(_LEAST_MEMORY, 16 * self.max_bytes)

    @property
    def worker_memory(self) -> int:
        """Bytes of memory that a worker process keeps below."""
        return self.memory_limit or max(_USUAL_MEMORY, self._least_memory)

    @property
    def bytes_held(self) -> int:
        """Fetched bytes that lie in a worker's memory at most."""
        return self.worker_memory // 4

    @property
    def agents(self) -> tuple[str, ...]:
        """The names by which robots.txt and X-Robots-Tag address this collector, in lower case."""
        token = (self.user_agent_token or AGENT).lower()
        return (token,) if token == AGENT else (token, AGENT)

    @property
    def user_agent(self) -> str:
        """What is sent as User-Agent: the collector's own name, never a browser's."""
        token = f"{self.user_agent_token} " if self.user_agent_token else ""
        return f"{token}{AGENT}/0.1 (image-caption collector; honours robots.txt and X-Robots-Tag)"

    @property
    def mapped(self) -> tuple[Mapped, ...]:
        """The entries of --connect_to."""
        return tuple(map(Mapped.of, self.connect_to))

    @property
    def mapped_hosts(self) -> frozenset[str]:
        """Hosts that --connect_to sends elsewhere, as `Target` spells them."""
        return frozenset(mapped.host for mapped in self.mapped)

    def address_policy(self) -> AddressPolicy:
        """Which addresses may be connected to."""
        policy = AddressPolicy.parse(self.allow_private_hosts)
        endpoints = [(mapped.address, mapped.at) for mapped in self.mapped]
        if self.proxy is not None:
            parts = urlsplit(self.proxy)
            port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 1080)
            infos = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
            endpoints += [(str(info[4][0]), port) for info in infos]
        return policy.with_endpoints(endpoints)
