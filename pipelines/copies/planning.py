"""`python -m pipelines.dedup --plan`: what is cleaned already, and the time to embed the pictures that are left."""

from __future__ import annotations

from dataclasses import replace

from pipelines.copies.comparing import VECTORS
from pipelines.copies.embedding import EmbedPairs
from pipelines.copies.passes import Passes
from pipelines.running.done_units import undone
from pipelines.running.planning import seconds_a_row, standing, time_of
from schemas.planning import Plan, with_hours

_WHAT = "for a few pictures were embedded here; comparing them is not counted"


def plan(passes: Passes, output: str) -> Plan:
    """What a run of these passes would find and do; writes nothing.

    Args:
        passes: over the dataset, which hold nothing.
        output: the output folder, which need not be there.

    Raises:
        ValueError: if it was made by or from something else.
    """
    recipe = passes.recipe()
    found = standing(output, recipe, passes.options.incremental_mode, lambda _: passes.units(recipe))
    if found.plan.state == "done" or not found.left:
        return found.plan
    units = passes.embedding_units
    left = undone(passes.folder.inside(VECTORS), units)
    pictures = {unit.shard: unit.rows for unit in units}
    references = sum(len(one.pictures) for one in passes.sets)
    figures = {"pictures": sum(unit.rows for unit in left), "references": references}
    made = replace(found.plan, figures=figures)
    if not figures["pictures"]:
        return with_hours(made, None, "", "the pictures are embedded, and how long comparing takes is not known before")
    rate = seconds_a_row(
        EmbedPairs(pairs=passes.pairs, detector=passes.options.detector, fingerprint=passes.embedder.fingerprint),
        max(left, key=lambda unit: unit.rows),
    )
    if rate is None:
        return with_hours(made, None, "", "no picture could be tried")
    processes = passes.engine.processes_for(len(left))
    seconds = time_of(pictures, left, rate, processes) + references * rate / max(1, processes)
    return with_hours(made, seconds, _WHAT)
