"""`python -m pipelines.ingest --plan`: probe a list and say what collecting it would give and take."""

from __future__ import annotations

import os
import sys

from pipelines.forecast import Machine, draw, forecast, print_forecast, probe
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.ingest_recipe import open_list
from pipelines.work.journey import Journey


def plan(options: IngestOptions, name: str) -> None:
    """Print the forecast of a list, which the user knows by this name; writes nothing.

    Raises:
        ValueError: if the list is not what the flags say, or has no rows.
        OSError: if it is not there.
    """
    source = open_list(options)
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
    print_forecast(forecast(probed, machine), name)
