"""The passes of `pipelines.dedup` over a dataset: embed, compare with the references, look inside, take out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import torch

from dalle.detectors import Embedder
from dalle.detectors.precision import fast_dtype
from pipelines.copies.cleaning import Clean
from pipelines.copies.comparing import FINDINGS, VECTORS, Compare
from pipelines.copies.embedding import EmbedPairs, say_detector
from pipelines.copies.options import DedupOptions, floors_of, within_threshold_of
from pipelines.copies.reference_sets import ReferenceSetOnDisk
from pipelines.copies.review import Reviewed
from pipelines.copies.within.finding import Asked, read_copies
from pipelines.copies.within.numbering import Numbering
from pipelines.lists.slices import Unit
from pipelines.running import command, output
from pipelines.running.output import Recipe
from pipelines.running.progress import progress
from pipelines.running.units import DoUnits, undone
from schemas.folder import Folder
from schemas.lock import LOCKS
from schemas.manifest import Counts, ancestor, fingerprint, versions
from schemas.matches import WITHIN_SET, Decisions

_MAKE_THE_BYTES = ("faiss-cpu", "numpy", "opencv-python-headless", "pillow", "pyarrow", "simplejpeg", "torch")


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What all passes of a run have in common, and the passes."""

    options: DedupOptions
    flags: list[str]
    """Beam's."""
    folder: Folder
    """Where the clean dataset goes."""
    pairs: Folder
    """Where it comes from."""
    parent: dict[str, Any] = field(repr=False)
    """The manifest of that."""
    embedder: Embedder
    thresholds: Mapping[str, float]
    decisions: Decisions
    sets: Sequence[ReferenceSetOnDisk]

    @property
    def shards(self) -> dict[str, Any]:
        """What the manifest says of each."""
        return {shard["name"]: shard for shard in self.parent["shards"]}

    def run(self, folder: Folder, units: Sequence[Unit], do_units: DoUnits, what: str) -> None:
        """Do what is missing of some units, in Beam."""
        todo = undone(folder, units)
        if todo:
            processes = self.options.processes_count or len(os.sched_getaffinity(0))
            with progress(folder, todo, what), command.pipeline(self.flags, min(processes, len(todo))) as p:
                p | "units" >> beam.Create(todo) | "spread them" >> beam.Reshuffle() | what >> beam.ParDo(do_units)
        output.check_all_done(folder, units)
        if folder is not self.folder:
            folder.remove_tree(LOCKS)
            output.tidy(folder)

    def embed(self) -> None:
        """Leave the vectors of all pictures that are kept."""
        folder = Folder(f"{self.folder}/{VECTORS}")
        folder.make()
        folder.sweep()
        units = [
            Unit(
                shard=name,
                rows=Counts.of_json(shard["counts"]).kept,
                source="",
                fingerprint=fingerprint([self.embedder.fingerprint, shard["files"]]),
            )
            for name, shard in self.shards.items()
        ]
        work = EmbedPairs(pairs=self.pairs, detector=self.options.detector)
        self.run(folder, units, DoUnits(work, folder), "embed the pictures")
        say_detector(folder, self.embedder)

    def compare(self) -> list[str]:
        """Compare all pictures with all references; gives what each shard's findings were made from."""
        work = Compare(
            pairs=self.pairs,
            folder=self.folder,
            thresholds=self.thresholds,
            floors=floors_of(self.options, self.thresholds),
            decisions=self.decisions,
            fast=_fast(),
        )
        made_from = [
            self.embedder.fingerprint,
            {one.name: [one.fingerprint, self.thresholds[one.name], work.floors[one.name]] for one in self.sets},
            self.decisions.to_json(""),
            versions(*_MAKE_THE_BYTES),
        ]
        units = [
            Unit(
                shard=name,
                rows=Counts.of_json(shard["counts"]).kept,
                source="",
                fingerprint=fingerprint([*made_from, shard["files"]]),
            )
            for name, shard in self.shards.items()
        ]
        folder = Folder(f"{self.folder}/{FINDINGS}")
        folder.make()
        folder.sweep()
        self.run(folder, units, DoUnits(work, folder), "compare with the references")
        return [unit.fingerprint for unit in units]

    def within(self) -> Asked:
        """What is looked for inside the dataset."""
        return Asked(
            threshold=within_threshold_of(self.options, self.embedder),
            cells=self.options.within_cells,
            decisions=self.decisions,
            fast=_fast(),
        )

    def clean(self, units: Sequence[Unit]) -> None:
        """Write the shards without their copies."""
        work = Clean(
            pairs=self.pairs,
            folder=self.folder,
            shards=self.shards,
            numbering=Numbering.of_manifest(self.parent),
            copies=read_copies(self.folder, self.parent) if self.options.within else None,
            kind=self.parent["options"]["encode_format"],
            output_format=self.parent["options"]["output_format"],
        )
        self.run(self.folder, units, DoUnits(work, self.folder), "remove copies")

    def recipe(self) -> Recipe:
        """What decides the bytes of the clean dataset."""
        options, made = self.options, self.parent["options"]
        cut = ("number_sample_per_shard", "oom_shard_count", "encode_format", "output_format")
        return Recipe(
            job="dedup",
            table="pairs",
            inputs=[{"name": "pairs", "sha256": fingerprint(self.parent)}],
            cut={name: made[name] for name in cut},
            options={
                "detector": self.embedder.fingerprint,
                "references": {one.name: one.fingerprint for one in self.sets},
                "threshold": self.thresholds,
                "floor": options.floor,
                "decisions": fingerprint(self.decisions.to_json("")) if self.decisions.pairs else None,
                "within": options.within,
                "within_threshold": within_threshold_of(options, self.embedder),
                "within_cells": options.within_cells,
            },
            versions=versions(*_MAKE_THE_BYTES),
            lineage=[*self.parent["lineage"], ancestor(self.parent)],
        )

    def reviewed(self) -> Reviewed:
        """What the review page is about."""
        within = within_threshold_of(self.options, self.embedder)
        return Reviewed(
            pairs=self.pairs,
            shards=list(self.shards),
            pictures=Counts.of_json(self.parent["counts"]).kept,
            references={one.name: one.pictures for one in self.sets},
            thresholds=self.thresholds if within is None else {**self.thresholds, WITHIN_SET: within},
            floors=floors_of(self.options, self.thresholds),
            decisions=self.decisions,
            detector=self.embedder.fingerprint,
            fingerprint=fingerprint([self.parent, self.embedder.fingerprint, [one.fingerprint for one in self.sets]]),
        )


def _fast() -> bool:
    return fast_dtype() == torch.bfloat16
