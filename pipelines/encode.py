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

import torch

from pipelines.running.command import Command, run
from pipelines.running.dataset import Made, Steps, exit_code, make_dataset, output_folder
from pipelines.running.do_units import Engine, Step, do_units
from pipelines.running.nothing_kept import say_nothing_kept
from pipelines.running.output import Decision
from pipelines.running.report import human_bytes, print_report
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.encode_recipe import recipe_of, units_of, work_of
from schemas import sample
from schemas.exit_codes import NOTHING_KEPT
from schemas.folder import Folder
from schemas.manifest import is_deduplicated
from schemas.opening import open_dataset
from schemas.output_place import check_output


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
        _report(folder, made, time.monotonic() - begun)
    if code == NOTHING_KEPT:
        say_nothing_kept("pipelines.encode", made.counts, f"{pairs}, which keeps no pair")
    return code


def _engine(options: EncodeOptions, flags: list[str]) -> Engine:
    """One worker for each GPU where there are some: two would share its memory."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Engine(flags, options.processes_count or gpus)


def _encode_sample(options: EncodeOptions, flags: list[str]) -> int:
    pairs, vocabulary = sample.sample_folder(sample.CLEAN), options.vocabulary
    if vocabulary == "builtin" and sample.is_there(sample.VOCABULARY):
        vocabulary = sample.VOCABULARY
    print(
        f"no --input_folder given: encoding {pairs} with the vocabulary {vocabulary} and the dVAE {options.dvae}, into "
        f"{sample.EXAMPLES}"
    )
    mode = "overwrite" if sample.is_stale(sample.EXAMPLES, pairs) else options.incremental_mode
    options = replace(options, input_folder=pairs, output_folder=sample.EXAMPLES, vocabulary=vocabulary)
    return encode(replace(options, incremental_mode=mode), flags)


def _report(folder: Folder, made: Made, seconds: float) -> None:
    markers = made.markers
    captions, cut, crops = (sum(m.run.get(name, 0) for m in markers) for name in ("captions", "captions_cut", "crops"))
    stored = sum(file.size for marker in markers for file in marker.files)
    facts = {
        "dataset": folder,
        "captions": f"{captions:,}, {cut:,} of them cut to 256 tokens",
        "crops": f"{crops:,}, {crops / seconds:,.1f} a second, {seconds:,.1f} s in all",
        "bytes": f"{human_bytes(stored)} stored in {counted(len(markers), 'shard')}",
    }
    print_report("encode", made.counts, facts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run(Command("pipelines.encode", __doc__, EncodeOptions, encode), argv)


if __name__ == "__main__":
    sys.exit(main())
