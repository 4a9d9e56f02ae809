"""One unit of dedup: a shard of pairs is compared with all references, and written without their copies."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicates import ReferenceSet
from pipelines.embedding import read_references
from pipelines.plan import Unit
from pipelines.stages.decide import EXACT, Copy, decide
from pipelines.stages.near_duplicates import most_alike, search
from pipelines.units import Done, Note
from schemas.embeddings import METADATA, embeddings_name, metadata_name, read_vectors
from schemas.folder import FileRecord, Folder, Staging
from schemas.manifest import Counts
from schemas.matches import DENYLIST, MATCHES, REASON, WITHIN, Decisions
from schemas.pair_shards import OutputFormat, read_ledger, read_pictures, write_pairs
from schemas.pairs import REMOVED, SUCCESS
from schemas.shards import write_parquet

VECTORS = "img_emb"
REFERENCES = "dedup/references"
FINDINGS = "dedup/shards"
"""Where units leave what they found, for `pipelines.overlap` to put together."""


@dataclass(frozen=True, kw_only=True)
class CopyWithin:
    """A picture that is a copy of another one of the same dataset."""

    kept: str
    """Key of the other."""
    similarity: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Clean:
    """The work of `pipelines.dedup` on a shard."""

    pairs: Folder
    folder: Folder
    shards: Mapping[str, Mapping[str, Any]]
    """What the manifest of `pairs` says of each shard."""
    thresholds: Mapping[str, float]
    """By reference set, in their order."""
    floors: Mapping[str, float]
    """The least similarity that is stored."""
    decisions: Decisions
    within: Mapping[str, CopyWithin] = field(default_factory=dict)
    """By key."""
    fast: bool
    kind: str
    output_format: OutputFormat

    def prepare(self) -> None:
        """Read the references."""
        for name, threshold in self.thresholds.items():
            _references(f"{self.folder}/{REFERENCES}/{name}", name, threshold)

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the clean shard and say what was found."""
        ledger = read_ledger(self.pairs, unit.shard)
        rows = ledger.to_pylist()
        kept = [row for row in rows if row["status"] == SUCCESS]
        vectors = read_vectors(Folder(f"{self.folder}/{VECTORS}"), embeddings_name(unit.shard))
        if len(vectors) != len(kept):
            raise ValueError(
                f"{self.pairs.path(unit.shard)}: {len(kept)} pictures are kept but {len(vectors)} have vectors; "
                f"remove {self.folder}/{VECTORS} and run the job again"
            )
        denied: dict[int, dict[str, Any]] = {}
        overlap: dict[str, list[str]] = {}
        matches = []
        for name, threshold in self.thresholds.items():
            given = _references(f"{self.folder}/{REFERENCES}/{name}", name, threshold)
            found = search(vectors, given.vectors, min(self.floors[name], threshold), fast=self.fast)
            chosen, rank = most_alike(found)
            matches.append(
                pa.Table.from_pylist(
                    [
                        {
                            "key": kept[found.rows[place]]["key"],
                            "reference_set": name,
                            "reference_id": given.ids[found.references[place]],
                            "similarity": found.similarities[place],
                            "rank": number,
                        }
                        for place, number in zip(chosen.tolist(), rank.tolist(), strict=True)
                    ],
                    MATCHES,
                )
            )
            _write_nearest(staging, name, unit.shard, found.nearest, found.nearest_similarities)
            copies = decide(
                found,
                given,
                vectors,
                [row["key"] for row in kept],
                [row["sha256"] for row in kept],
                self.decisions,
            )
            overlap[name] = sorted({given.ids[copy.reference] for copy in copies})
            for copy in copies:
                _deny(denied, kept[copy.row], name, given, copy)
        self._deny_within(denied, kept)
        for tables, what, schema in (
            (matches, "matches", MATCHES),
            ([pa.Table.from_pylist([entry for _, entry in sorted(denied.items())], DENYLIST)], "denylist", DENYLIST),
        ):
            with staging.file(f"{FINDINGS}/{what}_{unit.shard}.parquet") as file:
                write_parquet(file, tables, schema)
        with staging.file(metadata_name(unit.shard)) as file:
            embedded = ledger.filter(pc.field("status") == SUCCESS).select(METADATA.names)
            write_parquet(file, [embedded.cast(METADATA)], METADATA)
        counts = self._write(unit, staging, ledger, rows, {entry["key"]: entry for entry in denied.values()})
        note(counts.kept, counts.refused + counts.removed, counts.failed)
        return Done(counts, {"overlap": overlap})

    def _deny_within(self, denied: dict[int, dict[str, Any]], kept: list[dict[str, Any]]) -> None:
        for number, row in enumerate(kept):
            copy = self.within.get(row["key"])
            if copy is not None and number not in denied:
                exact = copy.reason == "exact-copy"
                denied[number] = _entry(row, "within", copy.kept, copy.similarity, EXACT if exact else "threshold")

    def _write(
        self,
        unit: Unit,
        staging: Staging,
        ledger: pa.Table,
        rows: list[dict[str, Any]],
        denied: Mapping[str, Mapping[str, Any]],
    ) -> Counts:
        if not denied:  # the very same bytes
            for name, file in self.shards[unit.shard]["files"].items():
                staging.link(self.pairs, FileRecord(name, file["sha256"], file["size"]))
            return Counts.of_ledger(ledger)
        for row in rows:
            if entry := denied.get(row["key"]):
                row |= {"status": REMOVED, "stage": "dedup", **_why(entry)}
        table = pa.Table.from_pylist(rows, ledger.schema)
        pictures = read_pictures(self.pairs, unit.shard)
        write_pairs(
            staging,
            unit.shard,
            table,
            lambda index: next(data for key, _, data in pictures if key == rows[index]["key"]),
            kind=self.kind,
            output_format=self.output_format,
        )
        return Counts.of_ledger(table)


@functools.lru_cache(16)
def _references(folder: str, name: str, threshold: float) -> ReferenceSet:
    return read_references(Folder(folder), name, threshold)


def _deny(
    denied: dict[int, dict[str, Any]], row: Mapping[str, Any], name: str, given: ReferenceSet, copy: Copy
) -> None:
    """The pair that is most alike speaks for a picture; the same bytes before all."""
    entry = _entry(row, name, given.ids[copy.reference], copy.similarity, copy.decided_by)
    before = denied.get(copy.row)
    if before is None or _weight(entry) > _weight(before):
        denied[copy.row] = entry


def _entry(row: Mapping[str, Any], name: str, reference: str, similarity: float, decided_by: str) -> dict[str, Any]:
    return {
        **{column: row[column] for column in ("key", "uid", "url", "sha256")},
        "reference_set": name,
        "reference_id": reference,
        "similarity": similarity,
        "decided_by": decided_by,
    }


def _weight(entry: Mapping[str, Any]) -> tuple[bool, float]:
    return entry["decided_by"] == EXACT, entry["similarity"]


def _why(entry: Mapping[str, Any]) -> dict[str, str]:
    name, like = entry["reference_set"], f"{entry['similarity']:.3f} like {entry['reference_id']}"
    reason = REASON + name
    if name == "within":
        reason = list(WITHIN)[entry["decided_by"] != EXACT]
    return {"reason": reason, "error_message": f"{like}, decided by {entry['decided_by']}"}


def _write_nearest(staging: Staging, name: str, shard: str, rows: np.ndarray, similarities: np.ndarray) -> None:
    found = np.empty(len(rows), [("row", "<i4"), ("similarity", "<f4")])
    found["row"], found["similarity"] = rows, similarities
    with staging.file(f"{FINDINGS}/nearest_{name}_{shard}.npy") as file:
        np.lib.format.write_array(file, found, allow_pickle=False)
