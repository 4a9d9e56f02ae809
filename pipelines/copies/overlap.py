"""Put together what the units of dedup found: one table of matches, one of what was taken out, one list a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.copies.cleaning import denylist_name
from pipelines.copies.comparing import FINDINGS, REFERENCES, matches_name, nearest_name, read_nearest
from pipelines.copies.embedding import read_references
from pipelines.vectors.duplicates import ReferenceSet
from schemas.commands.printing import printable
from schemas.folder import Folder, Staging
from schemas.manifest import Marker
from schemas.matches import DENYLIST, MATCHES, NEAREST, Decisions
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet, write_parquet

MATCHES_FILE, NEAREST_FILE, DENYLIST_FILE, DECISIONS_FILE = (
    "dedup/matches.parquet",
    "dedup/nearest.parquet",
    "dedup/denylist.parquet",
    "dedup/decisions.json",
)


@dataclass(frozen=True)
class SetSummary:
    """What became of one reference set."""

    name: str
    references: int
    overlapping: int
    """References with a copy among the pictures."""
    removed: int
    """Pictures that were removed because of it."""
    threshold: float


def join_findings(
    folder: Folder,
    pairs: Folder,
    shards: Sequence[str],
    thresholds: Mapping[str, float],
) -> list[SetSummary]:
    """Write matches, nearest, denylist and the overlap of each set; memory does not grow with the shards.

    Args:
        folder: of the clean dataset, with what the units left in `FINDINGS`.
        pairs: of the dataset that was cleaned.
        shards: names of its shards.
        thresholds: by reference set, in their order.
    """
    removed: Counter[str] = Counter()
    overlap: dict[str, set[str]] = {name: set() for name in thresholds}
    for shard in shards:
        for name, reference_ids in _overlap_of(folder.inside(FINDINGS), shard, overlap).items():
            overlap[name].update(reference_ids)
    sets = [read_references(folder.inside(f"{REFERENCES}/{name}"), name, t) for name, t in thresholds.items()]
    with Staging(folder) as staging:
        with staging.file(MATCHES_FILE) as file:
            matches = (f"{FINDINGS}/{matches_name(shard)}" for shard in shards)
            write_parquet(file, _all(folder, matches, MATCHES), MATCHES)
        with staging.file(DENYLIST_FILE) as file:
            denylist = (denylist_name(shard) for shard in shards)
            write_parquet(file, _counted(_all(folder, denylist, DENYLIST), removed), DENYLIST)
        with staging.file(NEAREST_FILE) as file:
            write_parquet(file, (_nearest(folder, pairs, shards, references) for references in sets), NEAREST)
        for references in sets:
            with staging.file(f"dedup/overlap-{references.name}.txt") as file:
                file.write("".join(f"{printable(one)}\n" for one in sorted(overlap[references.name])).encode())
        staging.publish()
    return [
        SetSummary(one.name, len(one.ids), len(overlap[one.name]), removed[one.name], one.threshold) for one in sets
    ]


def _overlap_of(findings: Folder, shard: str, sets: Container[str]) -> Mapping[str, list[str]]:
    """Which references of which sets have a copy in a shard, as its marker says."""
    overlap: Mapping[str, list[str]] = Marker.read(findings, shard).run.get("overlap", {})
    if strangers := [name for name in overlap if name not in sets]:
        raise ValueError(
            f"{findings.path(shard)}: found copies of {strangers[0]!r}, which is no reference set of this run; remove "
            f"{findings} and run the job again"
        )
    return overlap


def write_decisions(folder: Folder, decisions: Decisions, detector: str) -> None:
    """Leave a person's decisions, which are about pairs of this detector, in the clean dataset."""
    folder.write_json(DECISIONS_FILE, decisions.to_json(detector))


def _all(folder: Folder, names: Iterable[str], schema: pa.Schema) -> Iterator[pa.Table]:
    for name in names:
        table = read_parquet(folder, name)
        if table.num_rows:
            yield table.cast(schema)


def _counted(tables: Iterable[pa.Table], removed: Counter[str]) -> Iterator[pa.Table]:
    for table in tables:
        removed.update(table["reference_set"].to_pylist())
        yield table


def _nearest(folder: Folder, pairs: Folder, shards: Sequence[str], references: ReferenceSet) -> pa.Table:
    """For each reference the picture most like it: the maximum over all shards; of equals the first key stays."""
    count = len(references.ids)
    best = np.full(count, -np.inf, np.float32)
    rows, shard_numbers = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    for shard_number, shard in enumerate(shards):
        of_shard = read_nearest(folder, f"{FINDINGS}/{nearest_name(references.name, shard)}", count)
        greater = (of_shard["row"] >= 0) & (of_shard["similarity"] > best)
        best[greater], rows[greater] = of_shard["similarity"][greater], of_shard["row"][greater]
        shard_numbers[greater] = shard_number
    keys: list[str | None] = [None] * count
    for shard_number in sorted(set(shard_numbers[shard_numbers >= 0].tolist())):
        table = read_parquet(pairs, f"{shards[shard_number]}.parquet", ["key", "status"]).to_pylist()
        kept = [row["key"] for row in table if row["status"] == SUCCESS]
        for reference in np.flatnonzero(shard_numbers == shard_number).tolist():
            keys[reference] = kept[rows[reference]]
    table = pa.table(
        [
            [references.name] * count,
            list(references.ids),
            keys,
            [None if shard_number < 0 else value for shard_number, value in zip(shard_numbers, best, strict=True)],
        ],
        schema=NEAREST,
    )
    return table.sort_by([("similarity", "descending"), ("reference_id", "ascending")])
