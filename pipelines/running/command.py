"""What every job's `main` needs around its flow: Beam's pipeline, a user's mistake in one sentence, an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, TypeVar

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from rich.console import Console

from pipelines import local
from pipelines.running.flags import parse
from pipelines.running.output import JobFailed
from pipelines.running.units import one_line
from schemas.lock import FolderInUse

T = TypeVar("T")

OK, FAILED, USAGE, STOPPED = 0, 1, 2, 130

_STORES = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google")
"""Packages of object stores, whose errors are not all OSErrors."""

_BEAMS_READERS = ("beam_control_read", "read_grpc_client_inputs")

_LOCAL = ("DirectRunner", "SwitchingDirectRunner", "BundleBasedDirectRunner", "FnApiRunner")


def main(
    prog: str,
    manual: str,
    kind: type[T],
    job: Callable[[T, list[str]], int],
    argv: Sequence[str] | None,
    share: Callable[[T], None] = lambda _options: None,
) -> int:
    """Run a job as a command and give its exit code.

    Args:
        prog: how it is called, such as `pipelines.ingest`.
        manual: the job's docstring.
        kind: its options, a dataclass of dataclasses.
        job: does it, given the options and Beam's flags.
        argv: the flags, or None for the process's own.
        share: loads, given the options, what workers that are forked may share; beside the job, and without threads.
    """
    _quieten()
    others = {child.pid for child in psutil.Process().children()}
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, _stop)
    try:
        options, flags = parse(prog, manual, kind, argv)
        with local.forking(lambda: share(options)) if argv is None else contextlib.nullcontext():
            return job(options, flags)
    except KeyboardInterrupt:
        return _tell(prog, "stopped; what is finished is safe, the same command goes on from there", STOPPED)
    except JobFailed as error:
        return _tell(prog, str(error), FAILED)
    except BrokenPipeError:  # who read our output has gone, as after `| head`; the work is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (ValueError, FolderInUse) as error:
        return _tell(prog, str(error), USAGE)
    except OSError as error:
        return _tell(prog, one_line(error), FAILED)
    except ImportError as error:  # fsspec's, for a store whose package is not installed
        return _tell(prog, f"{error}; install that package beside this one", USAGE)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _STORES:
            raise
        return _tell(prog, f"the store failed ({one_line(error)}); the same command goes on from there", FAILED)
    finally:
        _end_workers(others)
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def pipeline(flags: list[str], processes: int) -> Iterator[beam.Pipeline]:
    """A Beam pipeline that runs when the block ends: in processes of this machine unless a runner is named.

    Raises:
        JobFailed: if the runner gave up.
    """
    options = PipelineOptions(flags)
    runner: Any = options.view_as(StandardOptions).runner
    if runner is None or runner.rpartition(".")[2] in _LOCAL:
        runner = local.runner(options, flags, processes)
    p = beam.Pipeline(runner, options=options)
    yield p
    try:
        p.run().wait_until_finish()
    except RuntimeError as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise JobFailed(
            f"the runner gave up ({first[:300]}); finished shards are safe, the same command goes on from there"
        ) from error


def _tell(prog: str, message: str, code: int) -> int:
    """One line: what a damaged file holds may be in the message, and is not for a terminal to obey."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split()))
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"{prog}: {shown}")
    return code


def _quieten() -> None:
    """Beam installs a root handler while it is imported, and says much of itself that is not for a user."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR, force=True)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    threading.excepthook = _tell_of_thread


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
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
