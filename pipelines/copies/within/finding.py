"""The whole search for copies inside a dataset: spread, search, join, choose. What is done is not done again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.copies.comparing import FINDINGS, VECTORS
from pipelines.copies.within.cells import centres, number_of_cells, sample
from pipelines.copies.within.groups import COPY, copies, groups, links_of, pairs_of
from pipelines.copies.within.numbering import PICTURE, Numbering
from pipelines.copies.within.runs import Runs, write_run
from pipelines.copies.within.searching import SearchBucket, SearchCell, read_links
from pipelines.copies.within.spreading import Spread, groups_of_shards, number_of_buckets
from pipelines.lists.slices import Unit
from pipelines.running.units import DoUnits, Work
from schemas.folder import Folder, Staging
from schemas.manifest import Counts, fingerprint
from schemas.matches import EXACT_COPIES, WITHIN_SET, Decisions
from schemas.shards import shard_digits, shard_name, write_parquet

WORK = "_within"
"""Where all this lies until the dataset is finished: with `--within` about twice the size of the vectors."""
EXACT_FILE = "dedup/exact.parquet"

_COPIES = "copies.run"


class DoAll(Protocol):
    """Does what is missing of some units of work, in Beam."""

    def __call__(self, folder: Folder, units: Sequence[Unit], do_units: DoUnits, what: str) -> None:
        """Returns when all are done."""
        ...


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for."""

    threshold: float | None
    """From which similarity pictures are copies; None: only exact copies are counted, and all stay."""
    cells: int
    """How many cells; 0: by the number of pictures."""
    decisions: Decisions
    fast: bool


def find_copies(
    pairs: Folder, folder: Folder, manifest: Mapping[str, Any], fingerprints: Sequence[str], asked: Asked, do: DoAll
) -> None:
    """Leave the table of exact copies, and for `read_copies` who goes because of whom.

    Args:
        pairs: the dataset.
        folder: the clean one, with vectors and with what `pipelines.copies.comparing` found.
        manifest: of the dataset.
        fingerprints: of each shard's comparison: what its vectors and findings were made from.
        asked: what is asked for.
        do: does units.

    Raises:
        ValueError: if a person's decision names a picture that is not in the dataset.
    """
    numbering = Numbering.of_manifest(manifest)
    shards = numbering.shards
    sizes = [Counts.of_json(shard["counts"]).kept for shard in manifest["shards"]]
    apart, same = _decided(asked.decisions, numbering)
    groups_ = groups_of_shards(shards, sizes)
    spread = Spread(
        pairs=pairs,
        findings=Folder(f"{folder}/{FINDINGS}"),
        vectors=Folder(f"{folder}/{VECTORS}"),
        groups=groups_,
        numbering=numbering,
        buckets=number_of_buckets(sum(sizes)),
        centres=_centres(folder, shards, sizes, fingerprints, asked) if asked.threshold is not None else None,
    )
    made_from = fingerprint([list(fingerprints), spread.buckets, _sha256(spread.centres)])
    size_of = dict(zip(shards, sizes, strict=True))
    units = [
        Unit(shard=name, rows=sum(size_of[s] for s in of), source="", fingerprint=fingerprint([made_from, list(of)]))
        for name, of in groups_.items()
    ]
    place = _run(folder, "spread", units, spread, do, "spread the pictures over cells")

    hashes = spread.hashes(place)
    by_hash = _units(hashes.sizes(), fingerprint([made_from, apart.tolist()]))
    found = _run(folder, "hashes", by_hash, SearchBucket(hashes=hashes, apart=apart), do, "find exact copies")
    _write_exact(folder, numbering, (read_links(found, unit.shard) for unit in by_hash))
    if asked.threshold is None:
        return

    cells = spread.cells(place)
    by_cell = _units(cells.sizes(), fingerprint([made_from, asked.threshold, apart.tolist()]))
    search = SearchCell(cells=cells, threshold=asked.threshold, fast=asked.fast, apart=apart)
    alike = _run(folder, "cells", by_cell, search, do, "find copies in each cell")

    exact = groups(read_links(found, unit.shard) for unit in by_hash)
    linked = groups(
        [
            *(read_links(found, unit.shard) for unit in by_hash),
            *(read_links(alike, unit.shard) for unit in by_cell),
            links_of(_pictures(spread, numbering, same), same),
        ]
    )
    gone = copies(linked, exact, same, apart)
    with Staging(Folder(f"{folder}/{WORK}")) as staging:
        with staging.file(_COPIES) as file:
            write_run(file, gone, numbering.places(gone["number"]), len(shards))
        staging.publish()


def read_copies(folder: Folder, manifest: Mapping[str, Any]) -> Runs:
    """Who goes because of whom, by shard."""
    return Runs(Folder(f"{folder}/{WORK}"), (_COPIES,), len(manifest["shards"]), COPY)


def _centres(
    folder: Folder, shards: Sequence[str], sizes: Sequence[int], fingerprints: Sequence[str], asked: Asked
) -> np.ndarray:
    """Learnt once: another run takes those that lie there."""
    work = Folder(f"{folder}/{WORK}")
    wanted = asked.cells or number_of_cells(sum(sizes))
    name = f"centres_{fingerprint([list(fingerprints), wanted])[:16]}.npy"
    if not work.exists(name):
        found = centres(sample(Folder(f"{folder}/{VECTORS}"), shards, sizes, wanted), wanted)
        with Staging(work) as staging:
            with staging.file(name) as file:
                np.lib.format.write_array(file, found, allow_pickle=False)
            staging.publish()
    with work.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _run(folder: Folder, name: str, units: Sequence[Unit], work: Work, do: DoAll, what: str) -> Folder:
    place = Folder(f"{folder}/{WORK}/{name}")
    place.make()
    place.sweep()
    do(place, units, DoUnits(work, place), what)
    return place


def _units(sizes: np.ndarray, made_from: str) -> list[Unit]:
    digits = shard_digits(len(sizes))
    names = [shard_name(cell, digits) for cell in range(len(sizes))]
    return [
        Unit(shard=name, rows=size, source="", fingerprint=fingerprint([made_from, name]))
        for name, size in zip(names, sizes.tolist(), strict=True)
    ]


def _decided(decisions: Decisions, numbering: Numbering) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that a person called different, and those that a person called copies."""
    pairs: dict[str, list[tuple[int, int]]] = {"different": [], "copy": []}
    for (name, key, other), decision in decisions.pairs.items():
        if name == WITHIN_SET:
            try:
                pairs[decision].append((numbering.number(key), numbering.number(other)))
            except KeyError as error:
                raise ValueError(
                    f"decisions: the dataset has no picture {error}, which a pair of the set {WITHIN_SET} names; "
                    "review its pairs again"
                ) from None
    return pairs_of(pairs["different"]), pairs_of(pairs["copy"])


def _pictures(spread: Spread, numbering: Numbering, pairs: np.ndarray) -> np.ndarray:
    """The pictures of the shards that pairs are of."""
    places = np.unique(numbering.places(pairs))
    found = [spread.pictures(numbering.shards[place])[0] for place in places.tolist()]
    return np.concatenate([np.zeros(0, PICTURE), *found])


def _write_exact(folder: Folder, numbering: Numbering, links: Iterator[np.ndarray]) -> None:
    def table(found: np.ndarray) -> pa.Table:
        found = found[found["number"] != found["least"]]
        keys = [[numbering.key(number) for number in found[name].tolist()] for name in ("number", "least")]
        return pa.table([*keys, [value.hex() for value in found["sha256"].tolist()]], schema=EXACT_COPIES)

    with Staging(folder) as staging:
        with staging.file(EXACT_FILE) as file:
            write_parquet(file, (each for found in links if (each := table(found)).num_rows), EXACT_COPIES)
        staging.publish()


def _sha256(values: np.ndarray | None) -> str:
    return "" if values is None else hashlib.sha256(values.tobytes()).hexdigest()
