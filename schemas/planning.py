"""`--plan` of every job: what is done already, what there is to do and for how long, said before anything is written.

A job does with `--plan` all that it does before its first byte: it reads its flags, judges its output folder, opens
what it reads, decides what is missing. What it cannot open because no job has left it there yet (`NotThereYet`) is no
mistake of a plan: the job waits for it. With `--json` the plan is one object on standard output, for whoever strings
jobs together (`pipelines.flow`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TextIO

from schemas.exit_codes import OK
from schemas.options import no_change_of_bytes

State = Literal["done", "goes on", "to do", "anew", "waits"]
"""Nothing to do; begun, and gone on with; not begun; done otherwise, and made anew; what it reads is missing."""

PATIENCE = 1.5
"""Seconds that a job may take to find out its rate."""


@dataclass(frozen=True, kw_only=True)
class SayOptions:
    """What is said, and how much of it."""

    plan: bool = no_change_of_bytes(default=False)
    """Only say what is done, what there is to do, and about how long that will take: an estimate, from what this
    machine does in a second or two, or from how far it has come. Nothing is written."""
    json: bool = no_change_of_bytes(default=False)
    """Print --plan as one JSON object, and nothing else on standard output."""
    quiet: bool = no_change_of_bytes(default=False)
    """Print only what came of it, in a line or two; the rest is in the files that it leaves."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if self.json and not self.plan:
            raise ValueError("--json: is for --plan, which is not given; give both, or neither")


def only_says(words: Sequence[str]) -> bool:
    """Whether the words of a command name nothing but what is to be said: then it takes the sample, as without any.

    >>> only_says([]), only_says(["--plan", "--quiet", "True"]), only_says(["tiny", "--plan"])
    (True, True, False)
    """
    flags = {f"--{one.name}" for one in fields(SayOptions)}
    return all(
        word.partition("=")[0] in flags or (place > 0 and words[place - 1] in flags and not word.startswith("-"))
        for place, word in enumerate(words)
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a job says before it begins."""

    state: State
    why: str = ""
    """Why it waits, or begins anew; a part of a sentence."""
    done: int = 0
    """Units that are done."""
    all: int | None = None
    """Units in all; None if that is not known yet."""
    unit: str = "shard"
    """What a unit is, in the singular."""
    hours: float | None = None
    """That what is left will take on this machine, an estimate; None if nothing honest can be said."""
    why_no_hours: str = ""
    """Why `hours` is not known."""
    rate_from: str = ""
    """What `hours` is estimated from, for a person."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What else is known, as numbers."""
    introduced: bool = False
    """Whether the job has said more of it already, for a person."""


class NotThereYet(ValueError):
    """What a job reads is not there, or not finished: a mistake of who runs the job, and not of who plans it."""

    def __init__(self, sentence: str, path: str | os.PathLike[str]) -> None:
        super().__init__(sentence)
        self.path = os.fspath(path)


@dataclass
class _Planning:
    """A plan that is being made."""

    output: str | None = None
    also_writes: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)


_planning: ContextVar[_Planning | None] = ContextVar("planning", default=None)


def is_planning() -> bool:
    """Whether a plan is being made, so that nothing may be written."""
    return _planning.get() is not None


def reads(*paths: str | os.PathLike[str] | None) -> None:
    """Note what a job reads; called by whoever opens it, before it is known whether it is there."""
    if (planning := _planning.get()) is not None:
        new = (os.fspath(path) for path in paths if path is not None)
        planning.reads += [path for path in new if path not in planning.reads]


def check_is_there(path: str) -> None:
    """Note what a job reads, and check that something is there.

    Raises:
        NotThereYet: if nothing is.
    """
    reads(path)
    if "://" not in path and not os.path.exists(path):
        raise NotThereYet(f"{path}: is not there", path)


def writes_to(folder: str | os.PathLike[str]) -> None:
    """Note where a job writes."""
    if (planning := _planning.get()) is not None:
        planning.output = os.fspath(folder)


def also_writes_to(folder: str | os.PathLike[str]) -> None:
    """Note where else a job writes what later ones may read."""
    if (planning := _planning.get()) is not None:
        planning.also_writes.append(os.fspath(folder))


class Planned(Exception):
    """The plan of a job is made, wherever in it that was; there is no more to do."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.plan = plan


def planned(job: str, options: SayOptions, work: Callable[[], int]) -> int:
    """Do the work of a job, or with `--plan` that part of it that finds out what there is to do.

    Args:
        job: the name that its manifest has for it, such as `ingest`.
        options: of the command.
        work: gives the exit code; raises `Planned` where it would begin to write.
    """
    if not options.plan:
        return work()
    planning, out = _Planning(), sys.stdout
    reset = _planning.set(planning)
    try:
        with _only(options, out):
            try:
                return work()
            except Planned as made:
                plan = made.plan
                missing = None
            except NotThereYet as error:
                missing = error.path
                plan = Plan(state="waits", why=str(error), why_no_hours=f"{missing} is not there yet")
                reads(missing)
        return _print(job, plan, planning, options, out, missing)
    finally:
        _planning.reset(reset)


@contextlib.contextmanager
def _only(options: SayOptions, out: TextIO) -> Iterator[None]:
    """Inside the block, what is printed beside the JSON object goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        yield


def _print(
    job: str, plan: Plan, planning: _Planning, options: SayOptions, out: TextIO, missing: str | None = None
) -> int:
    if options.json:
        value = {
            "job": job,
            "state": plan.state,
            "why": plan.why,
            "output": planning.output,
            "also_writes": planning.also_writes,
            "reads": planning.reads,
            "waits_for": missing,
            "done": plan.done,
            "all": plan.all,
            "unit": plan.unit,
            "hours": plan.hours,
            "why_no_hours": plan.why_no_hours if plan.hours is None else "",
            "figures": dict(plan.figures),
        }
        print(json.dumps(value, ensure_ascii=False), file=out, flush=True)
        return OK
    if not plan.introduced:
        print(f"{job}, the plan: nothing is written\n", file=out)
    print(f"  state: {state_in_words(plan.state, plan.why, plan.done, plan.all, plan.unit)}", file=out)
    if planning.output is not None:
        print(f"  writes to: {planning.output}", file=out)
    if plan.state != "done":
        said = f"about {time_in_words(plan.hours)}" if plan.hours is not None else f"not known: {plan.why_no_hours}"
        print(f"  time: {said}{f', {plan.rate_from}' if plan.rate_from and plan.hours is not None else ''}", file=out)
    return OK


def state_in_words(state: str, why: str, done: int, all_: int | None, unit: str) -> str:
    """How a plan is told, in a line.

    >>> state_in_words("goes on", "", 3, 9, "shard"), state_in_words("to do", "", 0, 1, "shard")
    ('goes on: 3 of 9 shards are done', 'to do: 1 shard')
    """
    because = f", {why}" if why else ""
    if state == "goes on" and all_ is not None:
        return f"goes on: {done:,} of {all_:,} {unit}s are done{because}"
    if state == "waits":
        return f"waits: {why}"
    if state == "anew":
        return f"is made anew{because}"
    if state == "to do" and all_ is not None:
        return f"to do: {all_:,} {unit}{'' if all_ == 1 else 's'}{because}"
    return f"{state}{because}"


def time_in_words(hours: float) -> str:
    """A time as a person says it.

    >>> [time_in_words(hours) for hours in (0.0002, 0.011, 0.3, 5.5, 300)]
    ['1 s', '40 s', '18 min', '5.5 h', '12.5 days']
    """
    for unit, length, most in (("s", 1 / 3600, 90), ("min", 1 / 60, 90), ("h", 1.0, 48)):
        if hours < most * length:
            return f"{hours / length:.{int(unit == 'h')}f} {unit}"
    return f"{hours / 24:,.1f} days"


def with_hours(plan: Plan, seconds: float | None, rate_from: str, why_not: str = "") -> Plan:
    """The plan with the time that what is left will take.

    Args:
        plan: so far.
        seconds: that it takes; None if nothing honest can be said.
        rate_from: what that was estimated from.
        why_not: why it is not known.
    """
    hours = None if seconds is None else seconds / 3600
    return replace(plan, hours=hours, rate_from=rate_from, why_no_hours="" if hours is not None else why_not)
