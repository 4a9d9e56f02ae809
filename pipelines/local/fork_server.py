"""Forks workers from a command that has imported everything and done nothing yet.

A worker that is a new interpreter spends two seconds of processor time importing Beam and what it works with; a job of
five passes starts ten. Only a process without threads can be forked, and Beam's runner has dozens. So the command forks
a server off itself before it begins, which does nothing but fork again whenever it is asked. It ends with the command,
however that ends, and its workers with it; signals that ask to end are for the command alone. If the server is gone,
workers are started anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from pipelines.local import worker
from schemas.commands.processes import die_with_parent, ignore_stops, signals_held

HEAPS = 2
"""Of a worker; glibc's own number is eight a core.

Pictures are fetched by one thread and freed by another; with glibc's own number a worker's memory grows from 480 to
1,150 MB over some ten thousand pictures.
"""

_M_ARENA_MAX = -8
"""glibc's number for `mallopt`."""
_PR_SET_CHILD_SUBREAPER = 36
"""Linux's number for `prctl`."""

_WELL = b"1"

at_beginning: list[Callable[[], None]] = []
"""What a forked worker does first, while it has no threads; `share` may add to it."""

_command: socket.socket | None = None
"""The command's end of what it tells its server by."""


class Forked:
    """A worker that was forked."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def ends_well(self) -> bool:
        """Wait for its end."""
        try:
            return self._line.recv(1) == _WELL
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)


def fork(environment: Mapping[str, str]) -> Forked | None:
    """A worker with these environment variables; None if there is no fork server, or none any more."""
    if _command is None:
        return None
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            socket.send_fds(_command, [b"w"], [theirs.fileno()])
        ours.sendall(json.dumps(dict(environment)).encode() + b"\n")
    except OSError:
        ours.close()
        return None
    return Forked(ours)


@contextlib.contextmanager
def forking(share: Callable[[], None]) -> Iterator[None]:
    """A fork server for as long as the block runs, where this process can have one: on Linux, and before any thread.

    Args:
        share: called in the server, while the block begins, to load what all its workers need. It may fail: the workers
            will say why.
    """
    global _command
    if not sys.platform.startswith("linux") or threading.active_count() > 1 or _command is not None:
        yield
        return
    importlib.import_module("apache_beam.runners.portability.fn_api_runner.fn_runner")  # now, once for all workers
    importlib.import_module("apache_beam.runners.worker.sdk_worker_main")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # who loses its parent is ours to wait for, not the system's
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # what was imported stays: no collector need look at it again, here or in a worker
    parent = os.getpid()
    with signals_held():  # or one that comes just then would end the server in the command's way
        server = os.fork()
        if not server:
            ours.close()
            _serve(theirs, parent, share)
    theirs.close()
    _command = ours
    try:
        yield
    finally:
        _command = None
        ours.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(server, 0)  # it kills its workers and waits for nothing else


def _serve(command: socket.socket, parent: int, share: Callable[[], None]) -> NoReturn:
    """Fork whenever asked, until the command closes its end or is gone."""
    try:
        die_with_parent()
        ignore_stops()
        signal.set_wakeup_fd(-1)  # which is the command's line to its guard
        with contextlib.suppress(Exception):
            share()
        gc.freeze()  # so that no worker's collector writes to pages that all share
        workers: set[int] = set()
        while os.getppid() == parent:
            ready = select.select([command], [], [], 1.0)[0]
            workers -= {pid for pid in workers if os.waitpid(pid, os.WNOHANG)[0]}
            if not ready:
                continue
            request, lines, _, _ = socket.recv_fds(command, 1, 1)
            if not request:
                break
            line = socket.socket(fileno=lines[0])
            pid = os.fork()
            if not pid:
                command.close()
                _work(line)
            workers.add(pid)
            line.close()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # also so that their processor time counts as the command's
    finally:
        os._exit(0)


def _work(line: socket.socket) -> NoReturn:
    """Be the worker; leave without what the command wants done at its own end."""
    server = os.getppid()

    def is_over(seconds: float) -> bool:
        return bool(select.select([line], [], [], seconds)[0]) or os.getppid() != server

    try:
        die_with_parent()
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(os.environ.get("MALLOC_ARENA_MAX", HEAPS)))
        with line.makefile("rb") as sent:
            environment = json.loads(sent.readline())
        os.environ.clear()
        os.environ.update(environment)
        for begin in at_beginning:
            begin()
        worker.work(is_over)
        line.sendall(_WELL)
    finally:
        os._exit(0)
