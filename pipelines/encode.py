"""Turn clean pairs into examples: captions become text tokens, pictures become codes, for a training to read.

    python -m pipelines.encode --input_folder clean --output_folder examples

leaves in `examples/`, for every shard of the input, `00000.parquet` (key, uid, captions, text_tokens, image_codes,
crop_boxes; one row for every kept pair) and `00000_stats.json`, with --output_format webdataset also `00000.tar`, and
at last `manifest.json`, which names vocabulary, dVAE, precision and crops. The same command goes on where it was
interrupted. `dalle.reading.batches` reads the folder; `python -m pipelines.audit examples --input_folder clean` encodes
a sample of it again and draws a contact sheet. Without --input_folder and --output_folder it takes the sample's clean
pairs, and the vocabulary learnt from them if there is one.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded
from schemas.commands.printing import counted

if __name__ == "__main__":
    begin_guarded("pipelines.encode")  # before the imports below, which take seconds

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from pipelines.running.command import Command, run
from pipelines.running.dataset import Made, Steps, exit_code, make_dataset, output_folder
from pipelines.running.do_units import Engine, Step, do_units
from pipelines.running.nothing_kept import say_nothing_kept
from pipelines.running.output import Decision
from pipelines.running.planning import seconds_a_row, standing, time_of
from pipelines.running.recipe import Recipe
from pipelines.running.report import human_bytes, print_report
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.encode_recipe import recipe_of, units_of, work_of
from pipelines.work.encoding import Encode
from schemas import sample
from schemas.exit_codes import NOTHING_KEPT
from schemas.folder import Folder
from schemas.manifest import Counts, is_deduplicated
from schemas.opening import open_dataset
from schemas.output_place import check_output
from schemas.planning import Plan, Planned, with_hours, writes_to


def encode(options: EncodeOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if options.input_folder is None:
        if options.output_folder is None:
            return _encode_sample(options, flags)
        raise ValueError("--input_folder is missing; say which pairs become the examples in --output_folder")
    pairs, output = Folder(options.input_folder), options.output_folder or "examples"
    check_output(output, "encode", {"--input_folder": [pairs.url]})
    parent = open_dataset(pairs, table="pairs")
    if not is_deduplicated(parent):
        print(f"{pairs}: was never deduplicated; a training will refuse the examples", file=sys.stderr)
    work = work_of(pairs, options)
    recipe = recipe_of(parent, work)
    if options.say.plan:
        raise Planned(_plan(options, parent, work, recipe, output))
    step = Step(
        work=work,
        title="encode",
        label_of_units="shards of pairs",
        label="captions to tokens, crops to codes, store",
    )
    begun = time.monotonic()
    with output_folder(output) as folder:

        def prepare(output: Folder, _: Decision) -> Steps:
            units = units_of(recipe, parent)
            return Steps(units=units, do=lambda: do_units(output, units, step, _engine(options, flags)))

        made = make_dataset(folder, recipe, options.incremental_mode, prepare)
        code = exit_code(folder, made)
    if not made.already:
        _report(folder, made, time.monotonic() - begun, quiet=options.say.quiet)
    if code == NOTHING_KEPT:
        say_nothing_kept("pipelines.encode", made.counts, f"{pairs}, which keeps no pair")
    return code


def _plan(options: EncodeOptions, parent: dict[str, Any], work: Encode, recipe: Recipe, output: str) -> Plan:
    """What is done, and the time for the pictures that are left."""
    found = standing(output, recipe, options.incremental_mode, lambda _: units_of(recipe, parent))
    if not found.left:
        return found.plan
    kept = {shard["name"]: Counts.of_json(shard["counts"]).kept for shard in parent["shards"]}
    largest = max(found.left, key=lambda unit: kept[unit.shard])
    rate = found.rate or seconds_a_row(work, largest)
    if rate is None:
        return replace(found.plan, hours=0.0)
    seconds = time_of(kept, found.left, rate, _engine(options, []).processes_for(len(found.left)))
    what = "from what is done" if found.rate else "for a few pictures were encoded here"
    figures = {"pictures": sum(kept[unit.shard] for unit in found.left), "seconds_a_picture": rate}
    return with_hours(replace(found.plan, figures=figures), seconds, what)


def _engine(options: EncodeOptions, flags: list[str]) -> Engine:
    """One worker for each GPU where there are some: two would share its memory."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Engine(flags, options.processes_count or gpus, options.say.quiet)


def _encode_sample(options: EncodeOptions, flags: list[str]) -> int:
    writes_to(sample.EXAMPLES)
    pairs, vocabulary = sample.sample_folder(sample.CLEAN), options.vocabulary
    if vocabulary == "builtin" and sample.is_there(sample.VOCABULARY):
        vocabulary = sample.VOCABULARY
    said = (
        f"no --input_folder given: encoding {pairs} with the vocabulary {vocabulary} and the dVAE {options.dvae}, into "
        f"{sample.EXAMPLES}"
    )
    if not options.say.quiet:
        print(said)
    options = replace(options, input_folder=pairs, output_folder=sample.EXAMPLES, vocabulary=vocabulary)
    if options.incremental_mode == "incremental":
        options = replace(options, incremental_mode="renew")
    return encode(options, flags)


def _report(folder: Folder, made: Made, seconds: float, *, quiet: bool) -> None:
    markers = made.markers
    captions, cut, crops = (sum(m.run.get(name, 0) for m in markers) for name in ("captions", "captions_cut", "crops"))
    stored = sum(file.size for marker in markers for file in marker.files)
    facts = {
        "captions": f"{captions:,}, {cut:,} of them cut to 256 tokens",
        "crops": f"{crops:,}, {crops / seconds:,.1f} a second, {seconds:,.1f} s in all",
        "bytes": f"{human_bytes(stored)} stored in {counted(len(markers), 'shard')}",
        "dataset": folder,
    }
    print_report("encode", made.counts, facts, quiet=quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run(Command("pipelines.encode", __doc__, EncodeOptions, encode), argv)


if __name__ == "__main__":
    sys.exit(main())
