"""The process that forks workers, and what the process it does so for knows of both."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from typing import NoReturn

from dalle.sandbox.limits import Limits
from dalle.sandbox.work import SLOTS, serve

_REQUEST = 512
"""Bytes of a request to a nursery."""
_NUMBER = struct.Struct("<i")

_lock = threading.Lock()
_nursery: Nursery | None = None
"""This process's."""


class Worker:
    """A worker, seen from the process that it works for."""

    def __init__(
        self, nursery: Nursery, kind: tuple[Limits, str], line: Connection, slots: list[int], fate: socket.socket
    ) -> None:
        self.kind = kind
        """Its limits, and the module that was imported before they held."""
        self.line, self.slots = line, slots
        self.loaded = b""
        """The pickled function that it has."""
        self._nursery, self._fate = nursery, fate
        self._poll = select.poll()
        self._poll.register(line.fileno(), select.POLLIN | select.POLLHUP)
        self._pid = 0

    def has_something(self, seconds: float = 0) -> bool:
        """Wait for a message, or for its end."""
        return bool(self._poll.poll(1000 * seconds))

    def kill(self) -> None:
        """End it at once; `how_it_ended` tells when it has."""
        self._nursery.kill(self.pid)

    @property
    def pid(self) -> int:
        """Its number, once it is there; a nursery that is a new interpreter takes half a second, which others use."""
        self._pid = self._pid or self._read_number()
        return self._pid

    def how_it_ended(self) -> int:
        """Wait for its end: its exit code, or the number of the signal that ended it, negative."""
        return self._read_number() if self.pid > 0 else self._pid

    def give_back(self) -> None:
        """It has nothing to do, and may be had again."""
        self._nursery.give_back(self)

    def close(self) -> None:
        """Let it go: it ends when it has done what it is at."""
        self.line.close()
        self._fate.close()
        for slot in self.slots:
            os.close(slot)

    def _read_number(self) -> int:
        data = self._fate.recv(_NUMBER.size, socket.MSG_WAITALL)
        return int(_NUMBER.unpack(data)[0]) if len(data) == _NUMBER.size else -signal.SIGKILL  # the nursery was ended


class Nursery:
    """The nursery of this process."""

    def __init__(self, line: socket.socket, process: subprocess.Popen[bytes] | int) -> None:
        self._line, self._process = line, process
        self._free: list[Worker] = []

    def worker(self, limits: Limits, module: str, *, fresh: bool) -> Worker:
        """A worker that nobody else has.

        Args:
            limits: what it may take.
            module: where its functions are, which is imported once for all workers.
            fresh: one that has not worked yet.

        Raises:
            OSError: if the nursery is gone.
        """
        with _lock:
            for worker in () if fresh else self._free:
                if worker.kind == (limits, module):
                    self._free.remove(worker)
                    return worker
        ours, theirs = Pipe()
        fate, fates = socket.socketpair()
        slots = [_shared_memory() for _ in range(SLOTS)]
        with theirs, fates:
            request = json.dumps({**asdict(limits), "module": module}).encode().ljust(_REQUEST)
            with _lock:
                socket.send_fds(self._line, [request], [theirs.fileno(), fates.fileno(), *slots])
        return Worker(self, (limits, module), ours, slots, fate)

    def give_back(self, worker: Worker) -> None:
        """A worker that has nothing to do."""
        with _lock:
            self._free.append(worker)

    def kill(self, pid: int) -> None:
        """End a worker."""
        with _lock, contextlib.suppress(OSError):
            self._line.sendall(json.dumps({"kill": pid}).encode().ljust(_REQUEST))

    def is_there(self) -> bool:
        """Whether it was not ended; whoever ends all children of a process ends it, too."""
        return not select.select([self._line], [], [], 0)[0]

    def close(self) -> None:
        """End it and all its workers."""
        for worker in self._free:
            worker.close()
        self._line.close()
        with contextlib.suppress(ChildProcessError):
            self._process.wait() if isinstance(self._process, subprocess.Popen) else os.waitpid(self._process, 0)

    def forget(self) -> None:
        """In a process that was forked from the one whose it is."""
        for worker in self._free:
            worker.close()
        self._line.close()


def nursery() -> Nursery:
    """This process's, begun anew where there is none: in a new interpreter, because there may be threads by now."""
    global _nursery
    with _lock:
        if _nursery is not None and not _nursery.is_there():
            _nursery.close()
            _nursery = None
        if _nursery is None:
            _nursery = _started()
        return _nursery


def fork_ahead() -> None:
    """Have the nursery already, by forking this process, which must have no threads and should have imported much."""
    global _nursery
    if not sys.platform.startswith("linux") or threading.active_count() > 1 or _nursery is not None:
        return
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        _be_nursery(theirs.detach())
    theirs.close()
    _nursery = Nursery(ours, pid)


def main(descriptor: int) -> NoReturn:
    """Be the nursery of the process that started this interpreter."""
    _be_nursery(descriptor)


def _started() -> Nursery:
    ours, theirs = socket.socketpair()
    code = f"import sys; sys.path[:] = {sys.path!r}; from dalle.sandbox import nursery; nursery.main({theirs.fileno()})"
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return Nursery(ours, process)


def _be_nursery(descriptor: int) -> NoReturn:
    """Fork whenever asked, until the other side is gone."""
    workers: dict[int, socket.socket] = {}
    try:
        _let_go_of_all_but(descriptor)
        ended, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side's to answer
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        gc.freeze()
        line = socket.socket(fileno=descriptor)
        while True:
            ready = select.select([line.fileno(), ended], [], [])[0]
            if ended in ready:
                os.read(ended, 1024)
                _tell_fates(workers)
            if line.fileno() in ready:
                data, passed, _, _ = socket.recv_fds(line, _REQUEST, 2 + SLOTS)
                if not data:
                    break
                _obey(json.loads(data), passed, workers)
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in workers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        os._exit(0)


def _obey(request: dict[str, object], passed: list[int], workers: dict[int, socket.socket]) -> None:
    """Fork a worker with these descriptors, or end one."""
    if "kill" in request:
        if request["kill"] in workers:
            os.kill(int(str(request["kill"])), signal.SIGKILL)
        return
    importlib.import_module(str(request["module"]))
    limits = Limits(memory=int(str(request["memory"])), seconds=float(str(request["seconds"])))
    line, fates, *slots = passed
    pid = os.fork()
    if not pid:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _let_go_of_all_but(line, *slots)
        serve(Connection(line), slots, limits)
    os.close(line)
    for slot in slots:
        os.close(slot)
    workers[pid] = socket.socket(fileno=fates)
    workers[pid].sendall(_NUMBER.pack(pid))


def _tell_fates(workers: dict[int, socket.socket]) -> None:
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with workers.pop(pid) as fates, contextlib.suppress(OSError):
                fates.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _let_go_of_all_but(*descriptors: int) -> None:
    """Close what came with the fork: locks, connections and pipes that others wait for the end of."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    kept = sorted({*descriptors, 2})
    for below, above in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(below + 1, above)


def _shared_memory() -> int:
    """A descriptor of memory, or of a file without a name where there is no such thing."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dalle-sandbox", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _after_fork() -> None:
    global _nursery, _lock
    _lock = threading.Lock()
    if _nursery is not None:
        _nursery.forget()
        _nursery = None


def _at_exit() -> None:
    """Wait for the nursery's end, so that nothing of a process is there after it."""
    if _nursery is not None:
        _nursery.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
