"""What other threads tell a loop, and the file by which it wakes up."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

Message = TypeVar("Message")


class Inbox(Generic[Message]):
    """Messages from any thread to one; what comes after `close` is forgotten."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._lock = threading.Lock()
        self._open = True

    @property
    def file(self) -> int:
        """Has something to read when there is something to hear."""
        return self._ours.fileno()

    def put(self, message: Message) -> None:
        """Leave a message and wake the loop."""
        self._messages.put(message)
        self.wake()

    def wake(self) -> None:
        """Wake the loop."""
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it is awake
            if self._open:
                self._theirs.send(b"\0")

    def take(self) -> Iterator[Message]:
        """All messages so far."""
        with contextlib.suppress(BlockingIOError):
            while self._ours.recv(1 << 12):
                pass
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._messages.get_nowait()

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._open = False
            self._ours.close()
            self._theirs.close()
