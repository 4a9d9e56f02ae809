"""One unit of dedup: the pictures of a shard are compared with all references."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.copies.embedding import read_references
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from pipelines.stages.decide import Copy, EmbeddedPictures, decide
from pipelines.stages.search_exactly import most_alike, search
from pipelines.vectors.duplicates import ReferenceSet, SearchResult
from pipelines.vectors.products import Factor
from schemas.embeddings import embeddings_name, read_vectors
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.matches import DENYLIST, MATCHES, DecidedBy, Decisions, denied
from schemas.pair_shards import read_ledger
from schemas.pairs import SUCCESS
from schemas.shards import write_parquet

VECTORS = "img_emb"
REFERENCES = "dedup/references"
FINDINGS = "dedup/shards"
"""Where units leave what they found, for `pipelines.copies.overlap` to put together."""

_NEAREST = [("row", "<i4"), ("similarity", "<f4")]


def denied_name(shard: str) -> str:
    """The file of a shard's pictures that are copies of references, in `FINDINGS`."""
    return f"denied_{shard}.parquet"


def matches_name(shard: str) -> str:
    """The file of a shard's pairs above the floor, in `FINDINGS`."""
    return f"matches_{shard}.parquet"


def nearest_name(reference_set: str, shard: str) -> str:
    """The file that says which of a shard's pictures is most like each reference, in `FINDINGS`."""
    return f"nearest_{reference_set}_{shard}.npy"


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Find the copies of references among a shard's pictures."""

    pairs: Folder
    folder: Folder
    """The clean dataset, with vectors of pictures and references."""
    thresholds: Mapping[str, float]
    """By reference set, in their order."""
    floors: Mapping[str, float]
    """The least similarity that is stored."""
    decisions: Decisions
    fast: bool
    made_from: Mapping[str, str]
    """What the references' vectors are made from, by set."""

    def prepare(self) -> None:
        """Read the references."""
        for name, threshold in self.thresholds.items():
            self._reference_set(name, threshold)

    def _reference_set(self, name: str, threshold: float) -> tuple[ReferenceSet, Factor]:
        folder = self.folder.inside(f"{REFERENCES}/{name}")
        return _references(folder, name, threshold, self.fast, self.made_from[name])

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Write the shard's pairs above the floor, its nearest pictures and its copies."""
        ledger = read_ledger(self.pairs, unit.shard).filter(pc.field("status") == SUCCESS)
        kept = ledger.select(["key", "uid", "url", "sha256"]).to_pylist()
        vectors = read_vectors(self.folder.inside(VECTORS), embeddings_name(unit.shard))
        if len(vectors) != len(kept):
            raise ValueError(
                f"{self.pairs.path(unit.shard)}: {len(kept)} pictures are kept but {len(vectors)} have vectors; "
                f"remove {self.folder}/{VECTORS} and run the job again"
            )
        mine = Factor(vectors, fast=self.fast)
        pictures = EmbeddedPictures([row["key"] for row in kept], [row["sha256"] for row in kept], vectors)
        entries: dict[int, dict[str, Any]] = {}
        overlap: dict[str, list[str]] = {}
        matches = []
        for name, threshold in self.thresholds.items():
            references, factor = self._reference_set(name, threshold)
            result = search(mine, factor, references.vectors.shape[1], min(self.floors[name], threshold))
            matches.append(_matches(result, pictures.keys, references))
            _write_nearest(staging, nearest_name(name, unit.shard), result)
            copies = decide(result, references, pictures, self.decisions)
            overlap[name] = sorted({references.ids[copy.reference] for copy in copies})
            for copy in copies:
                _deny(entries, kept[copy.row], references, copy)
        with staging.file(matches_name(unit.shard)) as file:
            write_parquet(file, matches, MATCHES)
        with staging.file(denied_name(unit.shard)) as file:
            write_parquet(file, [pa.Table.from_pylist([e for _, e in sorted(entries.items())], DENYLIST)], DENYLIST)
        counts = Counts.all_kept(len(kept))
        note(counts)
        return Done(counts, {"overlap": overlap})


@functools.lru_cache(16)
def _references(folder: Folder, name: str, threshold: float, fast: bool, made_from: str) -> tuple[ReferenceSet, Factor]:
    """Kept from unit to unit of a worker. A later job of the same process may find others in a folder of this name."""
    references = read_references(folder, name, threshold)
    return references, Factor(references.vectors.reshape(-1, references.vectors.shape[2]), fast=fast)


def _matches(result: SearchResult, keys: Sequence[str], references: ReferenceSet) -> pa.Table:
    """Of each picture the most alike references, as `MATCHES`."""
    pairs, ranks = most_alike(result)
    rows = [
        {
            "key": keys[result.rows[pair]],
            "reference_set": references.name,
            "reference_id": references.ids[result.references[pair]],
            "similarity": result.similarities[pair],
            "rank": rank,
        }
        for pair, rank in zip(pairs.tolist(), ranks.tolist(), strict=True)
    ]
    return pa.Table.from_pylist(rows, MATCHES)


def _deny(entries: dict[int, dict[str, Any]], row: Mapping[str, Any], references: ReferenceSet, copy: Copy) -> None:
    """Enter the pair for its picture, unless the picture's entry is of the same bytes or of a greater similarity."""
    entry = denied(row, references.name, references.ids[copy.reference], copy.similarity, copy.decided_by)
    before = entries.get(copy.row)
    if before is None or _weight(entry) > _weight(before):
        entries[copy.row] = entry


def _weight(entry: Mapping[str, Any]) -> tuple[bool, float]:
    return entry["decided_by"] == DecidedBy.EXACT, entry["similarity"]


def _write_nearest(staging: Staging, name: str, result: SearchResult) -> None:
    records = np.empty(len(result.nearest), _NEAREST)
    records["row"], records["similarity"] = result.nearest, result.nearest_similarities
    with staging.file(name) as file:
        np.lib.format.write_array(file, records, allow_pickle=False)


def read_nearest(folder: Folder, name: str, references: int) -> np.ndarray:
    """[references] `row` among a shard's vectors of the picture most like each reference, -1 if there is none, and
    `similarity`.

    Raises:
        ValueError: if the file is damaged.
    """
    with folder.open(name) as file:
        try:
            nearest = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder.path(name)}: is damaged ({error}); remove it and run the job again") from None
    whole = nearest.dtype == np.dtype(_NEAREST) and nearest.shape == (references,)
    if not whole or not np.isfinite(nearest["similarity"][nearest["row"] >= 0]).all():
        raise ValueError(f"{folder.path(name)}: is damaged; remove it and run the job again")
    return nearest
