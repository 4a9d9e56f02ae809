"""The whole search for copies inside a dataset: spread, search, join, choose. What is done is not done again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.copies.comparing import FINDINGS, VECTORS
from pipelines.copies.within.cells import centres, number_of_cells, sample
from pipelines.copies.within.greater import SearchGreater
from pipelines.copies.within.groups import COPY, copies, groups, links_of, pairs_of, ways_of
from pipelines.copies.within.numbering import PICTURE, Numbering
from pipelines.copies.within.rounds import Rounds
from pipelines.copies.within.runs import Runs, write_run
from pipelines.copies.within.searching import SearchBucket, SearchCell, read_links
from pipelines.copies.within.spreading import Spread, groups_of_shards, number_of_buckets
from pipelines.running.do_units import DoesUnits, Step
from pipelines.running.unit import Unit
from schemas.embeddings import check_vectors
from schemas.folder import Folder, Staging
from schemas.manifest import Counts, fingerprint
from schemas.matches import EXACT_COPIES, WITHIN_SET, Decisions, Linkage
from schemas.shards import shard_digits, shard_name, write_parquet

WORK = "_within"
"""Where all this lies until the dataset is finished: with `--within` about twice the size of the vectors."""
EXACT_FILE = "dedup/exact.parquet"

_COPIES = "copies.run"
_SPREAD = "spread the pictures over cells"


@dataclass(frozen=True, kw_only=True)
class WithinSearch:
    """Which pictures of a dataset count as copies of each other."""

    threshold: float | None
    """From which similarity pictures are copies; None: only exact copies are counted, and all stay."""
    linkage: Linkage
    """Whether what goes must be like what stays, or may be like it through others."""
    cells: int
    """How many cells; 0: by the number of pictures."""
    decisions: Decisions
    fast: bool


@dataclass(frozen=True, kw_only=True)
class ComparedDataset:
    """A dataset whose pictures have vectors and were compared with the references."""

    pairs: Folder
    folder: Folder
    """The clean one, with vectors and with what `pipelines.copies.comparing` left."""
    manifest: Mapping[str, Any]
    """Of `pairs`."""
    fingerprints: Sequence[str]
    """Of each shard's comparison: what its vectors and findings were made from."""

    @property
    def sizes(self) -> list[int]:
        """Pictures of each shard."""
        return [Counts.of_json(shard["counts"]).kept for shard in self.manifest["shards"]]


def find_copies(dataset: ComparedDataset, search: WithinSearch, do: DoesUnits) -> None:
    """Leave the table of exact copies, and for `read_copies` who goes because of whom.

    Args:
        dataset: where copies are looked for.
        search: which ones.
        do: does units.

    Raises:
        ValueError: if a person's decision names a picture that is not in the dataset.
    """
    folder, numbering = dataset.folder, Numbering.of_manifest(dataset.manifest)
    apart, same = _decided(search.decisions, numbering)
    spread = _spread(dataset, search, numbering)
    made_from = fingerprint([list(dataset.fingerprints), spread.buckets, _sha256(spread.centres)])
    spread_folder = _run(folder, "spread", _groups(dataset, spread, made_from), Step(work=spread, title=_SPREAD), do)

    hashes = spread.hashes(spread_folder)
    by_hash = _units(hashes.sizes(), fingerprint([made_from, apart.tolist()]))
    same_bytes = SearchBucket(hashes=hashes, apart=apart)
    exact = _Links(_run(folder, "hashes", by_hash, Step(work=same_bytes, title="find exact copies"), do), by_hash)
    _write_exact(folder, numbering, exact.read())
    if search.threshold is None:
        return

    cells = spread.cells(spread_folder)
    by_cell = _units(cells.sizes(), fingerprint([made_from, search.threshold, search.linkage, apart.tolist()]))

    def run(name: str, units: Sequence[Unit], work: SearchCell | SearchGreater) -> Folder:
        return _run(folder, name, units, Step(work=work, title="find copies in each cell"), do)

    work = SearchGreater(cells=cells, threshold=search.threshold, fast=search.fast, apart=apart)
    inside = _Inside(work, by_cell, exact, links_of(_pictures(spread, numbering, same), same), same, run)
    gone = inside.single() if search.linkage == "single" else inside.star(folder.inside(WORK))
    with Staging(folder.inside(WORK)) as staging:
        with staging.file(_COPIES) as file:
            write_run(file, gone, numbering.shard_numbers(gone["number"]), len(numbering.shards))
        staging.publish()


def read_copies(folder: Folder, manifest: Mapping[str, Any]) -> Runs:
    """Who goes because of whom, by shard."""
    return Runs(folder.inside(WORK), (_COPIES,), len(manifest["shards"]), COPY)


@dataclass(frozen=True)
class _Links:
    """What the units of a search left: pictures that are linked."""

    folder: Folder
    units: Sequence[Unit]

    def read(self) -> Iterator[np.ndarray]:
        """Unit by unit, one in memory at a time."""
        return (read_links(self.folder, unit.shard) for unit in self.units)


@dataclass(frozen=True)
class _Inside:
    """The search in cells: what is searched, and what is known before."""

    work: SearchGreater
    cells: Sequence[Unit]
    exact: _Links
    by_person: np.ndarray
    """Pairs that a person called copies, as links."""
    same: np.ndarray
    """[S, 2] their numbers."""
    run: Callable[[str, Sequence[Unit], SearchCell | SearchGreater], Folder]
    """Has units done by a work in a folder of this name; gives the folder."""

    def single(self) -> np.ndarray:
        """Who goes, of type `COPY`, if copies of copies do."""
        work = self.work
        search = SearchCell(cells=work.cells, threshold=work.threshold, fast=work.fast, apart=work.apart)
        alike = _Links(self.run("cells", self.cells, search), self.cells)
        linked = groups([*self.exact.read(), *alike.read(), self.by_person])
        return copies(linked, groups(self.exact.read()), self.same, work.apart)

    def star(self, folder: Folder) -> np.ndarray:
        """Who goes, of type `COPY`, if only what is like one that stays does; units read files of the folder."""
        gone = Rounds(work=self.work, units=self.cells, groups=self._groups, folder=folder, search=self.run).gone()
        gone["decided_by"] = ways_of(gone, groups(self.exact.read()), self.same)
        return gone

    def _groups(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pictures whose files are the same, and pairs that a person called copies."""
        for links in self.exact.read():
            yield links, links["least"]
        pairs = len(self.by_person) // 2
        for pair in range(pairs):  # a picture may be in several, so each is a part of its own
            yield self.by_person[[pair, pairs + pair]], np.zeros(2, np.int64)


def _spread(dataset: ComparedDataset, search: WithinSearch, numbering: Numbering) -> Spread:
    return Spread(
        pairs=dataset.pairs,
        findings=dataset.folder.inside(FINDINGS),
        vectors=dataset.folder.inside(VECTORS),
        groups=groups_of_shards(numbering.shards, dataset.sizes),
        numbering=numbering,
        buckets=number_of_buckets(sum(dataset.sizes)),
        centres=_centres(dataset, search.cells, numbering) if search.threshold is not None else None,
    )


def _centres(dataset: ComparedDataset, cells: int, numbering: Numbering) -> np.ndarray:
    """Learnt once: another run takes those that lie there."""
    work, sizes = dataset.folder.inside(WORK), dataset.sizes
    cells = cells or number_of_cells(sum(sizes))
    name = f"centres_{fingerprint([list(dataset.fingerprints), cells])[:16]}.npy"
    if not work.exists(name):
        learnt = centres(sample(dataset.folder.inside(VECTORS), numbering.shards, sizes, cells), cells)
        with Staging(work) as staging:
            with staging.file(name) as file:
                np.lib.format.write_array(file, learnt, allow_pickle=False)
            staging.publish()
    with work.open(name) as file:
        centres_of_cells = np.lib.format.read_array(file, allow_pickle=False)
    check_vectors(centres_of_cells, lambda number: f"{work.path(name)}, row {number}", "remove it and run again")
    return centres_of_cells


def _groups(dataset: ComparedDataset, spread: Spread, made_from: str) -> list[Unit]:
    """Some shards each."""
    size_of = dict(zip(spread.numbering.shards, dataset.sizes, strict=True))
    return [
        Unit(shard=name, rows=sum(size_of[s] for s in of), fingerprint=fingerprint([made_from, list(of)]))
        for name, of in spread.groups.items()
    ]


def _run(folder: Folder, name: str, units: Sequence[Unit], step: Step, do: DoesUnits) -> Folder:
    """Have units done in a folder of this name; gives the folder."""
    left_in = folder.inside(f"{WORK}/{name}")
    left_in.make()
    left_in.sweep()
    do(left_in, units, step)
    return left_in


def _units(sizes: np.ndarray, made_from: str) -> list[Unit]:
    digits = shard_digits(len(sizes))
    names = [shard_name(cell, digits) for cell in range(len(sizes))]
    return [
        Unit(shard=name, rows=size, fingerprint=fingerprint([made_from, name]))
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
    shards = np.unique(numbering.shard_numbers(pairs)).tolist()
    return np.concatenate([np.zeros(0, PICTURE), *(spread.pictures(numbering.shards[shard])[0] for shard in shards)])


def _write_exact(folder: Folder, numbering: Numbering, links: Iterator[np.ndarray]) -> None:
    def table(linked: np.ndarray) -> pa.Table:
        later = linked[linked["number"] != linked["least"]]
        keys = [[numbering.key(number) for number in later[name].tolist()] for name in ("number", "least")]
        return pa.table([*keys, [value.hex() for value in later["sha256"].tolist()]], schema=EXACT_COPIES)

    with Staging(folder) as staging:
        with staging.file(EXACT_FILE) as file:
            write_parquet(file, (each for linked in links if (each := table(linked)).num_rows), EXACT_COPIES)
        staging.publish()


def _sha256(values: np.ndarray | None) -> str:
    return "" if values is None else hashlib.sha256(values.tobytes()).hexdigest()
