"""Take out of a pairs dataset what is a copy of a reference picture, and say what was found.

    python -m pipelines.dedup --input_folder pairs --reference coco=val2017 --output_folder clean

leaves in `clean/` a dataset like the one it came from, without the pictures that look like a reference; in
`clean/dedup/` matches.parquet (the ten references most like a picture), nearest.parquet (the picture most like each
reference), denylist.parquet (what was taken out and why), overlap-coco.txt (the references that have a copy) and
report.html, on which a person checks the decisions by eye and exports decisions.json for --decisions; in
`clean/img_emb/` and `clean/metadata/` the vectors, which later runs use again. Without arguments it takes the sample's
pairs and validation set.

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
from pipelines.cleaning import REFERENCES, VECTORS, Clean, CopyWithin
from pipelines.embedding import EmbedPairs, EmbedReferences, detector, reference_units, write_references
from pipelines.options import no_change_of_bytes
from pipelines.output import Recipe
from pipelines.overlap import SetSummary, join_findings
from pipelines.plan import Unit
from pipelines.progress import progress
from pipelines.references import Given, find_references, sha256_of
from pipelines.report import print_report
from pipelines.units import DoUnits, undone
from schemas.folder import Folder
from schemas.lock import LOCKS, only_run
from schemas.manifest import Counts, Marker, ancestor, fingerprint, read_manifest, versions
from schemas.matches import Decisions, read_decisions

SAMPLE = "data/sample"

_MAKE_THE_BYTES = ("faiss-cpu", "numpy", "opencv-python-headless", "pillow", "pyarrow", "simplejpeg", "torch")
_BELOW_THRESHOLD = 0.2


@dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """All options of the job."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """A pairs dataset."""
    reference: tuple[str, ...] = ()
    """NAME=PATH of one or more reference sets: a folder of pictures, a dataset, tars, or COCO's
    captions.json,FOLDER."""
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
    incremental_mode: Literal["incremental", "overwrite"] = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine; 0 is one for each core."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if self.processes_count < 0:
            raise ValueError(f"--processes_count {self.processes_count}: expected 0 (all cores) or more")


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
    sample_web.print_tally(web, Folder(f"{SAMPLE}/clean"))
    return code


def _clean(
    job: _Job, thresholds: dict[str, float], decisions: Decisions
) -> tuple[Counts, list[Marker], list[SetSummary]]:
    folder, options = job.folder, job.options
    references = {given.name: find_references(given) for given in map(Given.parse, options.reference)}
    sums = {name: [sha256_of(one) for one in found] for name, found in references.items()}
    recipe = _recipe(job, thresholds, decisions, sums)
    start = output.start(folder, recipe, options.incremental_mode)
    if start.anew:
        for left in ("dedup", "metadata", VECTORS):
            folder.remove_tree(left)
    if start.notice:
        print(start.notice, file=sys.stderr)
    output.begin(folder, recipe, start)
    folder.sweep()
    for name, found in references.items():
        _embed_references(job, name, found, sums[name])
    shards = {shard["name"]: shard for shard in job.parent["shards"]}
    _embed_pairs(job, shards)
    within: dict[str, CopyWithin] = {}
    units = [Unit(shard=name, rows=Counts.of_json(shard["counts"]).rows, source="") for name, shard in shards.items()]
    units = list(
        recipe.units(units, [fingerprint([shards[u.shard]["files"], job.embedder.fingerprint]) for u in units])
    )
    work = Clean(
        pairs=job.pairs,
        folder=folder,
        shards=shards,
        thresholds=thresholds,
        floors={
            name: value - _BELOW_THRESHOLD if options.floor is None else options.floor
            for name, value in thresholds.items()
        },
        decisions=decisions,
        within=within,
        fast=fast_dtype() == torch.bfloat16,
        kind=job.parent["options"]["encode_format"],
        output_format=job.parent["options"]["output_format"],
    )
    job.run(folder, units, DoUnits(work, folder), "compare with the references, remove copies")
    markers = output.read_markers(folder, units)
    summaries = join_findings(folder, job.pairs, markers, thresholds, decisions, job.embedder.fingerprint)
    counts, markers = output.finish(folder, recipe, units)
    return counts, markers, summaries


def _recipe(job: _Job, thresholds: dict[str, float], decisions: Decisions, sums: dict[str, list[str]]) -> Recipe:
    options, made = job.options, job.parent["options"]
    cut = ("number_sample_per_shard", "oom_shard_count", "encode_format", "output_format")
    return Recipe(
        job="dedup",
        table="pairs",
        inputs=[{"name": "pairs", "sha256": fingerprint(job.parent)}],
        cut={name: made[name] for name in cut},
        options={
            "detector": job.embedder.fingerprint,
            "references": {name: fingerprint(found) for name, found in sums.items()},
            "threshold": thresholds,
            "floor": options.floor,
            "decisions": fingerprint(decisions.to_json("")) if decisions.pairs else None,
            "within": options.within,
            "within_threshold": options.within_threshold,
        },
        versions=versions(*_MAKE_THE_BYTES),
        lineage=[*job.parent["lineage"], ancestor(job.parent)],
    )


def _embed_references(job: _Job, name: str, references: Sequence[Any], sums: Sequence[str]) -> None:
    folder = Folder(f"{job.folder}/{REFERENCES}/{name}")
    folder.make()
    folder.sweep()
    units = reference_units(sums, job.embedder)
    for file in folder.names():  # of an earlier run with more references
        if file.endswith(".npy") and file[8:-4] not in {unit.shard for unit in units}:
            folder.remove(file)
    work = EmbedReferences(references=tuple(references), detector=job.options.detector)
    job.run(folder, units, DoUnits(work, folder), f"embed the references {name}")
    write_references(folder, references, sums)


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
        "dataset": job.folder,
        "rate": f"{counts.rows / seconds:,.1f} rows/s, {seconds:,.1f} s in all",
        "look at": f"{job.folder}/dedup/denylist.parquet",
    }
    print_report("dedup", counts, facts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run.main("pipelines.dedup", __doc__ or "", DedupOptions, dedup, argv)


if __name__ == "__main__":
    sys.exit(main())
