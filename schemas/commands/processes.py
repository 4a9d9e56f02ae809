"""Ending processes: all that are below one, and this one when the process that started it is gone."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections.abc import Iterator

import psutil

from schemas.commands.guard import STOPS

_PR_SET_PDEATHSIG = 1
_REAP_WITHIN = 1.0
"""Seconds, of the three that a guard grants; they may pass twice."""


def children_of(pid: int) -> frozenset[int]:
    """Numbers of the processes that one has started and that still run."""
    try:
        return frozenset(child.pid for child in psutil.Process(pid).children())
    except psutil.NoSuchProcess:
        return frozenset()


def resource_tracker() -> frozenset[int]:
    """The process of `multiprocessing` that takes away what others leave in shared memory, and ends after them."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    pid = getattr(getattr(module, "_resource_tracker", None), "_pid", None)
    return frozenset() if pid is None else frozenset([pid])


def kill_below(pid: int, spared: frozenset[int] = frozenset(), *, wait: bool = True) -> None:
    """End all processes below one, so that none of them sees another's end and takes it for a fault of its data.

    All are stopped before the first is killed; what one of them forks in the meantime is found by the next round.

    Args:
        pid: whose children, and theirs, are ended; it stays itself.
        spared: children that are left alone, with all that is below them.
        wait: until they are gone, for a moment; for who is their parent.
    """
    stopped: dict[int, psutil.Process] = {}
    while fresh := [each for each in _below(pid, spared) if each.pid not in stopped]:
        for process in fresh:
            stopped[process.pid] = process
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
    for process in stopped.values():
        with contextlib.suppress(psutil.Error):
            process.kill()
    if wait:
        psutil.wait_procs(list(stopped.values()), timeout=_REAP_WITHIN)


def _below(pid: int, spared: frozenset[int]) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            if child.pid not in spared:
                yield child
                with contextlib.suppress(psutil.NoSuchProcess):
                    yield from child.children(recursive=True)


def die_with_parent() -> None:
    """Have the kernel end this process when the thread that started it is gone, however it went; on Linux."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ignore_stops() -> None:
    """Leave signals that ask to end to the command: this process is one of its workers, and ends with it.

    A terminal sends them to all processes of a command, and one that is ended before another could be taken for a fault
    of the data that both work on.
    """
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Have signals that ask to end wait for the block's end, also for this thread's own eyes; what is started in it
    keeps them waiting until it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
