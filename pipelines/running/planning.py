"""`--plan` of a job that leaves a dataset: what of it is done, and for how long what is left would take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.running.do_unit import Work
from pipelines.running.done_units import read_markers, undone
from pipelines.running.output import Decision, IncrementalMode, decide, output_of, recipe_of_draft
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from schemas.draft import Draft
from schemas.folder import RECIPE, Folder, Staging
from schemas.journal import is_between
from schemas.manifest import Counts
from schemas.planning import PATIENCE, Plan

ALMOST = "all is made and was just being put in place"
"""Of a run that was killed while it did that."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a dataset is."""

    plan: Plan
    left: Sequence[Unit] = ()
    """What is to do."""
    rate: float | None = None
    """Seconds that a worker took for a row that was kept, as the markers of the units that are done say."""


def standing(url: str, recipe: Recipe, mode: IncrementalMode, units: Callable[[Decision], Sequence[Unit]]) -> Standing:
    """What a run of this recipe would find in its output folder; writes nothing.

    Args:
        url: of the output folder, which need not be there.
        recipe: of the run.
        mode: what may be done to what is there.
        units: all units of the dataset, with their fingerprints, given what the run begins with.

    Raises:
        ValueError: if the folder was made by or from something else and the mode does not say what to do about it.
    """
    folder = Folder(url)
    if is_between(folder):
        return Standing(plan=Plan(state="goes on", why=ALMOST, hours=0.0))
    decision = decide(folder, recipe, mode)
    if decision.finished:
        shards = len(decision.finished["shards"])
        return Standing(plan=Plan(state="done", done=shards, all=shards, hours=0.0))
    all_units = units(decision)
    output = _output(folder, recipe, decision)
    left = list(all_units) if output is None else undone(output, all_units)
    done = [] if output is None else sorted({*all_units} - {*left}, key=lambda unit: unit.shard)
    plan = Plan(state="to do", done=len(done), all=len(all_units))
    if decision.replaces and all_units and not (left or decision.anew or decision.notice):
        return Standing(plan=replace(plan, state="done", hours=0.0))  # of a job that goes through it once more
    if decision.replaces or decision.anew:
        why = decision.notice.removeprefix(f"{folder}: ") or (
            "what it was made from has changed" if mode == "renew" else "--incremental_mode overwrite is given"
        )
        plan = replace(plan, state="anew", why=why if decision.anew or decision.notice else "a part of it is gone")
    elif folder.exists(RECIPE):
        plan = replace(plan, state="goes on")
    markers = read_markers(output, done) if output is not None else []
    kept, seconds = sum(m.counts.kept for m in markers), sum(float(m.run.get("duration", 0)) for m in markers)
    return Standing(plan=plan, left=left, rate=seconds / kept if kept and seconds else None)


def _output(folder: Folder, recipe: Recipe, decision: Decision) -> Folder | None:
    """Where units may be done already; None if nothing of what is there is gone on with."""
    output = output_of(folder, decision)
    if isinstance(output, Draft):
        begun = {**recipe.to_json(), "anew": decision.anew, "extends": decision.extends is not None}
        if recipe_of_draft(output.own) == begun:
            return output
    return None if decision.anew else folder


class _Enough(Exception):
    """A work was done for long enough to know its rate."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept


def seconds_a_row(work: Work, unit: Unit) -> float | None:
    """Seconds that one worker takes for a row that is kept; None if the unit has none.

    The work is begun on a unit, and given up after a second or two; what it leaves is thrown away.

    Args:
        work: of the job.
        unit: one that is to do.
    """
    work.prepare()
    before: int | None = None
    begun = time.monotonic()

    def note(so_far: Counts) -> None:
        nonlocal before, begun
        if before is None:  # what is said first is said after one row, which pays for what all need
            before, begun = so_far.kept, time.monotonic()
        elif time.monotonic() - begun > PATIENCE:
            raise _Enough(so_far.kept - before)

    with tempfile.TemporaryDirectory() as nowhere:
        try:
            with Staging(Folder(nowhere)) as staging:
                kept = work(unit, staging, note).counts.kept - (before or 0)
        except _Enough as enough:
            kept = enough.kept
    return (time.monotonic() - begun) / kept if kept > 0 else None


def time_of(kept: Mapping[str, int], left: Sequence[Unit], rate: float, processes: int) -> float:
    """Seconds for what is left of a dataset.

    Args:
        kept: rows that are kept of each shard.
        left: units that are to do.
        rate: seconds that a worker takes for one of them.
        processes: workers.
    """
    return sum(kept[unit.shard] for unit in left) * rate / max(1, processes)
