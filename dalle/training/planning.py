"""`--plan` of a training: how many of its steps are done, and for how long the others would take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dalle.training.logs import read_log
from dalle.training.model_folder import ModelRecipe, decide, recipe_in
from dalle.training.options import LoopOptions
from dalle.training.set_aside import is_set_aside
from schemas.folder import Folder
from schemas.journal import is_between
from schemas.planning import PATIENCE, Plan, with_hours

MOST_TRIED = 64
"""Examples of a step that is tried; a larger batch takes as much longer as it has more of them."""
_WHY = {"overwrite": "--incremental_mode overwrite is given", "renew": "what it is trained on has changed"}
_FROM_LOG = "at the rate of its log"
_TRIED = "for a few steps were tried here; evaluations and checkpoints are not counted"


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Steps of a training that all take as long."""

    until: int
    """The last of them, counted from 1."""
    run: Any
    """A run (`dalle.training.loop.Run`) that can be stepped to find out for how long; its weights are thrown away."""
    times: float = 1.0
    """How many times as long these steps take as those of the run."""


@dataclass(frozen=True)
class Trying:
    """What a plan tries."""

    stretches: Sequence[Stretch]
    """All steps of the training."""
    examples: int
    """Of a step of those runs."""
    ahead: bool = False
    """Whether other processes read what is trained on, while a step is taken."""


def standing(options: LoopOptions, recipe: ModelRecipe) -> Plan:
    """How far a training is, without the time for the rest; with that, if its log tells; writes nothing.

    Raises:
        ValueError: if the output folder holds something else.
    """
    folder, steps = options.output_folder, options.steps
    if is_between(Folder(folder)):
        return Plan(state="goes on", done=steps, all=steps, unit="step", hours=0.0, why="its weights are put in place")
    if is_set_aside(folder):
        why = "a run that was to replace a model ended before its first checkpoint"
        return Plan(state="goes on", all=steps, unit="step", why=why)
    found = decide(folder, recipe, steps, options.incremental_mode)
    if found.finished:
        return Plan(state="done", done=steps, all=steps, unit="step", hours=0.0)
    if found.anew:
        return Plan(state="anew", all=steps, unit="step", why=_WHY[options.incremental_mode])
    done = int(found.checkpoint.stem) if found.checkpoint is not None else 0
    plan = Plan(
        state="to do" if recipe_in(folder) is None else "goes on",
        done=done,
        all=steps,
        unit="step",
        why=found.notice.removeprefix(f"{folder}: "),
    )
    speeds = [line["samples_per_second"] for line in read_log(folder) if line.get("samples_per_second", 0) > 0]
    if done and speeds:
        return with_hours(plan, (steps - done) * options.batch_size / speeds[-1], _FROM_LOG)
    return plan


def plan_of_many(options: LoopOptions, recipe: ModelRecipe) -> Plan:
    """What a training would do that several processes were started for, which is not tried."""
    found = standing(options, recipe)
    if found.hours is not None:
        return found
    return with_hours(found, None, "", "steps of several processes are not tried")


def tried_alone(loop: LoopOptions) -> LoopOptions:
    """The same with no more examples in a step than are tried."""
    return replace(loop, batch_size=min(loop.batch_size, MOST_TRIED))


def plan(options: LoopOptions, recipe: ModelRecipe, trying: Callable[[], Trying]) -> Plan:
    """What a training would do, and for how long.

    Args:
        options: of the training.
        recipe: what the model is made from.
        trying: steps to try; called if they are needed.
    """
    found = standing(options, recipe)
    if found.state == "done" or found.hours is not None:
        return found
    seconds, first, taken, tried = 0.0, found.done, dict[int, float](), trying()
    for stretch in tried.stretches:
        if stretch.until > first:
            if id(stretch.run) not in taken:
                taken[id(stretch.run)] = seconds_a_step(stretch.run, ahead=tried.ahead)
            seconds += (stretch.until - first) * stretch.times * taken[id(stretch.run)]
            first = stretch.until
    seconds *= options.batch_size / tried.examples
    figures = {"seconds_a_step": seconds / max(1, options.steps - found.done)}
    return with_hours(replace(found, figures=figures), seconds, _TRIED)


def seconds_a_step(run: Any, *, ahead: bool) -> float:
    """Seconds of a step, of several that are taken for a second or two, after one that pays for what all need.

    Args:
        run: whose weights are changed.
        ahead: whether its batches are read by others meanwhile.
    """
    reading = stepping = 0.0
    steps, begun = 0, time.monotonic()
    with contextlib.closing(iter(run.batches)) as batches:
        run.step(next(batches), 0)
        while not steps or time.monotonic() - begun < PATIENCE:
            before = time.monotonic()
            batch = next(batches)
            between = time.monotonic()
            run.step(batch, 0)
            reading, stepping = reading + between - before, stepping + time.monotonic() - between
            steps += 1
    return (max(reading, stepping) if ahead else reading + stepping) / steps
