"""`python -m pipelines.ingest --plan`: probe a list and say what collecting it would give and take."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from pipelines.forecast import Forecast, Machine, draw, forecast, print_forecast, probe
from pipelines.lists.slices import ShardNumbers, plan_before
from pipelines.lists.source import Source
from pipelines.running.output import Decision, output_of
from pipelines.running.planning import Standing, standing
from pipelines.running.unit import Unit
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.ingest_recipe import identity_of, open_list, recipe_of_list
from pipelines.work.journey import Journey
from schemas.folder import Folder
from schemas.planning import Plan, with_hours


def plan(options: IngestOptions, name: str) -> Plan:
    """What of a list is collected, and the forecast of it, which is printed; writes nothing.

    Args:
        options: of the job; without an output folder nothing is collected yet.
        name: how the user knows the list.

    Raises:
        ValueError: if the list is not what the flags say, or has no rows.
        OSError: if it is not there.
    """
    source = open_list(options)
    found = Standing(plan=Plan(state="to do"))
    if options.output_folder is not None:
        found = _standing(options, source, options.output_folder)
    if found.plan.state == "done" or found.plan.hours == 0:
        return found.plan
    drawn = draw(source.rows())
    for remark in source.remarks():
        print(f"pipelines.ingest: {remark}", file=sys.stderr)
    print(f"probing {len(drawn.numbers):,} of {drawn.rows:,} rows", file=sys.stderr)
    probed = probe(drawn, Journey.of_options(options, source.local_folder))
    cores = len(os.sched_getaffinity(0))
    machine = Machine(
        processes=options.processes_count or cores,
        cores=cores,
        rows_per_shard=options.rows_per_shard,
        output_format=options.output_format,
        fetching=options.fetching,
    )
    said = forecast(probed, machine)
    if not options.say.json:
        print_forecast(said, name)
    rows = sum(unit.rows for unit in found.left) if found.plan.all else drawn.rows
    made = replace(found.plan, introduced=True, figures=_figures(said))
    if not made.all:
        made = replace(made, all=math.ceil(drawn.rows / options.rows_per_shard))
    return with_hours(made, 3600 * said.hours.value * rows / drawn.rows, "at the rate of the rows that were probed")


def _standing(options: IngestOptions, source: Source, output_folder: str) -> Standing:
    """What of the list is collected. Its units are known once it was begun, and none before."""
    recipe, folder = recipe_of_list(options, source), Folder(output_folder)

    def units(decision: Decision) -> Sequence[Unit]:
        numbers = ShardNumbers(first=decision.first, digits=options.oom_shard_count)
        slices = plan_before(output_of(folder, decision), identity_of(options, recipe), numbers)
        return recipe.units(slices.units, slices.hashes) if slices else ()

    return standing(output_folder, recipe, options.incremental_mode, units)


def _figures(said: Forecast) -> dict[str, float]:
    """What the rows that were tried say of all."""
    return {
        "rows": said.rows,
        "probed": said.probed,
        "kept": said.kept[1].times(said.rows).value,
        "bytes_stored": said.disk.value,
        "bytes_fetched": said.network.value,
    }
