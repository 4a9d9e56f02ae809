"""One unit of dedup: a shard of pairs is written without its copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.copies.comparing import FINDINGS, VECTORS, denied_name
from pipelines.copies.within.groups import DECIDED_BY
from pipelines.copies.within.numbering import Numbering
from pipelines.copies.within.runs import Runs
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from schemas.embeddings import METADATA, embeddings_name, metadata_name, read_some_vectors, similarity
from schemas.folder import FileRecord, Folder, Staging
from schemas.manifest import Counts
from schemas.matches import DENYLIST, REASON, WITHIN, WITHIN_SET, DecidedBy, denied
from schemas.opening import check_unchanged
from schemas.pair_shards import OutputFormat, read_ledger, read_pictures, write_pairs
from schemas.pairs import REMOVED, SUCCESS
from schemas.shards import read_parquet, write_parquet


def denylist_name(shard: str) -> str:
    """The file of all that was taken out of a shard, in the dataset."""
    return f"{FINDINGS}/denylist_{shard}.parquet"


@dataclass(frozen=True, kw_only=True)
class Clean:
    """Write a shard without what was found, and the list of what it was."""

    pairs: Folder
    folder: Folder
    shards: Mapping[str, Mapping[str, Any]]
    """What the manifest of `pairs` says of each shard."""
    numbering: Numbering
    copies: Runs | None
    """By shard the pictures that are copies of others in the dataset; None if those stay."""
    kind: str
    output_format: OutputFormat

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the clean shard and its denylist."""
        ledger = read_ledger(self.pairs, unit.shard)
        rows = ledger.to_pylist()
        denied_rows = read_parquet(self.folder.inside(FINDINGS), denied_name(unit.shard)).to_pylist()
        denied_rows = sorted([*denied_rows, *self._copies_within(unit.shard, rows)], key=lambda entry: entry["key"])
        with staging.file(denylist_name(unit.shard)) as file:
            write_parquet(file, [pa.Table.from_pylist(denied_rows, DENYLIST)], DENYLIST)
        with staging.file(metadata_name(unit.shard)) as file:
            embedded = ledger.filter(pc.field("status") == SUCCESS).select(METADATA.names)
            write_parquet(file, [embedded.cast(METADATA)], METADATA)
        counts = self._write(unit, staging, ledger, rows, {entry["key"]: entry for entry in denied_rows})
        check_unchanged(self.pairs, unit.shard, unit.reads)
        note(counts)
        return Done(counts)

    def _copies_within(self, shard: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        if self.copies is None:
            return
        copies = self.copies.read(self.numbering.shards.index(shard))
        if not len(copies):
            return
        kept = [row for row in rows if row["status"] == SUCCESS]
        by_number = {
            number: (position, row)
            for position, (number, row) in enumerate(
                zip(self.numbering.numbers(shard, [row["key"] for row in kept]).tolist(), kept, strict=True)
            )
        }
        positions = [by_number[number][0] for number in copies["number"].tolist()]
        vectors = self.folder.inside(VECTORS)
        own = read_some_vectors(vectors, embeddings_name(shard), np.array(positions))
        alike = similarity(own, self._vectors_of_kept(vectors, copies))
        for copy, value in zip(copies.tolist(), alike.tolist(), strict=True):
            number, other, _, decided_by = copy
            yield denied(by_number[number][1], WITHIN_SET, self.numbering.key(other), value, DECIDED_BY[decided_by])

    def _vectors_of_kept(self, vectors: Folder, copies: np.ndarray) -> np.ndarray:
        """[N, D] of the pictures that stay, wherever they are; each shard's file is opened once."""
        shard_numbers = self.numbering.shard_numbers(copies["kept"])
        parts, order = [], []
        for shard_number in np.unique(shard_numbers):
            mine = np.flatnonzero(shard_numbers == shard_number)
            name = embeddings_name(self.numbering.shards[shard_number])
            parts.append(read_some_vectors(vectors, name, copies["kept_row"][mine]))
            order.append(mine)
        return np.concatenate(parts)[np.argsort(np.concatenate(order))]

    def _write(
        self,
        unit: Unit,
        staging: Staging,
        ledger: pa.Table,
        rows: list[dict[str, Any]],
        denied_rows: Mapping[str, Mapping[str, Any]],
    ) -> Counts:
        if not denied_rows:  # the very same bytes
            for name, file in self.shards[unit.shard]["files"].items():
                staging.link(self.pairs, FileRecord(name, file["sha256"], file["size"]))
            return Counts.of_ledger(ledger)
        for row in rows:
            if entry := denied_rows.get(row["key"]):
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


def _why(entry: Mapping[str, Any]) -> dict[str, str]:
    name, like = entry["reference_set"], f"{entry['similarity']:.3f} like {entry['reference_id']}"
    reason = REASON + name
    if name == WITHIN_SET:
        reason = list(WITHIN)[entry["decided_by"] != DecidedBy.EXACT]
    return {"reason": reason, "error_message": f"{like}, decided by {entry['decided_by']}"}
