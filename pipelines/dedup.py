"""Take out of a pairs dataset what is a copy of a reference picture, and say what was found.

    python -m pipelines.dedup --input_folder pairs --reference coco=val2017 --output_folder clean

leaves in `clean/` a dataset like the one it came from, without the pictures that look like a reference; in
`clean/dedup/` matches.parquet (the ten references most like a picture), nearest.parquet (the picture most like each
reference), denylist.parquet (what was taken out and why), overlap-coco.txt (the references that have a copy) and
report.html, on which a person checks the decisions by eye and exports decisions.json for --decisions; in
`clean/img_emb/` and `clean/metadata/` the vectors, which later runs use again. Without arguments it takes the sample's
pairs and validation set.

exact.parquet lists the pictures that are in the dataset more than once, byte for byte. They stay, unless --within takes
out copies inside the dataset as well, exact and edited: of each group the largest picture is kept, of equals the first.

--threshold is a cosine: lower finds more copies, and more pictures that only look alike. Each detector's default is
where `benchmarks/near_duplicates.py` finds the most copies while nine in ten of what it finds are copies.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import torch

from dalle.embedders import Embedder
from dalle.embedders.precision import fast_dtype
from pipelines import output, run, sample_web
from pipelines.cleaning import Clean
from pipelines.comparing import FINDINGS, VECTORS, Compare
from pipelines.embedding import EmbedPairs, detector, say_detector
from pipelines.options import no_change_of_bytes
from pipelines.output import Recipe
from pipelines.overlap import SetSummary, join_findings
from pipelines.plan import Unit
from pipelines.progress import progress
from pipelines.reference_sets import ReferenceSetOnDisk, embed_sets, find_sets
from pipelines.references import Given
from pipelines.report import print_report
from pipelines.review import PAGE, Reviewed, write_page
from pipelines.units import DoUnits, undone
from pipelines.within import finding
from pipelines.within.finding import Asked, find_copies, read_copies
from pipelines.within.numbering import Numbering
from schemas.folder import Folder
from schemas.lock import LOCKS, only_run
from schemas.manifest import Counts, Marker, ancestor, fingerprint, read_manifest, versions
from schemas.matches import WITHIN, WITHIN_SET, Decisions, read_decisions
from schemas.shards import read_parquet

SAMPLE = "data/sample"

_MAKE_THE_BYTES = ("faiss-cpu", "numpy", "opencv-python-headless", "pillow", "pyarrow", "simplejpeg", "torch")
_BELOW_THRESHOLD = 0.2


@dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """All options of the job."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """A pairs dataset."""
    reference: tuple[str, ...] = ()
    """NAME=PATH of one or more reference sets: a folder of pictures, pictures, a .txt list of them, a dataset, tars,
    COCO's captions.json,FOLDER, or earlier embeddings (clean/dedup/references/NAME, clean/img_emb)."""
    output_folder: str | None = no_change_of_bytes(default=None)
    """Where the clean dataset goes: a path or an fsspec URL."""
    detector: str = "builtin"
    """What tells copies: builtin, open_clip:MODEL/PRETRAINED-or-path, torchscript:PATH or phash."""
    threshold: tuple[str, ...] = ()
    """The cosine from which a picture counts as a copy: one for all sets, or NAME=VALUE; by default the detector's."""
    floor: float | None = None
    """The least cosine that matches.parquet holds; by default 0.2 below the threshold."""
    decisions: str | None = None
    """A file of a person's decisions, as report.html exports it; they count above the threshold."""
    within: bool = False
    """Also take out near-copies of other pictures of the same dataset; one of each group is kept."""
    within_threshold: float | None = None
    """The cosine for that; by default the detector's."""
    within_cells: int = 0
    """Cells that --within searches alone: more are faster and miss more; 0: by the number of pictures."""
    incremental_mode: Literal["incremental", "overwrite"] = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine; 0 is one for each core."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if self.processes_count < 0:
            raise ValueError(f"--processes_count {self.processes_count}: expected 0 (all cores) or more")
        for name in ("floor", "within_threshold"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ValueError(f"--{name} {value:g}: expected a cosine between -1 and 1")
        if self.within_threshold is not None and not self.within:
            raise ValueError(f"--within_threshold {self.within_threshold:g}: is for --within, which is not given")
        if self.within_cells < 0:
            raise ValueError(f"--within_cells {self.within_cells}: expected 0 (by the number of pictures) or more")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What both halves of the job need."""

    options: DedupOptions
    flags: list[str]
    folder: Folder
    pairs: Folder
    parent: dict[str, Any] = field(repr=False)
    embedder: Embedder

    def run(self, folder: Folder, units: Sequence[Unit], do_units: DoUnits, what: str) -> None:
        """Do what is missing of some units, in Beam."""
        todo = undone(folder, units)
        if todo:
            processes = self.options.processes_count or len(os.sched_getaffinity(0))
            with progress(folder, todo, what), run.pipeline(self.flags, min(processes, len(todo))) as p:
                p | "units" >> beam.Create(todo) | "spread them" >> beam.Reshuffle() | what >> beam.ParDo(do_units)
        output.check_all_done(folder, units)
        if folder is not self.folder:
            folder.remove_tree(LOCKS)
            output.tidy(folder)


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
    pairs, folder = Folder(options.input_folder or ""), Folder(options.output_folder or "")
    parent = read_manifest(pairs)
    if parent["table"] != "pairs":
        raise ValueError(f"{pairs}: its table is '{parent['table']}', expected 'pairs'")
    if pairs.root == folder.root:
        raise ValueError(f"{folder}: is the input; give another --output_folder")
    job = _Job(
        options=options, flags=flags, folder=folder, pairs=pairs, parent=parent, embedder=detector(options.detector)
    )
    thresholds = _thresholds(options, job.embedder)
    decisions = _decisions(options, job.embedder)
    folder.make()
    with only_run(folder):
        counts, markers, summaries = _clean(job, thresholds, decisions)
    _report(job, counts, markers, summaries, time.monotonic() - begun)
    return run.OK


def _dedup_sample(options: DedupOptions, flags: list[str]) -> int:
    from dataclasses import replace

    if not (Path(SAMPLE) / "pairs" / "manifest.json").exists():
        raise ValueError(f"{SAMPLE}/pairs: the sample is not collected yet; run python -m pipelines.ingest first")
    print(f"no --input_folder given: cleaning the sample's pairs of its validation set, into {SAMPLE}/clean")
    web = sample_web.build(SAMPLE)
    code = dedup(
        replace(
            options,
            input_folder=f"{SAMPLE}/pairs",
            output_folder=f"{SAMPLE}/clean",
            reference=(f"validation={web.validation}",),
        ),
        flags,
    )
    if code == run.OK:
        pairs, clean = Folder(f"{SAMPLE}/pairs"), Folder(f"{SAMPLE}/clean")
        sample_web.print_tally(web, clean)
        sample_web.print_recall(web, pairs, clean)
    return code


def _clean(
    job: _Job, thresholds: dict[str, float], decisions: Decisions
) -> tuple[Counts, list[Marker], list[SetSummary]]:
    folder, options = job.folder, job.options
    sets = find_sets(options.reference)
    recipe = _recipe(job, thresholds, decisions, sets)
    start = output.start(folder, recipe, options.incremental_mode)
    if start.anew:
        for left in ("dedup", "metadata", VECTORS, finding.WORK):
            folder.remove_tree(left)
    if start.notice:
        print(start.notice, file=sys.stderr)
    output.begin(folder, recipe, start)
    folder.sweep()
    embed_sets(folder, sets, job.embedder, options.detector, job.run)
    shards = {shard["name"]: shard for shard in job.parent["shards"]}
    _embed_pairs(job, shards)
    compared = _compare(job, thresholds, decisions, sets, shards)
    units = [Unit(shard=name, rows=Counts.of_json(shard["counts"]).rows, source="") for name, shard in shards.items()]
    units = list(recipe.units(units, compared))
    if undone(folder, units):
        asked = Asked(
            threshold=_within_threshold(options, job.embedder),
            cells=options.within_cells,
            decisions=decisions,
            fast=_fast(),
        )
        find_copies(job.pairs, folder, job.parent, compared, asked, job.run)
    work = Clean(
        pairs=job.pairs,
        folder=folder,
        shards=shards,
        numbering=Numbering.of_manifest(job.parent),
        copies=read_copies(folder, job.parent) if options.within else None,
        kind=job.parent["options"]["encode_format"],
        output_format=job.parent["options"]["output_format"],
    )
    job.run(folder, units, DoUnits(work, folder), "remove copies")
    summaries = join_findings(folder, job.pairs, list(shards), thresholds, decisions, job.embedder.fingerprint)
    write_page(folder, _reviewed(job, thresholds, decisions, sets, list(shards)))
    counts, markers = output.finish(folder, recipe, units)
    folder.remove_tree(finding.WORK)
    return counts, markers, summaries


def _compare(
    job: _Job,
    thresholds: dict[str, float],
    decisions: Decisions,
    sets: Sequence[ReferenceSetOnDisk],
    shards: dict[str, Any],
) -> list[str]:
    """Compare all pictures with all references; gives what each shard's findings were made from."""
    work = Compare(
        pairs=job.pairs,
        folder=job.folder,
        thresholds=thresholds,
        floors=_floors(job.options, thresholds),
        decisions=decisions,
        fast=_fast(),
    )
    made_from = [
        job.embedder.fingerprint,
        {one.name: [one.fingerprint, thresholds[one.name], work.floors[one.name]] for one in sets},
        decisions.to_json(""),
        versions(*_MAKE_THE_BYTES),
    ]
    units = [
        Unit(
            shard=name,
            rows=Counts.of_json(shard["counts"]).kept,
            source="",
            fingerprint=fingerprint([*made_from, shard["files"]]),
        )
        for name, shard in shards.items()
    ]
    folder = Folder(f"{job.folder}/{FINDINGS}")
    folder.make()
    folder.sweep()
    job.run(folder, units, DoUnits(work, folder), "compare with the references")
    return [unit.fingerprint for unit in units]


def _fast() -> bool:
    return fast_dtype() == torch.bfloat16


def _within_threshold(options: DedupOptions, embedder: Embedder) -> float | None:
    if not options.within:
        return None
    return float(embedder.threshold) if options.within_threshold is None else options.within_threshold


def _reviewed(
    job: _Job,
    thresholds: dict[str, float],
    decisions: Decisions,
    sets: Sequence[ReferenceSetOnDisk],
    shards: Sequence[str],
) -> Reviewed:
    within = _within_threshold(job.options, job.embedder)
    return Reviewed(
        pairs=job.pairs,
        shards=shards,
        pictures=Counts.of_json(job.parent["counts"]).kept,
        references={one.name: one.pictures for one in sets},
        thresholds=thresholds if within is None else {**thresholds, WITHIN_SET: within},
        floors=_floors(job.options, thresholds),
        decisions=decisions,
        detector=job.embedder.fingerprint,
        fingerprint=fingerprint([job.parent, job.embedder.fingerprint, [one.fingerprint for one in sets]]),
    )


def _floors(options: DedupOptions, thresholds: dict[str, float]) -> dict[str, float]:
    return {
        name: value - _BELOW_THRESHOLD if options.floor is None else options.floor for name, value in thresholds.items()
    }


def _recipe(
    job: _Job, thresholds: dict[str, float], decisions: Decisions, sets: Sequence[ReferenceSetOnDisk]
) -> Recipe:
    options, made = job.options, job.parent["options"]
    cut = ("number_sample_per_shard", "oom_shard_count", "encode_format", "output_format")
    return Recipe(
        job="dedup",
        table="pairs",
        inputs=[{"name": "pairs", "sha256": fingerprint(job.parent)}],
        cut={name: made[name] for name in cut},
        options={
            "detector": job.embedder.fingerprint,
            "references": {one.name: one.fingerprint for one in sets},
            "threshold": thresholds,
            "floor": options.floor,
            "decisions": fingerprint(decisions.to_json("")) if decisions.pairs else None,
            "within": options.within,
            "within_threshold": _within_threshold(options, job.embedder),
            "within_cells": options.within_cells,
        },
        versions=versions(*_MAKE_THE_BYTES),
        lineage=[*job.parent["lineage"], ancestor(job.parent)],
    )


def _embed_pairs(job: _Job, shards: dict[str, Any]) -> None:
    folder = Folder(f"{job.folder}/{VECTORS}")
    folder.make()
    folder.sweep()
    units = [
        Unit(
            shard=name,
            rows=Counts.of_json(shard["counts"]).kept,
            source="",
            fingerprint=fingerprint([job.embedder.fingerprint, shard["files"]]),
        )
        for name, shard in shards.items()
    ]
    work = EmbedPairs(pairs=job.pairs, detector=job.options.detector)
    job.run(folder, units, DoUnits(work, folder), "embed the pictures")
    say_detector(folder, job.embedder)


def _thresholds(options: DedupOptions, embedder: Embedder) -> dict[str, float]:
    names = [Given.parse(text).name for text in options.reference]
    if len(set(names)) < len(names):
        raise ValueError(f"--reference: {', '.join(names)}: the same name twice; give each set one of its own")
    thresholds = dict.fromkeys(names, float(embedder.threshold))
    for text in options.threshold:
        name, equals, value = text.rpartition("=")
        try:
            cosine = float(value)
        except ValueError:
            raise ValueError(f"--threshold {text}: expected a number or NAME=NUMBER") from None
        if not -1 <= cosine <= 1:
            raise ValueError(f"--threshold {text}: expected a cosine between -1 and 1")
        if equals and name not in thresholds:
            raise ValueError(f"--threshold {text}: there is no --reference {name}; there are {', '.join(names)}")
        thresholds |= {name: cosine} if equals else dict.fromkeys(names, cosine)
    return thresholds


def _decisions(options: DedupOptions, embedder: Embedder) -> Decisions:
    if options.decisions is None:
        return Decisions({})
    place, _, name = options.decisions.rpartition("/")
    return read_decisions(Folder(place or "."), name, embedder.fingerprint)


def _report(job: _Job, counts: Counts, markers: list[Marker], summaries: list[SetSummary], seconds: float) -> None:
    facts: dict[str, Any] = {
        f"references {s.name}": f"{s.overlapping:,} of {s.references:,} have a copy; {s.removed:,} pictures removed at "
        f"{s.threshold:.3f} and above"
        for s in summaries
    }
    facts |= {
        "copies inside the dataset": _say_within(job, counts),
        "dataset": job.folder,
        "rate": f"{counts.rows / seconds:,.1f} rows/s, {seconds:,.1f} s in all",
        "look at": f"{job.folder}/{PAGE}",
    }
    print_report("dedup", counts, facts)


def _say_within(job: _Job, counts: Counts) -> str:
    exact = read_parquet(job.folder, finding.EXACT_FILE, ["key"]).num_rows
    said = f"{exact:,} pictures have the same bytes as an earlier one"
    if not job.options.within:
        return f"{said}; they stay, --within takes them and edited copies out"
    gone = {word: counts.reasons["dedup", word] for word in WITHIN}
    return f"{said}; " + ", ".join(f"{n:,} removed as {word}" for word, n in gone.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run.main("pipelines.dedup", __doc__ or "", DedupOptions, dedup, argv)


if __name__ == "__main__":
    sys.exit(main())
