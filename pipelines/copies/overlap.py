"""Put together what the units of dedup found: one table of matches, one of what was taken out, one list a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.copies.cleaning import denylist_name
from pipelines.copies.comparing import FINDINGS, REFERENCES, matches_name, nearest_name
from pipelines.copies.embedding import read_references
from pipelines.vectors.duplicates import ReferenceSet
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
    decisions: Decisions,
    detector: str,
) -> list[SetSummary]:
    """Write matches, nearest, denylist, decisions and the overlap of each set; memory does not grow with the shards."""
    removed: Counter[str] = Counter()
    overlap: dict[str, set[str]] = {name: set() for name in thresholds}
    for shard in shards:
        for name, found in Marker.read(Folder(f"{folder}/{FINDINGS}"), shard).run["overlap"].items():
            overlap[name].update(found)
    sets = [read_references(Folder(f"{folder}/{REFERENCES}/{name}"), name, t) for name, t in thresholds.items()]
    with Staging(folder) as staging:
        with staging.file(MATCHES_FILE) as file:
            matches = (f"{FINDINGS}/{matches_name(shard)}" for shard in shards)
            write_parquet(file, _all(folder, matches, MATCHES), MATCHES)
        with staging.file(DENYLIST_FILE) as file:
            denylist = (denylist_name(shard) for shard in shards)
            write_parquet(file, _counted(_all(folder, denylist, DENYLIST), removed), DENYLIST)
        with staging.file(NEAREST_FILE) as file:
            write_parquet(file, (_nearest(folder, pairs, shards, given) for given in sets), NEAREST)
        for given in sets:
            with staging.file(f"dedup/overlap-{given.name}.txt") as file:
                file.write("".join(f"{one}\n" for one in sorted(overlap[given.name])).encode())
        staging.publish()
    folder.write_json(DECISIONS_FILE, decisions.to_json(detector))
    return [
        SetSummary(given.name, len(given.ids), len(overlap[given.name]), removed[given.name], given.threshold)
        for given in sets
    ]


def _all(folder: Folder, names: Iterable[str], schema: pa.Schema) -> Iterator[pa.Table]:
    for name in names:
        table = read_parquet(folder, name)
        if table.num_rows:
            yield table.cast(schema)


def _counted(tables: Iterable[pa.Table], removed: Counter[str]) -> Iterator[pa.Table]:
    for table in tables:
        removed.update(table["reference_set"].to_pylist())
        yield table


def _nearest(folder: Folder, pairs: Folder, shards: Sequence[str], given: ReferenceSet) -> pa.Table:
    """An elementwise maximum over shards; of equals the first key stays."""
    count = len(given.ids)
    best = np.full(count, -np.inf, np.float32)
    rows, places = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    for place, shard in enumerate(shards):
        with folder.open(f"{FINDINGS}/{nearest_name(given.name, shard)}") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
        greater = (found["row"] >= 0) & (found["similarity"] > best)
        best[greater], rows[greater], places[greater] = found["similarity"][greater], found["row"][greater], place
    keys: list[str | None] = [None] * count
    for place in sorted(set(places[places >= 0].tolist())):
        table = read_parquet(pairs, f"{shards[place]}.parquet", ["key", "status"]).to_pylist()
        kept = [row["key"] for row in table if row["status"] == SUCCESS]
        for reference in np.flatnonzero(places == place).tolist():
            keys[reference] = kept[rows[reference]]
    table = pa.table(
        [
            [given.name] * count,
            list(given.ids),
            keys,
            [None if place < 0 else value for place, value in zip(places, best, strict=True)],
        ],
        schema=NEAREST,
    )
    return table.sort_by([("similarity", "descending"), ("reference_id", "ascending")])
