"""What every job's `main` needs around its flow: its flags read, a user's mistake in one sentence, an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Generic, TypeVar

import psutil
from rich.console import Console

from pipelines import local
from pipelines.running.do_unit import one_line
from pipelines.running.finishing import JobFailed
from pipelines.running.flags import parse
from schemas.exit_codes import FAILED, OK, STOPPED, USAGE
from schemas.lock import FolderInUse

T = TypeVar("T")

_STORES = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google")
"""Packages of object stores, whose errors are not all OSErrors."""

_BEAMS_READERS = ("beam_control_read", "read_grpc_client_inputs")


@dataclass(frozen=True)
class Command(Generic[T]):
    """A job as a command."""

    name: str
    """How it is called, such as `pipelines.ingest`."""
    manual: str | None
    """The job's docstring."""
    options: type[T]
    """A dataclass of dataclasses."""
    job: Callable[[T, list[str]], int]
    """Does it, with the options and Beam's flags; gives the exit code."""
    share: Callable[[T], None] = lambda _options: None
    """Loads what workers that are forked may share; beside the job, and without threads."""


def run(command: Command[T], argv: Sequence[str] | None) -> int:
    """Run a command with these flags, or None for the process's own; gives its exit code."""
    _quieten()
    others = {child.pid for child in psutil.Process().children()}
    handler_before = None
    if threading.current_thread() is threading.main_thread():
        handler_before = signal.signal(signal.SIGTERM, _stop)
    try:
        options, flags = parse(command.name, command.manual or "", command.options, argv)
        with local.forking(lambda: command.share(options)) if argv is None else contextlib.nullcontext():
            return command.job(options, flags)
    except KeyboardInterrupt:
        return _say(command.name, "stopped; what is finished is safe, the same command goes on from there", STOPPED)
    except JobFailed as error:
        return _say(command.name, str(error), FAILED)
    except BrokenPipeError:  # who read our output has gone, as after `| head`; the work is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (ValueError, FolderInUse) as error:
        return _say(command.name, str(error), USAGE)
    except OSError as error:
        return _say(command.name, one_line(error), FAILED)
    except ImportError as error:  # fsspec's, for a store whose package is not installed
        return _say(command.name, f"{error}; install that package beside this one", USAGE)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _STORES:
            raise
        return _say(command.name, f"the store failed ({one_line(error)}); the same command goes on from there", FAILED)
    finally:
        _end_workers(others)
        if handler_before is not None:
            signal.signal(signal.SIGTERM, handler_before)


def _say(prog: str, message: str, code: int) -> int:
    """One line: what a damaged file holds may be in the message, and is not for a terminal to obey."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split()))
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"{prog}: {shown}")
    return code


def _quieten() -> None:
    """Beam installs a root handler while it is imported, and says much of itself that is not for a user."""
    errors = logging.StreamHandler()
    errors.setLevel(logging.ERROR)  # the root's own level does not hold for what other loggers hand up to it
    logging.basicConfig(format="%(message)s", level=logging.ERROR, handlers=[errors], force=True)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    threading.excepthook = _report_thread


def _report_thread(failed: threading.ExceptHookArgs) -> None:
    """Beam's threads print that the line to a dead worker is cut; the runner's own error is told once, by `main`."""
    if failed.thread is None or failed.thread.name not in _BEAMS_READERS:
        threading.__excepthook__(failed)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_workers(others: set[int]) -> None:
    """Kill what Beam left behind, as it does when it is stopped; units are safe from that by how they are committed."""
    mine = [child for child in psutil.Process().children() if child.pid not in others]
    workers = [process for child in mine for process in (child, *_offspring(child))]
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(workers, timeout=3)


def _offspring(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []
