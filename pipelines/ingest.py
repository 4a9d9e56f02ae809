"""Collect image-caption pairs: from a list of links to checked shards with a ledger of every row.

    python -m pipelines.ingest --url_list pairs.csv --output_folder pairs

leaves in `pairs/`, for every shard, `00000.tar` (key.jpg, key.txt, key.json of the kept), `00000.parquet` (the ledger:
one row for every input row, with status, stage and reason) and `00000_stats.json`, and at last `manifest.json`.
The same command goes on where it was interrupted. With --plan it probes a few rows, drawn at random, and prints what
will be kept, which links are dead, how much disk and time it will take, and writes nothing. Without --url_list it
collects a sample web that it draws and serves itself into `data/sample/pairs`. Flags that are not listed here go to
Apache Beam (--runner, ...).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines.fetching.options import FetchOptions
from pipelines.forecast import Machine, draw, forecast, print_forecast, probe
from pipelines.lists import ListOptions, open_source
from pipelines.lists.slices import Unit, make_plan
from pipelines.running import command, output
from pipelines.running.options import no_change_of_bytes, options_json
from pipelines.running.output import IncrementalMode, Recipe
from pipelines.running.progress import progress
from pipelines.running.report import human_bytes, print_failures, print_report
from pipelines.running.units import DoUnits, undone
from pipelines.stages.decode import PictureOptions
from pipelines.stages.filter import FilterOptions, load_models
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.collect import Collect, CollectAgain
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.manifest import Counts, Marker, fingerprint, versions
from schemas.pair_shards import OutputFormat
from schemas.pairs import ledger_schema
from schemas.sample import PAIRS, SAMPLE

SAMPLE_ROWS_PER_SHARD = 100

_MAKE_THE_BYTES = ("numpy", "opencv-python-headless", "pillow", "pillow-heif", "py3langid", "pyarrow", "simplejpeg")


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """All options of the job."""

    source: ListOptions = field(default_factory=ListOptions)
    output_folder: str | None = no_change_of_bytes(default=None)
    """Where the dataset goes: a path or an fsspec URL."""
    output_format: OutputFormat = "webdataset"
    """webdataset: tars and a ledger; parquet: the pictures are a column of the ledger."""
    number_sample_per_shard: int = 10_000
    """Rows of the list that make a shard, kept or not."""
    oom_shard_count: int = 5
    """Digits of a shard's number, at least."""
    incremental_mode: IncrementalMode = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew; extend: add another list; retry: ask again for what
    failed for a reason that may have passed."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine; 0 is one for each core."""
    plan: bool = no_change_of_bytes(default=False)
    """Only probe 0.5 % of the rows (at least 200, at most 5,000) and print what the whole list will give and take."""
    filtering: FilterOptions = field(default_factory=FilterOptions)
    pictures: PictureOptions = field(default_factory=PictureOptions)
    fetching: FetchOptions = field(default_factory=FetchOptions)
    hashes: HashOptions = field(default_factory=HashOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if self.number_sample_per_shard < 1:
            raise ValueError(f"--number_sample_per_shard {self.number_sample_per_shard}: expected 1 or more")
        if not 1 <= self.oom_shard_count <= 12:
            raise ValueError(f"--oom_shard_count {self.oom_shard_count}: expected 1 to 12")
        if self.output_folder == "":
            raise ValueError("--output_folder is empty; say where the dataset goes")
        if self.processes_count < 0:
            raise ValueError(f"--processes_count {self.processes_count}: expected 0 (all cores) or more")
        if self.hashes.extra in self.source.save_additional_columns:
            raise ValueError(
                f"--compute_hash {self.hashes.extra}: makes a column that --save_additional_columns names as well; "
                "leave one of them out"
            )
        if self.incremental_mode == "retry" and self.not_saved:
            raise ValueError(
                f"--incremental_mode retry: the ledger does not have the column '{self.not_saved}' of --verify_hash; "
                "collect with it in --save_additional_columns to verify what is fetched again"
            )
        if self.plan and self.incremental_mode == "retry":
            raise ValueError("--plan: probes a list, and --incremental_mode retry reads none; leave one of them")

    @property
    def not_saved(self) -> str | None:
        """A column of the list that is read and does not go into the ledger."""
        column = self.hashes.column
        return None if column in self.source.save_additional_columns else column


def ingest(options: IngestOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if options.source.url_list is None:
        return _ingest_sample(options, flags)
    if options.plan:
        return _plan(options, options.source.url_list)
    if options.output_folder is None:
        raise ValueError("--output_folder is missing; say where the dataset made of --url_list goes")
    folder = Folder(options.output_folder)
    folder.make()
    begun = time.monotonic()
    with only_run(folder):
        folder.sweep()
        if options.incremental_mode == "retry":
            counts, markers = _collect_again(folder, options, flags)
        else:
            counts, markers = _collect(folder, options, flags)
    _report(folder, counts, markers, time.monotonic() - begun)
    return command.OK


def _ingest_sample(options: IngestOptions, flags: list[str]) -> int:
    if options.source != ListOptions():
        raise ValueError("--url_list is missing; say which list the other flags are about")
    output_folder = options.output_folder or PAIRS
    from pipelines import sample_web  # who brings a list of their own need not wait for it

    todo = "probing" if options.plan else "collecting"
    into = "" if options.plan else f", into {output_folder}"
    print(f"no --url_list given: {todo} the sample web, drawn and served by this command{into}")
    leave_nothing = options.plan and not sample_web.is_drawn(SAMPLE)
    with _sample_folder(leave_nothing) as place, sample_web.serve(web := sample_web.build(place)) as hosts:
        fetching = replace(options.fetching, connect_to=(*options.fetching.connect_to, *hosts))
        every = SAMPLE_ROWS_PER_SHARD if options.number_sample_per_shard == 10_000 else options.number_sample_per_shard
        here = replace(
            options,
            source=ListOptions(url_list=str(web.links)),
            output_folder=output_folder,
            number_sample_per_shard=every,
            fetching=fetching,
        )
        if options.plan:
            return _plan(here, "the sample web")
        code = ingest(here, flags)
    sample_web.print_tally(web, Folder(output_folder))
    return code


@contextlib.contextmanager
def _sample_folder(leave_nothing: bool) -> Iterator[str]:
    """Where the sample web is drawn: a plan leaves nothing behind."""
    if leave_nothing:
        with tempfile.TemporaryDirectory() as place:
            yield place
    else:
        yield SAMPLE


def _plan(options: IngestOptions, what: str) -> int:
    """Say what collecting the list would give and take."""
    source = open_source(_columns_read(options))
    ledger_schema(pa.schema([(name, pa.null()) for name in options.source.save_additional_columns]))
    drawn = draw(source.rows())
    print(f"probing {len(drawn.numbers):,} of {drawn.rows:,} rows", file=sys.stderr)
    found = probe(drawn, Collect(**_of_work(Folder("."), options), local_folder=source.local_folder))
    cores = len(os.sched_getaffinity(0))
    machine = Machine(
        processes=options.processes_count or cores,
        cores=cores,
        rows_per_shard=options.number_sample_per_shard,
        output_format=options.output_format,
        fetching=options.fetching,
    )
    print_forecast(forecast(found, machine), what)
    return command.OK


def _collect(folder: Folder, options: IngestOptions, flags: list[str]) -> tuple[Counts, list[Marker]]:
    source, cut_every = open_source(_columns_read(options)), options.number_sample_per_shard
    ledger_schema(pa.schema([(name, pa.null()) for name in options.source.save_additional_columns]))
    cut = {"number_sample_per_shard": cut_every, "oom_shard_count": options.oom_shard_count}
    recipe = _recipe(options, source.inputs(), {**options_json(options.source), **cut})
    start = output.start(folder, recipe, options.incremental_mode)
    if start.notice:
        print(start.notice, file=sys.stderr)
    if start.finished:
        print(f"{folder}: is finished already, nothing to do", file=sys.stderr)
        output.tidy(folder)
        return Counts.of_json(start.finished["counts"]), []
    plan = make_plan(
        source.rows(),
        folder,
        recipe.identity if options.not_saved is None else fingerprint([recipe.identity, options.not_saved]),
        cut_every,
        first=start.first,
        digits=options.oom_shard_count,
    )
    output.begin(folder, recipe, start)
    units = recipe.units(plan.units, plan.hashes)
    work = Collect(**_of_work(folder, options), types=plan.types, local_folder=source.local_folder)
    _run(folder, undone(folder, units), DoUnits(work, folder), options, flags)
    return output.finish(folder, recipe, units, before=start.before)


def _columns_read(options: IngestOptions) -> ListOptions:
    """The list as it is read: with the column of sums, also where that is not kept."""
    if options.not_saved is None:
        return options.source
    columns = (*options.source.save_additional_columns, options.not_saved)
    return replace(options.source, save_additional_columns=columns)


def _collect_again(folder: Folder, options: IngestOptions, flags: list[str]) -> tuple[Counts, list[Marker]]:
    recipe, units = output.start_again(folder, _recipe(options, (), {}))
    work = CollectAgain(**_of_work(folder, options))
    _run(folder, output.may_pass(folder, units), DoUnits(work, folder, again=True), options, flags)
    return output.finish(folder, recipe, units)


def _run(folder: Folder, todo: list[Unit], do_units: DoUnits, options: IngestOptions, flags: list[str]) -> None:
    if not todo:
        return
    processes = options.processes_count or len(os.sched_getaffinity(0))
    with progress(folder, todo, "ingest"), command.pipeline(flags, min(processes, len(todo))) as p:
        (
            p
            | "units of the list" >> beam.Create(todo)
            | "spread them" >> beam.Reshuffle()
            | "refuse by caption, fetch, decode, refuse by shape, store" >> beam.ParDo(do_units)
        )


def _recipe(options: IngestOptions, inputs: Sequence[Mapping[str, Any]], cut: Mapping[str, Any]) -> Recipe:
    parts = (options.filtering.thresholds(), options.pictures, options.fetching, options.hashes)
    work = {name: value for part in parts for name, value in options_json(part).items()}
    return Recipe(
        job="ingest",
        table="pairs",
        inputs=inputs,
        cut=cut,
        options={**work, "output_format": options.output_format},
        versions=versions(*_MAKE_THE_BYTES),
    )


def _of_work(folder: Folder, options: IngestOptions) -> dict[str, Any]:
    return {
        "folder": folder,
        "limits": options.filtering.thresholds(),
        "pictures": options.pictures,
        "fetching": options.fetching,
        "hashes": options.hashes,
        "not_saved": options.not_saved,
        "output_format": options.output_format,
        "rows_per_shard": options.number_sample_per_shard,
    }


def _report(folder: Folder, counts: Counts, markers: list[Marker], seconds: float) -> None:
    fetched = sum(marker.run.get("bytes_fetched", 0) for marker in markers)
    stored = sum(file.size for marker in markers for file in marker.files)
    facts: dict[str, Any] = {"dataset": folder}
    if markers:
        rows = sum(marker.counts.rows for marker in markers)
        kept = sum(marker.counts.kept for marker in markers)
        facts |= {
            "rate": f"{kept / seconds:,.1f} images/s kept, {rows / seconds:,.1f} rows/s, {seconds:,.1f} s in all",
            "bytes": f"{human_bytes(fetched)} fetched, {human_bytes(stored)} stored in {len(markers)} shards",
        }
    print_report("ingest", counts, facts)
    worst: Counter[tuple[str, str]] = Counter()
    for marker in markers:
        for host, reason, n in marker.run.get("failures_by_host", ()):
            worst[host, reason] += n
    print_failures(counts, worst)


def _share(options: IngestOptions) -> None:
    if options.processes_count != 1:
        load_models(options.filtering.thresholds())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return command.main("pipelines.ingest", __doc__ or "", IngestOptions, ingest, argv, _share)


if __name__ == "__main__":
    sys.exit(main())
