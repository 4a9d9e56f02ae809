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

from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    begin_guarded("pipelines.ingest")  # before the imports below, which take seconds

import contextlib
import functools
import sys
import time
from collections.abc import Sequence

from pipelines.fetching.open_files import shortage
from pipelines.forecast.planning import plan
from pipelines.lists.slices import ShardNumbers, make_plan
from pipelines.running.command import Command, run
from pipelines.running.dataset import Made, Steps, exit_code, make_dataset, output_folder
from pipelines.running.do_units import Engine, Step, do_units
from pipelines.running.finishing import check_all_done, finish
from pipelines.running.nothing_kept import say_nothing_kept
from pipelines.running.output import Decision, begin_retry, may_pass
from pipelines.stages.filter import load_models
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.ingest_recipe import identity_of, open_list, recipe_of, recipe_of_list, work_again, work_of
from pipelines.work.ingest_report import report
from schemas.contents import check_no_pictures, check_pictures
from schemas.exit_codes import NOTHING_KEPT
from schemas.folder import Folder
from schemas.output_place import check_output
from schemas.planning import Planned

_step = functools.partial(
    Step,
    title="ingest",
    label_of_units="units of the list",
    label="refuse by caption, fetch, decode, refuse by shape, store",
)


def ingest(options: IngestOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if options.source.url_list is None:
        from pipelines.sample_web.collecting import served_list  # who brings a list of their own need not wait for it

        with served_list(options) as options_of_sample:
            return _ingest(options_of_sample, flags, "the sample web")
    return _ingest(options, flags, " ".join(options.source.url_list))


def _ingest(options: IngestOptions, flags: list[str], name: str) -> int:
    lists = options.source.url_list or ()
    for path in lists:
        if options.source.dataset == "folder":
            check_pictures(path, "--url_list")
        elif options.source.dataset is None:
            check_no_pictures(path, "--url_list")
    reads = {"--url_list": lists, "--image_folder": [options.source.image_folder]}
    if options.output_folder is not None:
        check_output(options.output_folder, "ingest", reads)
    if options.say.plan:
        raise Planned(plan(options, name))
    if options.output_folder is None:
        raise ValueError("--output_folder is missing; say where the dataset made of --url_list goes")
    begun = time.monotonic()
    make = _collect_again if options.incremental_mode == "retry" else _collect
    with output_folder(options.output_folder) as folder:
        made = make(folder, options, Engine(flags, options.processes_count, options.say.quiet))
        code = exit_code(folder, made)
    report(folder, made, time.monotonic() - begun, quiet=options.say.quiet)
    if code == NOTHING_KEPT:
        say_nothing_kept("pipelines.ingest", made.counts, name)
    return code


def _collect(folder: Folder, options: IngestOptions, engine: Engine) -> Made:
    """Open the list, cut it into units, make a shard of each."""
    source = open_list(options)
    if source.local_folder is None:
        _say_what_is_short(options)
    recipe = recipe_of_list(options, source)
    identity = identity_of(options, recipe)

    def prepare(output: Folder, decision: Decision) -> Steps:
        numbers = ShardNumbers(first=decision.first, digits=options.oom_shard_count)
        slices = make_plan(source.rows(), output, identity, options.rows_per_shard, numbers)
        for remark in source.remarks():
            print(f"pipelines.ingest: {remark}", file=sys.stderr)
        units = recipe.units(slices.units, slices.hashes)
        step = _step(work=work_of(output, options, source, slices.types))
        return Steps(units=units, do=lambda: do_units(output, units, step, engine))

    return make_dataset(folder, recipe, options.incremental_mode, prepare)


def _collect_again(folder: Folder, options: IngestOptions, engine: Engine) -> Made:
    """Take the units of a finished dataset in which something failed that may have passed, and fetch that again."""
    _say_what_is_short(options)
    inputs = []
    with contextlib.suppress(FileNotFoundError):  # who asks again need not have kept the list
        inputs = open_list(options).inputs()
    draft, recipe, units = begin_retry(folder, recipe_of(options, inputs, {}))
    again = may_pass(folder, units)
    do_units(draft, again, _step(work=work_again(folder, options), again=True), engine)
    check_all_done(draft.own, again)
    return Made(*finish(draft, recipe, units))


def _say_what_is_short(options: IngestOptions) -> None:
    processes = min(options.processes_count or 4, 4)
    if options.fetching.downloader == "builtin" and (sentence := shortage(options.fetching.thread_count, processes)):
        print(sentence, file=sys.stderr)


def _share(options: IngestOptions) -> None:
    """What forked workers have from the command: the models that tell languages."""
    if options.processes_count != 1:
        load_models(options.filtering.thresholds())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = Command("pipelines.ingest", __doc__, IngestOptions, ingest, _share, decodes=True)
    return run(command, argv)


if __name__ == "__main__":
    sys.exit(main())
