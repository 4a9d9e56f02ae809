"""What every job's `main` needs around its flow: its flags read, Beam kept quiet, workers forked, an ending."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dalle.sandbox import fork_ahead
from pipelines import local
from pipelines.local.fork_server import at_beginning
from pipelines.running.flags import parse
from pipelines.running.runners import check_runner
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.printing import coloured
from schemas.commands.stopping import asked_to_stop
from schemas.planning import SayOptions, planned

T = TypeVar("T", bound="_Says")


class _Says(Protocol):
    """Options of any job."""

    @property
    def say(self) -> SayOptions:
        """What is said."""
        ...


_BEAMS_READERS = ("beam_control_read", "read_grpc_client_inputs")


@dataclass(frozen=True)
class Command(Generic[T]):
    """A job as a command."""

    name: str
    """How it is called, such as `pipelines.ingest`."""
    manual: str | None
    """The job's docstring."""
    options: type[T]
    """A dataclass of dataclasses, of which `say` is one."""
    job: Callable[[T, list[str]], int]
    """Does it, with the options and Beam's flags; gives the exit code."""
    share: Callable[[T], None] = lambda _options: None
    """Loads what workers that are forked may share; beside the job, and without threads."""
    only_prints: Callable[[T], bool] = lambda _options: False
    """Whether what the job prints is all that it leaves."""
    decodes: bool = False
    """Whether it decodes pictures of others: it and each forked worker then begin with a process that does so."""


def run(command: Command[T], argv: Sequence[str] | None) -> int:
    """Run a command with these flags, or None for the process's own; gives its exit code."""
    only_prints = False

    def work() -> int:
        nonlocal only_prints
        _quieten()
        with coloured(sys.argv if argv is None else argv):
            options, flags = parse(command.name, command.manual or "", command.options, argv)
        check_runner(flags)
        only_prints = options.say.plan or command.only_prints(options)
        if command.decodes and argv is None:
            fork_ahead()
            at_beginning.append(fork_ahead)
        with local.forking(lambda: command.share(options)) if argv is None else contextlib.nullcontext():
            return planned(command.name.rpartition(".")[2], options.say, lambda: command.job(options, flags))

    return conclude(CommandWords(name=command.name), work, lambda: only_prints)


def _quieten() -> None:
    """Beam installs a root handler while it is imported, and says much of itself that is not for a user."""
    errors = logging.StreamHandler()
    errors.setLevel(logging.ERROR)  # the root's own level does not hold for what other loggers hand up to it
    logging.basicConfig(format="%(message)s", level=logging.ERROR, handlers=[errors], force=True)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    threading.excepthook = _report_thread


def _report_thread(failed: threading.ExceptHookArgs) -> None:
    """Beam's threads print that the line to a dead worker is cut; the runner's own error is told once, by `main`."""
    if not asked_to_stop() and (failed.thread is None or failed.thread.name not in _BEAMS_READERS):
        threading.__excepthook__(failed)
