"""Judge pictures that a model drew: FID, Inception Score, KID and how well they match their captions, as a paper would
print them (Ramesh et al. 2021, §3).

    python -m dalle.evaluate --samples drawn --reference val2017 --weights pt_inception-2015-12-05-6726825d.pth \\
        --output_folder judged
    python -m dalle.evaluate --samples drawn --reference val --without clean/dedup/overlap-coco.txt \\
        --scale tf dmgan --weights pt_inception-2015-12-05-6726825d.pth inception_v3_google-0cc3c7bd.pth \\
        --output_folder judged
    python -m dalle.evaluate --captions 30000 --captions_from captions_val2014.json --seed 0 --output_folder captions
    python -m dalle.evaluate --prior prior --captions 30000 --captions_from captions_val2014.json --reference val2014 \\
        --reranker contrastive --samples_per_caption 64 --weights pt_inception-2015-12-05-6726825d.pth \\
        --output_folder judged
    python -m dalle.evaluate --samples drawn --reference val2017 --features builtin --output_folder judged

Samples are a folder of pictures or the samples.parquet of a generation, of which the best of each caption counts, or
are drawn here by --prior; references are a dataset of pairs, a folder of pictures, or statistics (.npz) of pytorch-fid,
DM-GAN or ours. Both are blurred at --blur radii, as in the paper's Figure 9. There are two scales whose numbers cannot
be compared: `tf`, which nearly everybody uses, resized as --resize says, and `dmgan`, which the paper used. Weights are
downloaded by you, once, and are known by their sha256; without any, --features builtin gives a distance that is no FID
and is not called so.

With --reranker it is also said how well pictures match their captions: their mean score, and how often a picture finds
its own caption among a hundred; beside it the same of the references, where they are pairs.

In the output folder are evaluation.json, with every choice, what was compared and the lineage behind it,
evaluation.png, captions.jsonl and captions.txt if captions were drawn, drawn/ as dalle.generate leaves it if pictures
were, statistics/ with --save_statistics, and _features/, by which the same command goes on where it was killed, and
others need not compute again.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.evaluate")  # before the imports below, which take seconds

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dalle import contrastive
from dalle.drawing.captions import captions_of
from dalle.drawing.generator import Generator
from dalle.drawing.job import Drawing
from dalle.drawing.options import GenerateOptions
from dalle.drawing.planning import plan as plan_of_drawing
from dalle.drawing.watching import Watcher
from dalle.evaluation.best_of import check_best_of, measure_best_of
from dalle.evaluation.blur import RADII
from dalle.evaluation.captions import CAPTIONS, Caption, draw_captions, write_captions
from dalle.evaluation.figures import figures, write_all_statistics
from dalle.evaluation.judging import Judge, Task
from dalle.evaluation.options import EvaluateOptions
from dalle.evaluation.output import BEST_OF, DRAWN, EVALUATION, FEATURES, PLOT, begin, check_before, finish
from dalle.evaluation.overlap import read_overlap
from dalle.evaluation.pictures import Source, open_source
from dalle.evaluation.planning import plan
from dalle.evaluation.plot import draw_plot
from dalle.evaluation.progress import Progress
from dalle.evaluation.report import match_table, tables
from dalle.evaluation.samples import GeneratedSource
from dalle.evaluation.scales import device_of, load_scales
from dalle.evaluation.statistics import Statistics, read_statistics
from dalle.flags import parse_options
from schemas.commands.ending import CommandFailed, CommandWords, conclude
from schemas.commands.printing import coloured, trusted
from schemas.exit_codes import OK
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.output_place import check_output, made
from schemas.planning import Plan, Planned, SayOptions, planned

STOPPED = "stopped; what is drawn and the features that are computed are kept, and the same command goes on from them"


def evaluate(options: EvaluateOptions) -> int:
    """Judge, and leave the numbers; gives the exit code."""
    compared = {"--samples": [options.samples], "--reference": [options.reference]}
    reads = {**compared, "--captions_from": [options.drawn.captions_from]}
    check_output(options.output_folder or "", "evaluate", reads, on_disk=True)
    folder = Folder(options.output_folder or "")
    captions = None
    if options.drawn.captions is not None:
        drawn = options.drawn
        captions = draw_captions(drawn.captions_from or "", drawn.captions or "", drawn.seed)
    if options.say.plan:
        check_before(folder, options)
    if options.samples is None and options.generator.prior is None:
        return _only_captions(folder, options, captions or [])
    watcher = Watcher(quiet=options.say.quiet)
    drawing = None if options.generator.prior is None else _drawing(folder, options, captions or [], watcher)
    judge = Judge(_task(folder, options, captions))
    scales = [] if options.only_match else load_scales(options.network)
    radii = _radii(options, judge.task.reference)
    if options.say.plan:
        judge.check(scales, radii)
        check_best_of(judge, options.measure.best_of)
        first = None if drawing is None else plan_of_drawing(drawing)
        raise Planned(plan(folder, judge, scales, radii, first))
    with made(folder), only_run(folder) as held:
        judge.check(scales, radii)
        check_best_of(judge, options.measure.best_of)
        begin(held, options)
        with _once_begun():
            print("evaluate\n", flush=True)
            if captions is not None:
                write_captions(held, captions)
            if drawing is not None:
                with watcher.showing():
                    drawing.run()
            matches = judge.matches()
            measured = [judge.measure(scale, radius) for scale in scales for radius in radii]
            best = measure_best_of(judge, scales, options.measure.best_of)
            said = figures(judge, measured, matches, best)
            if options.save_statistics:
                write_all_statistics(held, measured)
            if measured:
                held.write(PLOT, draw_plot(measured))
            if best:
                held.write(BEST_OF, draw_plot(best))
            finish(held, options, said)
    shown = [*tables(measured), *tables(best), *([match_table(matches, options.judged_by or "")] if matches else [])]
    _print(folder, shown, said["warnings"])
    if plots := [name for name, some in ((PLOT, measured), (BEST_OF, best)) if some]:
        print("  look at: " + ", ".join(f"{folder}/{name}" for name in plots))
    return OK


@contextlib.contextmanager
def _once_begun() -> Iterator[None]:
    """What is found to be wrong when something is written already is a failure of the work, and no mistake of flags."""
    try:
        yield
    except ValueError as error:
        raise CommandFailed(str(error)) from None


def _drawing(folder: Folder, options: EvaluateOptions, captions: Sequence[Caption], watcher: Watcher) -> Drawing:
    """What is to be drawn, by models that are there; all that can be wrong with it is found out."""
    chosen, reranker = options.generator, options.match.reranker
    asked = GenerateOptions(
        prior=chosen.prior or "",
        vocabulary=chosen.vocabulary,
        dvae=chosen.dvae,
        reranker=reranker,
        output_folder=Path(folder.path(DRAWN)),
        samples=chosen.samples_per_caption or (16 if reranker else 1),
        keep=1,
        best_of=options.measure.best_of,
        choosing=chosen.choosing,
        seed=options.drawn.seed,
        batch_size=chosen.samples_at_once,
        precision=chosen.precision,
    )
    named = zip(captions_of([one.text for one in captions], None), captions, strict=True)
    texts = [replace(one, id=drawn.id) for one, drawn in named]
    drawing = Drawing(asked, texts, Generator.of_options(asked), watcher)
    if options.incremental_mode == "overwrite" and not drawing.has_begun:
        drawing = replace(drawing, options=replace(asked, incremental_mode="overwrite"))
    drawing.check()
    return drawing


def _task(folder: Folder, options: EvaluateOptions, captions: list[Caption] | None) -> Task:
    texts = None if captions is None else frozenset(caption.text for caption in captions)
    samples: Source
    if options.generator.prior is not None:
        table = Path(folder.path(DRAWN))
        samples = GeneratedSource(name=options.generator.prior, count=len(captions or []), folder=table)
    else:
        samples = open_source(options.samples or "", "--samples", texts)
    by = options.judged_by
    return Task(
        samples=samples,
        reference=_reference(options),
        overlap=frozenset() if options.without is None else read_overlap(Path(options.without)),
        overlap_path=Path(options.without or ""),
        cache=folder.inside(FEATURES),
        reranker=None if by is None else contrastive.load(by, device=device_of(options.network)),
        measure=options.measure,
        seed=options.drawn.seed,
        skip_unreadable=options.unreadable == "skip",
        tell=(lambda *_: None) if options.say.quiet else Progress(),
    )


def _only_captions(folder: Folder, options: EvaluateOptions, captions: list[Caption]) -> int:
    if options.say.plan:
        raise Planned(Plan(state="to do", all=len(captions), unit="caption", hours=0.0))
    with made(folder), only_run(folder) as held:
        begin(held, options)
        write_captions(held, captions)
        finish(held, options, {"captions": len(captions)})
    print(f"evaluate\n\n  captions: {len(captions):,} of {options.drawn.captions_from}, seed {options.drawn.seed}")
    print(f"  draw them: python -m dalle.generate --captions_file {shlex.quote(folder.path(CAPTIONS))}")
    return OK


def _reference(options: EvaluateOptions) -> Source | Statistics | None:
    if options.reference is None:
        return None
    if not options.reference.endswith(".npz"):
        return open_source(options.reference, "--reference")
    if options.without is not None:
        raise ValueError(
            f"--without {options.without}: {options.reference} holds statistics and no single pictures that could be "
            "left out; give the pictures"
        )
    return read_statistics(options.reference)


def _radii(options: EvaluateOptions, reference: Source | Statistics | None) -> Sequence[float]:
    if options.measure.blur is not None:
        return options.measure.blur
    if isinstance(reference, Statistics):
        return (float(reference.choices.get("blur", 0.0)),)
    return RADII


def _print(folder: Folder, shown: Sequence[Table], warnings: Sequence[str]) -> None:
    console = Console(file=trusted(sys.stdout), highlight=False, markup=False, emoji=False)
    for table in shown:
        console.print(table)
        print()
    for warning in warnings:
        print(f"  note: {warning}")
    print(f"  numbers: {folder}/{EVALUATION}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    saying: list[SayOptions] = []

    def work() -> int:
        words = list(sys.argv[1:] if argv is None else argv)
        with coloured(words):
            options = parse_options("dalle.evaluate", __doc__ or "", EvaluateOptions, words)
        saying.append(options.say)
        return planned("evaluate", options.say, lambda: evaluate(options))

    words = CommandWords(name="dalle.evaluate", stopped=STOPPED)
    return conclude(words, work, lambda: any(say.plan for say in saying))


if __name__ == "__main__":
    sys.exit(main())
