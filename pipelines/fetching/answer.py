"""What comes back for one link: libcurl calls in here with headers and bytes, and asks before it opens a socket."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import pycurl

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import opts_out

T = TypeVar("T")

_ERROR_PAGE = 1 << 14
"""Bytes of an error's page that are read, so that its connection can serve the next link."""


class Answer:
    """The answer to one attempt, as far as it has come."""

    def __init__(self, policy: AddressPolicy, options: FetchOptions) -> None:
        self._policy = policy
        self._options = options
        self.body = io.BytesIO()
        self.status = 0
        self.headers: dict[str, list[str]] = {}
        """Of the last answer, after redirects; names in lower case, a value for each time it was sent."""
        self.forbidden = ""
        """The address that a socket was refused to, if one was."""
        self.too_large = False
        self.opted_out = False
        self.connected = False
        """Whether a connection was opened for it."""
        self.fault: Exception | None = None
        """What went wrong in here: libcurl would only print it, so it is kept for who reads the answer."""

    @property
    def size(self) -> int:
        """Bytes of the body so far."""
        return self.body.tell()

    def attach(self, handle: pycurl.Curl) -> None:
        """Have the handle's next transfer answered here."""
        handle.setopt(pycurl.WRITEFUNCTION, self._kept(self._write, 0))
        handle.setopt(pycurl.HEADERFUNCTION, self._kept(self._header, 0))
        handle.setopt(pycurl.OPENSOCKETFUNCTION, self._kept(self._open_socket, pycurl.SOCKET_BAD))

    def _kept(self, function: Callable[..., T], otherwise: T) -> Callable[..., T]:
        def call(*arguments: Any) -> T:
            try:
                return function(*arguments)
            except Exception as error:  # noqa: BLE001  raised again by the loop
                self.fault = error
                return otherwise

        return call

    def _write(self, data: bytes) -> int:
        size = self.size + len(data)
        if not self.size and self.status < 300:
            tags = self.headers.get("x-robots-tag", ())
            disallowed = self._options.disallowed_header_directives
            self.opted_out = bool(tags) and opts_out(tags, self._options.agent, disallowed)
        self.too_large = self.status < 300 and size > self._options.max_bytes
        if self.opted_out or self.too_large or (self.status >= 300 and size > _ERROR_PAGE):
            return 0
        return self.body.write(data)

    def _header(self, line: bytes) -> int:
        if line.startswith(b"HTTP/"):  # another answer, after a redirect or a 100
            self.headers.clear()
            status = line.split(maxsplit=2)[1:2]
            self.status = int(status[0]) if status and status[0].isdigit() else 0
        else:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                self.headers.setdefault(name.strip().lower(), []).append(value.strip())
        return len(line)

    def _open_socket(self, _purpose: int, target: Any) -> Any:
        family, kind, protocol, address = target
        if not self._policy.allows(str(address[0]), int(address[1])):
            self.forbidden = str(address[0])
            return pycurl.SOCKET_BAD
        self.connected = True
        return socket.socket(family, kind, protocol)
