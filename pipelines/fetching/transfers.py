"""Requests under way, all in one thread: libcurl speaks HTTP, a selector says which sockets have something to say."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import certifi
import pycurl

from pipelines.fetching.answer import Answer
from pipelines.fetching.links import Link
from pipelines.fetching.options import FetchOptions


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that has ended."""

    link: Link
    error: int = 0
    """libcurl's number, 0 if it ended well."""
    message: str = ""
    """libcurl's words for it."""
    reused: bool = False
    """Whether it went over a connection that had been kept alive."""
    os_error: int = 0
    """The system's number for what happened to its socket."""


class Transfers:
    """Requests under way.

    Args:
        options: how links are fetched.
        connections: that are kept open at most.
        wake: a file that has something to read when another thread wants the loop's attention.
    """

    def __init__(self, options: FetchOptions, connections: int, wake: int) -> None:
        self._options = options
        self._free: deque[_Line] = deque()
        self._lines: dict[pycurl.Curl, _Line] = {}
        self._of_answer: dict[Answer, _Line] = {}
        self._timer: float | None = None
        self._selector = selectors.DefaultSelector()
        self._wake = wake
        self._selector.register(wake, selectors.EVENT_READ)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)

    def start(self, link: Link, answer: Answer, addresses: tuple[str, ...]) -> None:
        """Send a request.

        Args:
            link: to its target.
            answer: takes what comes back.
            addresses: of the target's host; none if libcurl knows where to connect to.

        Raises:
            ValueError: if libcurl does not take the address.
        """
        line = self._free.pop() if self._free else _Line(self._new_handle())
        handle, target = line.handle, link.target
        try:
            handle.setopt(pycurl.URL, target.url)
        except pycurl.error as error:
            self._free.append(line)
            raise ValueError(str(error)) from None
        if line.anew != link.anew:
            handle.setopt(pycurl.FRESH_CONNECT, link.anew)
            line.anew = link.anew
        if addresses:
            handle.setopt(pycurl.RESOLVE, [f"+{target.host}:{target.port}:{','.join(addresses)}"])
            line.resolves = True
        elif line.resolves:
            handle.unsetopt(pycurl.RESOLVE)
            line.resolves = False
        line.link, line.answer = link, answer
        self._lines[handle] = self._of_answer[answer] = line
        self._multi.add_handle(handle)

    def stop(self, answer: Answer) -> None:
        """Break a request off."""
        self._release(self._of_answer[answer])

    def go_on(self, answer: Answer) -> Ended | None:
        """Let a request that paused receive again; gives it if it ends by that."""
        line = self._of_answer[answer]
        assert line.link is not None
        try:
            line.handle.pause(pycurl.PAUSE_CONT)
        except pycurl.error as error:
            ended = Ended(line.link, error.args[0], str(error.args[1]))
            self._release(line)
            return ended
        return None

    def link_of(self, answer: Answer) -> Link:
        """The link that it is the answer to."""
        link = self._of_answer[answer].link
        assert link is not None
        return link

    def move(self, longest: float) -> bool:
        """Wait for something to happen, some seconds at most, and let libcurl do it; gives whether it was woken."""
        woken = False
        if self._timer is not None:
            longest = min(longest, self._timer - time.monotonic())
        for key, events in self._selector.select(max(0.0, longest)):
            if key.fd == self._wake:
                woken = True
                continue
            happened = pycurl.CSELECT_IN if events & selectors.EVENT_READ else 0
            happened |= pycurl.CSELECT_OUT if events & selectors.EVENT_WRITE else 0
            self._multi.socket_action(key.fd, happened)
        if self._timer is not None and time.monotonic() >= self._timer:
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        return woken

    def ended(self) -> Iterator[Ended]:
        """The requests that have ended; each is forgotten as it is given."""
        left = 1
        while left:
            left, well, badly = self._multi.info_read()
            for handle in well:
                yield self._ended(handle, 0, "")
            for handle, error, message in badly:
                yield self._ended(handle, error, message)

    def _ended(self, handle: pycurl.Curl, error: int, message: str) -> Ended:
        line = self._lines[handle]
        assert line.link is not None
        ended = Ended(line.link)
        if error:
            reused = handle.getinfo(pycurl.NUM_CONNECTS) == 0
            ended = Ended(line.link, error, message, reused, handle.getinfo(pycurl.OS_ERRNO))
        self._release(line)
        return ended

    def _release(self, line: _Line) -> None:
        assert line.answer is not None
        self._multi.remove_handle(line.handle)
        del self._lines[line.handle]
        del self._of_answer[line.answer]
        line.link = line.answer = None
        self._free.append(line)

    def close(self) -> None:
        """Break everything off."""
        for line in list(self._lines.values()):
            self._release(line)
        for line in self._free:
            line.handle.close()
        self._multi.close()
        self._selector.close()

    def _new_handle(self) -> pycurl.Curl:
        options, handle = self._options, pycurl.Curl()
        for option, value in (
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.FOLLOWLOCATION, 0),  # the loop follows: another host may have another robots.txt, and slots
            (pycurl.PATH_AS_IS, 1),  # what robots.txt was asked about
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROXY, options.proxy or ""),  # never one of the environment's, which would hide the address
            (pycurl.HTTPHEADER, ["Accept: image/*, */*;q=0.5", "Accept-Encoding: identity"]),
            (pycurl.HTTP_CONTENT_DECODING, 0),
            (pycurl.USERAGENT, options.user_agent),
            (pycurl.CAINFO, certifi.where()),
            (pycurl.BUFFERSIZE, 1 << 17),
        ):
            handle.setopt(option, value)
        if options.connect_to:
            handle.setopt(pycurl.CONNECT_TO, [f"{m.host}:{m.port}:{m.address}:{m.at}" for m in options.mapped])
        return handle

    def _watch(self, event: int, descriptor: int, _multi: Any, _known: Any) -> None:
        """libcurl's callback: which events of a socket it has to be called for."""
        if event == pycurl.POLL_REMOVE:
            self._selector.unregister(descriptor)
            return
        wanted = selectors.EVENT_READ if event & pycurl.POLL_IN else 0
        wanted |= selectors.EVENT_WRITE if event & pycurl.POLL_OUT else 0
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, wanted)
        else:
            self._selector.register(descriptor, wanted)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl's callback: after which time it has to be called again, -1 for never."""
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


class _Line:
    """A handle of libcurl's, used for one request after another."""

    def __init__(self, handle: pycurl.Curl) -> None:
        self.handle = handle
        self.anew = False
        self.resolves = False
        self.link: Link | None = None
        self.answer: Answer | None = None
        handle.setopt(pycurl.WRITEFUNCTION, self._write)
        handle.setopt(pycurl.HEADERFUNCTION, self._header)
        handle.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def _write(self, data: bytes) -> int:
        return self.answer.write(data) if self.answer else 0

    def _header(self, line: bytes) -> int:
        return self.answer.header(line) if self.answer else 0

    def _open_socket(self, purpose: int, target: Any) -> Any:
        return self.answer.open_socket(purpose, target) if self.answer else pycurl.SOCKET_BAD
