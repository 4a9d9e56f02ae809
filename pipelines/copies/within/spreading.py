"""Spread pictures over cells: one unit reads some shards and leaves two files, of vectors and of files' hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.copies.comparing import denied_name
from pipelines.copies.within.cells import nearest_cells, one_faiss_thread
from pipelines.copies.within.numbering import PICTURE, Numbering
from pipelines.copies.within.runs import Runs, write_run
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from schemas.embeddings import embeddings_name, read_vectors
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet, shard_digits, shard_name

HASH = [*PICTURE, ("sha256", "V32")]
_PICTURES_AT_ONCE = 1 << 17
"""Pictures of one unit: their vectors are held twice while they are sorted."""
_IN_A_BUCKET = 1 << 18
"""Hashes that are compared together."""
_NO_HASH = bytes(32)


def vector_record(dimension: int) -> Any:
    """NumPy's type of a picture with its vector."""
    return [*PICTURE, ("vector", "<f2", (dimension,))]


def groups_of_shards(shards: Sequence[str], sizes: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Neighbouring shards that are spread by one unit, by the unit's name."""
    groups: list[list[str]] = []
    room = 0
    for shard, size in zip(shards, sizes, strict=True):
        if not groups or size > room:
            groups.append([])
            room = _PICTURES_AT_ONCE
        groups[-1].append(shard)
        room -= size
    digits = shard_digits(len(groups))
    return {shard_name(number, digits): tuple(group) for number, group in enumerate(groups)}


def number_of_buckets(pictures: int) -> int:
    """How many buckets the hashes of a number of pictures are spread over."""
    return max(1, -(-pictures // _IN_A_BUCKET))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Spread the pictures that no reference has taken out."""

    pairs: Folder
    findings: Folder
    vectors: Folder
    groups: Mapping[str, tuple[str, ...]]
    numbering: Numbering
    buckets: int
    centres: np.ndarray | None
    """[cells, D] float32; None: only exact copies are searched for."""

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the unit's files ready."""
        pictures, hashes, vectors, cells, seen = [], [], [], [], 0
        for shard in self.groups[unit.shard]:
            left, rows, sums = self.pictures(shard)
            pictures.append(left)
            hashes.append(sums)
            seen += rows
            if self.centres is not None:
                own = read_vectors(self.vectors, embeddings_name(shard))[left["row"]]
                vectors.append(own.astype("<f2"))
                with one_faiss_thread():
                    cells.append(nearest_cells(own, self.centres))
            note(Counts.all_kept(seen))
        everyone, sums = np.concatenate(pictures), np.concatenate(hashes)
        self._write_hashes(unit, staging, everyone, sums)
        if self.centres is not None:
            nearest = np.concatenate(cells)
            records = _vector_records(everyone, np.concatenate(vectors), nearest.shape[1])
            with staging.file(_vectors_name(unit.shard)) as file:
                write_run(file, records, nearest.ravel(), len(self.centres))
        return Done(Counts(Counter({SUCCESS: seen})))

    def hashes(self, folder: Folder) -> Runs:
        """What the units left: hashes by bucket."""
        return Runs(folder, tuple(_hashes_name(group) for group in self.groups), self.buckets, HASH)

    def cells(self, folder: Folder) -> Runs:
        """What the units left: vectors by cell."""
        assert self.centres is not None
        count, dimension = self.centres.shape
        return Runs(folder, tuple(_vectors_name(group) for group in self.groups), count, vector_record(dimension))

    def pictures(self, shard: str) -> tuple[np.ndarray, int, np.ndarray]:
        """The pictures of a shard that no reference has taken out: [n] of type `PICTURE`, how many the shard keeps with
        those that were taken out, and [n] sha256 as 32 bytes (zeros where it is not known)."""
        columns = ["key", "status", "original_width", "original_height", "sha256"]
        ledger = read_parquet(self.pairs, f"{shard}.parquet", columns)
        ledger = ledger.filter(pc.field("status") == SUCCESS)
        denied = read_parquet(self.findings, denied_name(shard), ["key"])["key"]
        rows = np.flatnonzero(~pc.is_in(ledger["key"], denied.combine_chunks()).to_numpy())
        left = ledger.take(pa.array(rows))
        pictures = np.empty(len(rows), PICTURE)
        pictures["number"] = self.numbering.numbers(shard, left["key"].to_pylist())
        pictures["row"] = rows
        sides = (left[name].fill_null(0).to_numpy().astype(np.int64) for name in ("original_width", "original_height"))
        pictures["area"] = np.multiply(*sides)
        sums = np.array([bytes.fromhex(text) if text else _NO_HASH for text in left["sha256"].to_pylist()], "V32")
        return pictures, ledger.num_rows, sums

    def _write_hashes(self, unit: Unit, staging: Staging, pictures: np.ndarray, sums: np.ndarray) -> None:
        known = np.flatnonzero(sums != np.void(_NO_HASH))
        records = np.empty(len(known), HASH)
        for name, _ in PICTURE:
            records[name] = pictures[name][known]
        records["sha256"] = sums[known]
        first = np.frombuffer(records["sha256"].tobytes(), "<u4").reshape(-1, 8)[:, 0]
        with staging.file(_hashes_name(unit.shard)) as file:
            write_run(file, records, first % self.buckets, self.buckets)


def _vector_records(pictures: np.ndarray, vectors: np.ndarray, times: int) -> np.ndarray:
    """[N * times] each picture with its vector, in succession once for each cell that it goes to."""
    records = np.empty(len(pictures) * times, vector_record(vectors.shape[1]))
    for name, _ in PICTURE:
        records[name] = np.repeat(pictures[name], times)
    records["vector"] = np.repeat(vectors, times, 0)
    return records


def _hashes_name(group: str) -> str:
    return f"hashes_{group}.run"


def _vectors_name(group: str) -> str:
    return f"vectors_{group}.run"
