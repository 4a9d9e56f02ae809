"""Take out of a pairs dataset what is a copy of a reference picture, and say what was found.

    python -m pipelines.dedup --input_folder pairs --reference coco=val2017 --output_folder clean

leaves in `clean/` a dataset like the one it came from, without the pictures that look like a reference; in
`clean/dedup/` matches.parquet (the ten references most like a picture), nearest.parquet (the picture most like each
reference), denylist.parquet (what was taken out and why), overlap-coco.txt (the references that have a copy) and
report.html, on which a person checks the decisions by eye and exports decisions.json for --decisions; in
`clean/img_emb/` and `clean/metadata/` the vectors, which later runs use again. Without arguments it takes the sample's
pairs and validation set.

exact.parquet lists the pictures that are in the dataset more than once, byte for byte. They stay, unless --within takes
out copies inside the dataset as well, exact and edited: a picture goes if it is a copy of a larger one that stays, or
of one of its size that comes before it; with --within_linkage single copies of copies go as well.

--threshold is a cosine: lower finds more copies, and more pictures that only look alike. Each detector's default is
where `benchmarks/near_duplicates.py` finds the most copies while nine in ten of what it finds are copies.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded
from schemas.commands.printing import counted

if __name__ == "__main__":
    begin_guarded("pipelines.dedup")  # before the imports below, which take seconds

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipelines import sample_web
from pipelines.copies.decided import check_decisions
from pipelines.copies.embedding import open_detector
from pipelines.copies.options import DedupOptions, decisions_of, thresholds_of
from pipelines.copies.overlap import SetSummary
from pipelines.copies.passes import Passes
from pipelines.copies.planning import plan
from pipelines.copies.reference_sets import find_sets
from pipelines.copies.references import ReferenceArgument
from pipelines.copies.review import PAGE
from pipelines.copies.self_reference import check_no_self_reference
from pipelines.copies.within.finding import EXACT_FILE
from pipelines.running.command import Command, run
from pipelines.running.dataset import Made, Steps, exit_code, make_dataset, output_folder
from pipelines.running.do_units import Engine
from pipelines.running.nothing_kept import say_nothing_kept
from pipelines.running.output import Decision
from pipelines.running.report import print_report
from schemas.exit_codes import NOTHING_KEPT, OK
from schemas.folder import Folder
from schemas.manifest import Counts
from schemas.manifest_shape import TO_MAKE_AGAIN
from schemas.matches import WITHIN
from schemas.opening import open_dataset
from schemas.output_place import check_output
from schemas.planning import NotThereYet, Planned, writes_to
from schemas.sample import CLEAN, PAIRS, SAMPLE, sample_folder
from schemas.shards import read_parquet

_TOO_MANY = "is a reference set what the dataset was collected from, or --threshold too low for it?"


def dedup(options: DedupOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if options.input_folder is None and options.output_folder is None and not options.reference:
        return _dedup_sample(options, flags)
    for name in ("input_folder", "output_folder"):
        if getattr(options, name) is None:
            raise ValueError(f"--{name} is missing")
    if not options.reference and not options.within:
        raise ValueError("--reference is missing; say NAME=PATH of the pictures that must not be in the training data")
    begun = time.monotonic()
    pairs, output = Folder(options.input_folder or ""), options.output_folder or ""
    references = [ReferenceArgument.parse(text).path.rpartition(",")[2] for text in options.reference]
    check_output(output, "dedup", {"--input_folder": [pairs.url], "--reference": references})
    parent = open_dataset(pairs, table="pairs", options=TO_MAKE_AGAIN)
    embedder = open_detector(options.detector)
    thresholds, decisions = thresholds_of(options, embedder), decisions_of(options, embedder)

    def passes_in(folder: Folder) -> Passes:
        passes = Passes(
            options=options,
            engine=Engine(flags, options.processes_count, options.say.quiet),
            folder=folder,
            pairs=pairs,
            parent=parent,
            embedder=embedder,
            thresholds=thresholds,
            decisions=decisions,
            sets=find_sets(options.reference),
        )
        if not options.allow_self_reference:
            check_no_self_reference(passes.sets, pairs, parent)
        for remark in check_decisions(decisions, passes.sets, pairs, parent, within=options.within):
            print(remark, file=sys.stderr)
        return passes

    if options.say.plan:
        raise Planned(plan(passes_in(Folder(output)), output))
    with output_folder(output) as folder:
        passes = passes_in(folder)
        made, summaries = _clean(passes)
        code = exit_code(folder, made)
    _report(passes, made.counts, summaries, time.monotonic() - begun)
    if code == NOTHING_KEPT:
        say_nothing_kept("pipelines.dedup", made.counts, pairs.url, _TOO_MANY)
    return code


def _clean(passes: Passes) -> tuple[Made, list[SetSummary]]:
    """Embed, compare with the references, look inside, take out, put together; then it is a dataset."""
    recipe = passes.recipe()
    units, summaries = passes.units(recipe), list[SetSummary]()

    def prepare(output: Folder, _: Decision) -> Steps:
        return Steps(units=units, do=lambda: summaries.extend(replace(passes, folder=output).run(units)))

    made = make_dataset(passes.folder, recipe, passes.options.incremental_mode, prepare, also_finished=True)
    return made, summaries


def _dedup_sample(options: DedupOptions, flags: list[str]) -> int:
    writes_to(CLEAN)
    sample_folder(PAIRS)
    if not options.say.quiet:
        print(f"no --input_folder given: cleaning the sample's pairs of its validation set, into {CLEAN}")
    if options.say.plan and not sample_web.is_drawn(SAMPLE):
        raise NotThereYet(f"{SAMPLE}: the sample web is not drawn, as python -m pipelines.ingest does", SAMPLE)
    web = sample_web.build(SAMPLE)
    code = dedup(
        replace(
            options,
            input_folder=PAIRS,
            output_folder=CLEAN,
            reference=(f"validation={web.validation}",),
            incremental_mode="renew" if options.incremental_mode == "incremental" else options.incremental_mode,
        ),
        flags,
    )
    if code in (OK, NOTHING_KEPT) and not options.say.quiet:
        pairs, clean = Folder(PAIRS), Folder(CLEAN)
        sample_web.print_tally(web, clean)
        sample_web.print_recall(web, pairs, clean)
    return code


def _report(passes: Passes, counts: Counts, summaries: list[SetSummary], seconds: float) -> None:
    facts: dict[str, Any] = {
        f"references {s.name}": f"{s.overlapping:,} of {s.references:,} have a copy; {counted(s.removed, 'picture')} "
        f"removed at {s.threshold:.3f} and above"
        for s in summaries
    }
    facts |= {
        "copies inside the dataset": _say_within(passes, counts),
        "dataset": passes.folder,
        "rate": f"{counts.rows / seconds:,.1f} rows/s, {seconds:,.1f} s in all",
        "look at": f"{passes.folder}/{PAGE}",
    }
    print_report("dedup", counts, facts, quiet=passes.options.say.quiet)


def _say_within(passes: Passes, counts: Counts) -> str:
    exact = read_parquet(passes.folder, EXACT_FILE, ["key"]).num_rows
    same_bytes = f"{counted(exact, 'picture')} {'has' if exact == 1 else 'have'} the same bytes as an earlier one"
    if not passes.options.within:
        return f"{same_bytes}; they stay, --within takes them and edited copies out"
    gone = {word: counts.reasons["dedup", word] for word in WITHIN}
    return f"{same_bytes}; " + ", ".join(f"{n:,} removed as {word}" for word, n in gone.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run(Command("pipelines.dedup", __doc__, DedupOptions, dedup, decodes=True), argv)


if __name__ == "__main__":
    sys.exit(main())
