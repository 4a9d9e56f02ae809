"""The passes of `pipelines.dedup` over a dataset: embed, compare with the references, look inside, take out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from dalle.detectors import Embedder
from dalle.training.precision import fast_dtype
from pipelines.copies.cleaning import Clean
from pipelines.copies.comparing import FINDINGS, VECTORS, Compare
from pipelines.copies.embedding import MAKE_VECTORS, EmbedPairs, say_detector
from pipelines.copies.options import DedupOptions, floors_of, within_threshold_of
from pipelines.copies.overlap import SetSummary, join_findings, write_decisions
from pipelines.copies.reference_sets import ReferenceSetOnDisk, embed_sets
from pipelines.copies.review import Reviewed, write_page
from pipelines.copies.within.finding import ComparedDataset, WithinSearch, find_copies, read_copies
from pipelines.copies.within.numbering import Numbering
from pipelines.running.do_units import Engine, Step, do_units
from pipelines.running.done_units import undone
from pipelines.running.finishing import check_all_done, tidy
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from schemas.folder import ROOMS, Folder
from schemas.lock import LOCKS
from schemas.manifest import Counts, fingerprint, lineage_from, versions
from schemas.matches import WITHIN_SET, Decisions

_MAKE_THE_BYTES = ("faiss-cpu", "pyarrow", *MAKE_VECTORS)


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What all passes of a run have in common, and the passes."""

    options: DedupOptions
    engine: Engine
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
                "floor": floors_of(options, self.thresholds),
                "decisions": fingerprint(self.decisions.to_json("")) if self.decisions.pairs else None,
                "within": options.within,
                "within_threshold": within_threshold_of(options, self.embedder),
                "within_linkage": options.within_linkage if options.within else None,
                "within_cells": options.within_cells,
            },
            versions=versions(*_MAKE_THE_BYTES),
            lineage=lineage_from(self.parent),
            rooms=ROOMS,
        )

    @functools.cached_property
    def comparison(self) -> Compare:
        """What is done to a shard to compare it with the references."""
        return Compare(
            pairs=self.pairs,
            folder=self.folder,
            thresholds=self.thresholds,
            floors=floors_of(self.options, self.thresholds),
            decisions=self.decisions,
            fast=fast_dtype() == torch.bfloat16,
            made_from={one.name: fingerprint([self.embedder.fingerprint, one.fingerprint]) for one in self.sets},
        )

    @functools.cached_property
    def comparison_units(self) -> list[Unit]:
        """The shards, each with what its findings are made from."""
        floors = self.comparison.floors
        made_from = [
            self.embedder.fingerprint,
            {one.name: [one.fingerprint, self.thresholds[one.name], floors[one.name]] for one in self.sets},
            self.decisions.to_json(""),
            versions(*_MAKE_THE_BYTES),
        ]
        return self._units_of_kept(made_from)

    def units(self, recipe: Recipe) -> list[Unit]:
        """One for each shard of the pairs, which keeps its number."""
        rows = {name: Counts.of_json(shard["counts"]).rows for name, shard in self.shards.items()}
        compared = [unit.fingerprint for unit in self.comparison_units]
        reads = {name: fingerprint(shard["files"]) for name, shard in self.shards.items()}
        units = [Unit(shard=name, rows=count, reads=reads[name]) for name, count in rows.items()]
        return list(recipe.units(units, compared))

    def run(self, units: Sequence[Unit]) -> list[SetSummary]:
        """All passes, one after the other; what is done is not done again.

        Args:
            units: what `units` gave.
        """
        embed_sets(self.folder, self.sets, self.embedder, self.options.detector, self.do)
        self._embed()
        self._compare()
        if undone(self.folder, units):
            find_copies(self._compared(), self._within(), self.do)
        self._clean(units)
        shards, detector = list(self.shards), self.embedder.fingerprint
        summaries = join_findings(self.folder, self.pairs, shards, self.thresholds)
        write_decisions(self.folder, self.decisions, detector)
        write_page(self.folder, self._reviewed())
        return summaries

    def do(self, folder: Folder, units: Sequence[Unit], step: Step) -> None:
        """Do what is undone of some units, in the clean dataset's folder or in one inside it.

        Raises:
            JobFailed: naming the first that could not be done.
        """
        do_units(folder, units, step, self.engine)
        check_all_done(folder, units)
        if folder is not self.folder:
            folder.remove_tree(LOCKS)
            tidy(folder)

    @property
    def embedding_units(self) -> list[Unit]:
        """The shards, each with what the vectors of its pictures are made from."""
        return self._units_of_kept([self.embedder.fingerprint, versions(*MAKE_VECTORS)])

    def _embed(self) -> None:
        """Leave the vectors of all pictures that are kept."""
        folder = _made(self.folder.inside(VECTORS))
        work = EmbedPairs(pairs=self.pairs, detector=self.options.detector, fingerprint=self.embedder.fingerprint)
        self.do(folder, self.embedding_units, Step(work=work, title="embed the pictures"))
        say_detector(folder, self.embedder)

    def _compare(self) -> None:
        """Leave what all pictures have in common with all references."""
        folder = _made(self.folder.inside(FINDINGS))
        self.do(folder, self.comparison_units, Step(work=self.comparison, title="compare with the references"))

    def _compared(self) -> ComparedDataset:
        return ComparedDataset(
            pairs=self.pairs,
            folder=self.folder,
            manifest=self.parent,
            fingerprints=[unit.fingerprint for unit in self.comparison_units],
        )

    def _within(self) -> WithinSearch:
        return WithinSearch(
            threshold=within_threshold_of(self.options, self.embedder),
            linkage=self.options.within_linkage,
            cells=self.options.within_cells,
            decisions=self.decisions,
            fast=self.comparison.fast,
        )

    def _clean(self, units: Sequence[Unit]) -> None:
        """Leave the shards without their copies."""
        work = Clean(
            pairs=self.pairs,
            folder=self.folder,
            shards=self.shards,
            numbering=Numbering.of_manifest(self.parent),
            copies=read_copies(self.folder, self.parent) if self.options.within else None,
            kind=self.parent["options"]["encode_format"],
            output_format=self.parent["options"]["output_format"],
        )
        self.do(self.folder, units, Step(work=work, title="remove copies"))

    def _units_of_kept(self, made_from: Sequence[Any]) -> list[Unit]:
        """One for each shard, of the pictures that it keeps."""
        return [
            Unit(
                shard=name,
                rows=Counts.of_json(shard["counts"]).kept,
                reads=fingerprint(shard["files"]),
                fingerprint=fingerprint([*made_from, shard["files"]]),
            )
            for name, shard in self.shards.items()
        ]

    def _reviewed(self) -> Reviewed:
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


def _made(folder: Folder) -> Folder:
    folder.make()
    folder.sweep()
    return folder
