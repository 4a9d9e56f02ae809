"""Hosts' addresses, looked up by threads of our own, so that a slow name server holds up nobody but its own links.

libcurl looks up twenty names at a time, has the others wait while their deadlines run, and waits for its threads at the
end. Here a link that has had its time leaves; the thread goes on, and nobody waits for it. Several links that wait for
one name share its look-up.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.fetching.bounded_cache import BoundedCache

_HOLDS = 300.0
"""Seconds for which addresses are used again."""
_REMEMBERED = 4 << 20
"""Bytes of addresses that are remembered."""
_IDLE = 10.0
"""Seconds after which a thread without work ends."""


@dataclass(eq=False)
class Lookup:
    """One name that is being looked up."""

    host: str
    begun: bool = False
    """Whether a thread has taken it up."""
    done: bool = False
    addresses: tuple[str, ...] = ()
    """What was found, best first; nothing if the name has no address."""
    fault: OSError | None = None
    """What went wrong on this machine, as when there are too many open files."""
    until: float = 0.0
    """A value of `time.monotonic` up to which its result may be used."""
    listeners: list[Callable[[Lookup], None]] = field(default_factory=list)
    """Told, in the thread, when it is begun and when it is done."""


class Resolver:
    """Looks up names; for all loops of the process.

    Args:
        find: gives the addresses of a name, as `addresses_of` does.
        most: threads at most; names beyond them wait, and are told from those that are being looked up.
    """

    def __init__(self, find: Callable[[str], tuple[str, ...]] | None = None, most: int = 64) -> None:
        self.most = most
        self._find = find or addresses_of
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._known: BoundedCache[str, Lookup] = BoundedCache(_REMEMBERED)
        self._running: dict[str, Lookup] = {}
        self._waiting: deque[Lookup] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def ask(self, host: str, listener: Callable[[Lookup], None]) -> Lookup:
        """The look-up of a name: done, if that is known; else the listener is told when it begins and when it is done.

        Raises:
            OSError: if no thread can be started.
        """
        if os.getpid() != self._process:  # forked; the threads are the parent's
            self._begin_anew()
        known = self._known.get(host)
        if known and time.monotonic() < known.until:
            return known
        with self._changed:
            lookup = self._running.get(host)
            if lookup is None:
                lookup = Lookup(host)
                self._rouse_a_thread(len(self._waiting) + 1)
                self._waiting.append(lookup)
                self._running[host] = lookup
            lookup.listeners.append(listener)
            return lookup

    def _rouse_a_thread(self, names: int) -> None:
        """Have a thread for each of the waiting names, as far as there may be so many."""
        if names <= self._idle:
            self._changed.notify()
        elif self._threads < self.most:
            try:
                threading.Thread(target=self._work, name="look-up", daemon=True).start()
            except RuntimeError as error:
                if not self._threads:
                    raise OSError(errno.EAGAIN, f"no thread to look up names with: {error}") from None
            else:
                self._threads += 1

    def _work(self) -> None:
        while (lookup := self._next()) is not None:
            try:
                lookup.addresses = self._find(lookup.host)
            except OSError as error:
                lookup.fault = error
            lookup.until = time.monotonic() + _HOLDS
            with self._changed:
                del self._running[lookup.host]
                lookup.done = True
                if lookup.addresses:  # known when it is done, for who finds it there does not listen
                    self._known.put(lookup.host, lookup, 500 + 60 * len(lookup.addresses))
                listeners, lookup.listeners = lookup.listeners, []
            for listener in listeners:
                listener(lookup)

    def _next(self) -> Lookup | None:
        """The next name for this thread, which ends if there is none for a while."""
        with self._changed:
            while not self._waiting:
                self._idle += 1
                roused = self._changed.wait(_IDLE)
                self._idle -= 1
                if not roused and not self._waiting:
                    self._threads -= 1
                    return None
            lookup = self._waiting.popleft()
            lookup.begun = True
            listeners = list(lookup.listeners)
        for listener in listeners:
            listener(lookup)
        return lookup


def addresses_of(host: str) -> tuple[str, ...]:
    """Numeric addresses of a name, as the system finds them, best first; none if it has none.

    Raises:
        OSError: if this machine could not ask.
    """
    try:
        infos = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_MEMORY:
            raise OSError(errno.ENOMEM, "no memory to look up names with") from None
        return ()
    except UnicodeError:
        return ()
    return tuple(dict.fromkeys(str(info[4][0]) for info in infos))
