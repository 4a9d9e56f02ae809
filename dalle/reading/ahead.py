"""Processes that read ahead of a training.

They are new interpreters (`spawn`): a training has threads, which a fork would cut off in the middle of what they do.
Such a process first imports the script that started it, unless that script guards what it does by
`if __name__ == "__main__":` once more from the top. Ours need not: nothing of the script is wanted, unless the data set
or its view is defined there. So a loop that stands in a plain script, or is typed into one, reads as well.

A signal that asks to end is for the training, which ends them. One that dies is named, when its batch is waited for and
not at some other moment: torch would raise that error wherever the training is, in the middle of changing its weights.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from schemas.commands.ending import CommandFailed
from schemas.commands.guard import STOPS, is_guarded
from schemas.commands.processes import die_with_parent, signals_held
from schemas.commands.stopping import asked_to_stop

PREFETCH = 4
"""Batches that each process keeps ready."""

_LAST_WORDS = 1.0
"""Seconds for a thread that hands out what is to be read to end, once its queue is closed."""

_LONGEST = 80
"""Bytes of the name of a folder in which a socket still finds room for its own."""

_OUT_OF_MEMORY = ", as it does when memory runs out: fewer --workers need less"
_WITH_SCRIPT = (
    "; it ran the script from the top, because the data set or its view is defined there: put what the script does "
    'under `if __name__ == "__main__":`'
)


def read_ahead(dataset: Dataset[Any], workers: int, items: Sequence[int] | None = None) -> Iterator[Any]:
    """What a data set gives, made by other processes ahead of time, in order.

    Args:
        dataset: an iterable one, or one with items; picklable.
        workers: processes, 1 or more.
        items: which items, where it has some.

    Raises:
        CommandFailed: if one of the processes died.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)  # in such a process, which runs the script from the top: it must not start others in turn
    needs_script = b"__main__" in bytes(ForkingPickler.dumps(dataset))
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=None,
        sampler=items,
        num_workers=workers,
        multiprocessing_context=_Context() if needs_script else _WithoutScript(),
        prefetch_factor=PREFETCH,
        worker_init_fn=partial(_begin, ends_with_parent=is_guarded()),
        generator=torch.Generator(),  # it draws a seed for its workers: not from the training's generator
    )
    why = _WITH_SCRIPT if needs_script else _OUT_OF_MEMORY
    with _threads_ended():
        yield from _items(loader, why)


def _items(loader: DataLoader[Any], why: str) -> Iterator[Any]:
    try:
        read = iter(loader)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    except RuntimeError as error:  # one died while others were started
        raise _named(error, why) from None
    while True:
        try:
            item = next(read)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            raise _named(error, why) from None
        yield item


@contextlib.contextmanager
def _threads_ended() -> Iterator[None]:
    """At the block's end wait for the threads that handed out what was to be read, which torch does not.

    One of them lets the last hold of a semaphore go; where the interpreter ends in the middle of that, the process that
    watches over semaphores says on standard error that one was leaked.
    """
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("QueueFeederThread"):
                thread.join(_LAST_WORDS)


def _named(error: Exception, why: str) -> Exception:
    """The death of a process that reads ahead, in a sentence; any other error as it is."""
    is_another = isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)
    return error if asked_to_stop() or is_another else CommandFailed(f"a process that reads ahead died{why}")


def _begin(_worker: int, *, ends_with_parent: bool) -> None:
    """In each process, before it reads."""
    if ends_with_parent:
        die_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    _shorten_names_of_sockets()


def _shorten_names_of_sockets() -> None:
    """Have a long folder of temporary files a short name.

    Batches are handed over through a socket there, whose name may have 107 bytes; where it has more nothing is handed
    over, and nobody is told.
    """
    folder = multiprocessing.util.get_temp_dir()
    if len(os.fsencode(folder)) > _LONGEST and sys.platform.startswith("linux"):
        names = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        names["tempdir"] = f"/proc/{os.getpid()}/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}"


class _Process(SpawnProcess):
    """Starts with signals held back until `_begin`."""

    def start(self) -> None:
        with signals_held():
            super().start()


class _ProcessWithoutScript(_Process):
    def start(self) -> None:
        with _script_hidden():
            super().start()


class _Context(SpawnContext):
    Process = _Process


class _WithoutScript(SpawnContext):
    Process = _ProcessWithoutScript


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Have `multiprocessing` find a main module that is nowhere, and so not to be imported."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
