"""What comes back for one request: libcurl calls in here with headers and bytes, and asks before it opens a socket."""

from __future__ import annotations

import errno
import io
import re
import socket
from typing import Any

import pycurl

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.memory import Allowance
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import LONGEST, opts_out

_ERROR_PAGE = 1 << 14
"""Bytes of an error's page that are read, so that its connection can serve the next link."""

_HEAD = 1 << 15
"""Bytes of headers that are kept at most."""

_READ = frozenset(
    (b"content-encoding", b"content-length", b"content-range", b"location", b"retry-after", b"x-robots-tag")
)
"""Headers that anybody here reads; the others would only take memory."""

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)")


class Answer:
    """The answer to one request, as far as it has come.

    Args:
        policy: which addresses may be connected to.
        options: how links are fetched.
        allowance: how many bytes may lie in memory.
        is_robots: whether a robots.txt is asked for, of which only the beginning is wanted.
        highest: the highest number that the file of a new connection may have.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        options: FetchOptions,
        allowance: Allowance[Answer] | None = None,
        *,
        is_robots: bool = False,
        highest: int | None = None,
    ) -> None:
        self._policy = policy
        self._options = options
        self._allowance: Allowance[Answer] = allowance or Allowance(options.bytes_held, options.thread_count)
        self._highest = highest
        self.is_robots = is_robots
        self.body = io.BytesIO()
        self.size = 0
        """Bytes of the body so far."""
        self._announced = 0
        self._beside = 0
        """Bytes of an error's page or of a redirect's, which are not kept."""
        self._head = 0
        """Bytes of the headers that are read."""
        self.status = 0
        """Of the last answer, after 100 and its like; 0 if its first line has none that HTTP knows."""
        self.headers: dict[str, list[str]] = {}
        """Those that are read; names in lower case, a value for each time it was sent."""
        self.forbidden = ""
        """The address that a socket was refused to, if one was."""
        self.too_large = False
        self.opted_out = False
        self.cut = False
        """Whether it was ended because what came is all that is wanted."""
        self.connected = False
        """Whether a connection was opened for it."""
        self.shortage: OSError | None = None
        """What this machine was short of as a connection was to be opened."""
        self.fault: Exception | None = None
        """What went wrong in here: libcurl would only print it, so it is kept for who reads the answer."""

    @property
    def missing(self) -> int:
        """Bytes that are still to come: as many as were announced, or as came already."""
        return max(0, self._announced - self.size) if self._announced else self.size

    def write(self, data: bytes) -> int:
        """libcurl's callback for bytes of the body; anything but their number stops the transfer."""
        try:
            return self._write(data)
        except Exception as error:  # noqa: BLE001  told of by the loop
            self.fault = error
            return 0

    def header(self, line: bytes) -> int:
        """libcurl's callback for a line of the head."""
        try:
            return self._header(line)
        except Exception as error:  # noqa: BLE001  told of by the loop
            self.fault = error
            return 0

    def open_socket(self, purpose: int, target: Any) -> Any:
        """libcurl's callback for a new connection."""
        try:
            return self._open_socket(purpose, target)
        except Exception as error:  # noqa: BLE001  told of by the loop
            self.fault = error
            return pycurl.SOCKET_BAD

    def _write(self, data: bytes) -> int:
        if not 200 <= self.status < 300:
            self._beside += len(data)
            return 0 if self._beside > _ERROR_PAGE else len(data)
        size = self.size + len(data)
        if self.is_robots:
            if size >= LONGEST:
                data, self.cut = data[: LONGEST - self.size], True
        elif not self.size and self._is_not_wanted(size):
            return 0
        elif size > self._options.max_bytes:
            self.too_large = True
            self.drop()
            return 0
        if not self._allowance.admits(self, len(data)):
            return int(pycurl.WRITEFUNC_PAUSE)
        self.size += len(data)
        self.body.write(data)
        return 0 if self.cut else len(data)

    def _is_not_wanted(self, size: int) -> bool:
        """Whether the head says already that the body is of no use."""
        tags = self.headers.get("x-robots-tag")
        if tags:
            self.opted_out = opts_out(tags, self._options.agents, self._options.disallowed_header_directives)
        self._announced = self._length_announced()
        self.too_large = max(size, self._announced) > self._options.max_bytes
        return self.opted_out or self.too_large

    def _length_announced(self) -> int:
        """Bytes of the body, as its header says; 0 if it does not."""
        said = self.headers.get("content-length", ("",))[-1]
        return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0

    @property
    def announces_too_much(self) -> bool:
        """Whether it is refused for what its header says, also where not a byte of it came."""
        return not self.is_robots and self.status < 300 and self._length_announced() > self._options.max_bytes

    def _header(self, line: bytes) -> int:
        if line[:5] == b"HTTP/":  # another answer, after a 100 or a proxy's
            self.headers.clear()
            self._head = 0
            status = _STATUS.match(line)
            self.status = int(status[1]) if status else 0
        else:
            name, colon, value = line.partition(b":")
            name = name.strip().lower()
            if colon and name in _READ:
                self._head += len(line)
                if self._head > _HEAD:
                    raise ValueError(f"more than {_HEAD} bytes of headers that say what the answer is")
                self.headers.setdefault(name.decode("ascii"), []).append(value.strip().decode("latin-1"))
        return len(line)

    def _open_socket(self, _purpose: int, target: Any) -> Any:
        family, kind, protocol, address = target
        if not self._policy.allows(str(address[0]), int(address[1])):
            self.forbidden = str(address[0])
            return pycurl.SOCKET_BAD
        try:
            opened = socket.socket(family, kind, protocol)
            if self._highest is not None and opened.fileno() > self._highest:
                opened.close()
                raise OSError(errno.EMFILE, "too many open files")
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:  # IPv6 where there is none: another address may do
                self.shortage = error
            return pycurl.SOCKET_BAD
        self.connected = True
        return opened

    def drop(self) -> None:
        """Let its bytes go."""
        self._allowance.release(self)
        self.body = io.BytesIO()
        self.size = 0
