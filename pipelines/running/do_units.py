"""Do what is undone of some units, in Beam: on processes of this machine, or wherever `--runner` says."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import local
from pipelines.running.causes import cause_of
from pipelines.running.do_unit import DoUnit, Work
from pipelines.running.done_units import undone
from pipelines.running.finishing import JobFailed
from pipelines.running.progress import progress
from pipelines.running.unit import Unit
from schemas.folder import Folder

_LOCAL = ("DirectRunner", "SwitchingDirectRunner", "BundleBasedDirectRunner", "FnApiRunner")


@dataclass(frozen=True)
class Engine:
    """Where units are done."""

    flags: list[str]
    """Beam's, as the user gave them."""
    processes: int = 0
    """Worker processes on this machine, at most; 0 is one for each core."""
    quiet: bool = False
    """Whether nothing is said of how far it is, but on a terminal, where that goes again."""

    def processes_for(self, units: int) -> int:
        """Never more than there are units."""
        return min(self.processes or len(os.sched_getaffinity(0)), units)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is done to units, and how it is called."""

    work: Work
    title: str
    """What progress is shown under."""
    label_of_units: str = "units"
    """How Beam calls the units."""
    label: str = ""
    """How Beam calls what is done to them; by default the title."""
    again: bool = False
    """Whether units are done that are done before, but for those that the draft of this change holds."""


class DoesUnits(Protocol):
    """Does what is undone of some units, wherever the job has its units done."""

    def __call__(self, folder: Folder, units: Sequence[Unit], step: Step) -> None:
        """Return when all are done."""
        ...


def do_units(folder: Folder, units: Sequence[Unit], step: Step, engine: Engine) -> None:
    """Do what is undone of the units, and show progress; a unit that fails does not keep the others from being done.

    Raises:
        JobFailed: if the runner gave up.
    """
    todo = undone(folder.own if step.again else folder, units)
    if not todo:
        return
    with progress(folder, todo, step.title, quiet=engine.quiet):
        in_beam(DoUnit(step.work, _for_workers(folder, todo), again=step.again), todo, step, engine)


def _for_workers(folder: Folder, todo: Sequence[Unit]) -> Folder:
    """The folder with no more of the run's claim than workers need, who change nothing but files of their units."""
    if folder.claim is None:
        return folder
    shards = {unit.shard for unit in todo}
    return folder.claimed(folder.claim.only(lambda path: not shards.isdisjoint(re.findall(r"\d+", path))))


def in_beam(do_unit: DoUnit, todo: Sequence[Unit], step: Step, engine: Engine) -> None:
    """Do units in a Beam pipeline.

    Raises:
        JobFailed: if the runner gave up.
    """
    with _pipeline(engine, len(todo)) as p:
        (
            p
            | step.label_of_units >> beam.Create(todo)
            | "spread them" >> beam.Reshuffle()
            | (step.label or step.title) >> beam.ParDo(do_unit)
        )


@contextlib.contextmanager
def _pipeline(engine: Engine, units: int) -> Iterator[beam.Pipeline]:
    """A Beam pipeline that runs when the block ends: in processes of this machine unless a runner is named."""
    options = PipelineOptions(engine.flags)
    runner: Any = options.view_as(StandardOptions).runner
    is_local = runner is None or runner.rpartition(".")[2] in _LOCAL
    run_in = _in_this_thread
    if is_local:
        processes = engine.processes_for(units)
        runner = local.runner(options, engine.flags, processes)
        run_in = _in_a_thread if local.has_workers(engine.flags, processes) else _in_this_thread
    p = beam.Pipeline(runner, options=options)
    yield p
    try:
        run_in(lambda: p.run().wait_until_finish())
    except (RuntimeError, OSError, ValueError) as error:  # what units raise, their own border aside, comes as any
        raise JobFailed(
            f"the runner gave up ({cause_of(error)}); finished shards are safe, the same command goes on from there"
        ) from error


def _in_this_thread(work: Callable[[], Any]) -> None:
    work()


def _in_a_thread(work: Callable[[], Any]) -> None:
    """Do it in a thread of its own, and wait for that in a way that a signal ends at once.

    Beam's runner waits for its threads, which wait for workers; a command that is asked to end kills its workers and
    waits for nobody.
    """
    ended = Future[None]()

    def run() -> None:
        try:
            work()
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001  it is raised again, by who waits
            ended.set_exception(error)

    threading.Thread(target=run, name="pipeline", daemon=True).start()
    ended.result()
