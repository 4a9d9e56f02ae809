"""A command that is asked to end: at once wherever that is safe, otherwise as soon as it is.

    with answering():                       # Ctrl-C, SIGTERM and SIGHUP raise `Stopped` in here
        with deferred():                    # from here on they wait …
            change_the_weights()
            with at_once():                 # … but not for what takes long and changes nothing
                batch = next(batches)

The first thing that is done on such a signal is to end all processes that the command started: whatever waits for one
of them, in a library or in a thread, waits no longer. Only the main thread is interrupted, so what may wait for
something else must not be waited for by it without an end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.commands.guard import STOPS, answer, ask_for_patience, is_guarded
from schemas.commands.processes import children_of, kill_below, resource_tracker


class Stopped(KeyboardInterrupt):
    """The command was asked to end."""

    def __init__(self, number: int = signal.SIGINT, words: str = "") -> None:
        super().__init__()
        self.number = number
        """Of the signal."""
        self.words = words
        """What became of the work, where that is more than the command's usual words."""


@dataclass
class _State:
    asked: int = 0
    """The signal that asked to end."""
    waits: bool = False
    """Whether it waits for the end of a block."""
    takes: Callable[[], float] | None = None
    """For how many seconds a signal may have to wait, where the guard is to wait as well."""
    spared: frozenset[int] = frozenset()
    """Processes that were there before, such as those of a notebook."""


_state = _State()


def asked_to_stop() -> int:
    """The signal that asked this command to end; 0 if none did."""
    return _state.asked


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Raise `Stopped` where the main thread is when a signal asks to end; nothing in other threads."""
    global _state
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer, _state = _state, _State(spared=children_of(os.getpid()))
    take = answer if is_guarded() else signal.signal  # whoever asks a notebook twice does not want it to end
    before = {
        number: take(number, _asked)
        for number in STOPS
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN  # as under nohup
    }
    try:
        with _quiet_once_asked():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        _state = outer


def end_processes() -> None:
    """End what the command has started and what still runs, as Beam's workers do after a failure."""
    kill_below(os.getpid(), _state.spared | resource_tracker())


@contextlib.contextmanager
def deferred(takes: Callable[[], float] | None = None) -> Iterator[None]:
    """Inside the block a signal waits for the block's end, where `Stopped` is raised.

    Args:
        takes: asked when a signal comes: seconds for which it may have to wait, if they are more than a guard grants.
    """
    before, _state.waits, _state.takes = (_state.waits, _state.takes), True, takes
    try:
        yield
    finally:
        _state.waits, _state.takes = before
    raise_if_asked()


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Inside a deferred block, a part that changes nothing and may be given up anywhere."""
    before, _state.waits = _state.waits, False
    try:
        raise_if_asked()
        yield
    except BaseException as error:
        error.__dict__[_NOTHING] = True
        raise
    finally:
        _state.waits = before


def changed_nothing(error: BaseException) -> bool:
    """Whether an exception comes out of a block that changes nothing."""
    return _NOTHING in error.__dict__


def raise_if_asked() -> None:
    """Raise `Stopped` if a signal asked to end and it need not wait."""
    if _state.asked and not _state.waits:
        raise Stopped(_state.asked)


_SOON = 0.05
_NOTHING = "_changed_nothing"


@contextlib.contextmanager
def _quiet_once_asked() -> Iterator[None]:
    """Let nobody print a trace of what fails because the command ends: a thread, a callback, a finalizer."""
    hooks: tuple[tuple[Any, str], ...] = (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
    )
    before = [getattr(module, name) for module, name in hooks]
    for (module, name), hook in zip(hooks, before, strict=True):
        setattr(module, name, _unless_asked(hook))
    try:
        yield
    finally:
        for (module, name), hook in zip(hooks, before, strict=True):
            setattr(module, name, hook)


def _unless_asked(hook: Callable[..., Any]) -> Callable[..., None]:
    def unless_asked(*failed: Any) -> None:
        if not _state.asked:
            hook(*failed)
        elif threading.current_thread() is threading.main_thread():  # who was interrupted there has swallowed it
            signal.signal(signal.SIGALRM, lambda *_: raise_if_asked())
            signal.setitimer(signal.ITIMER_REAL, _SOON)

    return unless_asked


def _asked(number: int, _frame: object) -> None:
    if _state.asked:
        return
    _state.asked = number
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would raise an error of its own about what follows
    end_processes()
    if _state.waits and _state.takes is not None:
        ask_for_patience(_state.takes())
    raise_if_asked()
