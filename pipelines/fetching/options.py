"""How links are fetched."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pipelines.fetching.addresses import AddressPolicy
from schemas.options import no_change_of_bytes, words_of

Downloader = Literal["builtin", "img2dataset"]
AGENT = "dalle-pipelines"


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How links are fetched."""

    thread_count: int = no_change_of_bytes(default=256)
    """Links that each worker process fetches at once, 1 or more."""
    timeout: float = no_change_of_bytes(default=10.0)
    """Seconds of wall-clock time that an attempt may take, redirects and a slowly sent body included; above 0."""
    retries: int = no_change_of_bytes(default=1)
    """Further attempts after a failure that may pass (name lookup, time-out, broken connection, HTTP 429 or 5xx), 0 or
    more. The first comes after 0.5 seconds, each further one after twice as long, or as the server's Retry-After
    says."""
    max_redirects: int = no_change_of_bytes(default=5)
    """Redirects that an attempt follows at most, 0 or more."""
    max_connections_per_host: int = no_change_of_bytes(default=64)
    """Links of one host that each worker process fetches at once, 1 or more. Addresses of this machine and its network
    have no such limit."""
    max_bytes: int = 32 << 20
    """Bytes that a fetched picture may have, 1 or more; a larger one is not read to its end and fails as too-large."""
    allow_private_hosts: tuple[str, ...] | None = no_change_of_bytes(default=None)
    """Private, loopback and link-local addresses that are fetched from as well: all of them if the flag stands alone,
    or only these hosts, host:port pairs, ports or networks (10.0.0.0/8). By default none is."""
    user_agent_token: str | None = no_change_of_bytes(default=None)
    """Name by which robots.txt and X-Robots-Tag may address this collector, of letters, digits, - and _; it is sent in
    the user agent before dalle-pipelines, which is the name by default."""
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives that opt a picture out; none does if the flag stands alone."""
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
        for name in ("thread_count", "timeout", "max_bytes", "max_connections_per_host"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} {getattr(self, name)}: expected more than 0")
        for name in ("retries", "max_redirects"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} {getattr(self, name)}: expected 0 or more")
        for entry in self.connect_to:
            if entry.count(":") != 3 or not entry.rsplit(":", 1)[1].isdigit():
                raise ValueError(f"--connect_to {entry}: expected HOST:PORT:ADDRESS:PORT")
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
        """Seconds after which a link that was begun has ended, attempts and waits together."""
        return self.timeout * (1 + self.retries)

    @property
    def agent(self) -> str:
        """The name by which robots.txt and X-Robots-Tag address this collector."""
        return self.user_agent_token or AGENT

    @property
    def user_agent(self) -> str:
        """What is sent as User-Agent: the collector's own name, never a browser's."""
        token = f"{self.user_agent_token} " if self.user_agent_token else ""
        return f"{token}{AGENT}/0.1 (image-caption collector; honours robots.txt and X-Robots-Tag)"

    @property
    def mapped_hosts(self) -> frozenset[str]:
        """Hosts that --connect_to sends elsewhere."""
        return frozenset(entry.split(":")[0].lower() for entry in self.connect_to)

    def address_policy(self) -> AddressPolicy:
        """Which addresses may be connected to."""
        policy = AddressPolicy.parse(self.allow_private_hosts)
        targets = [entry.split(":")[2:] for entry in self.connect_to]
        endpoints = [(host, int(port)) for host, port in targets]
        if self.proxy is not None:
            parts = urlsplit(self.proxy)
            port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 1080)
            infos = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
            endpoints += [(str(info[4][0]), port) for info in infos]
        return policy.with_endpoints(endpoints)
