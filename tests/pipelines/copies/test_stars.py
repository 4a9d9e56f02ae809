"""What `--within` takes out is like one that stays: brute force over all pairs, in any cells, files and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.copies.within import searching
from pipelines.copies.within.greater import SearchGreater, edges_of_groups
from pipelines.copies.within.groups import pairs_of
from pipelines.copies.within.numbering import PICTURE
from pipelines.copies.within.rounds import Rounds
from pipelines.copies.within.runs import Runs, write_run
from pipelines.copies.within.spreading import vector_record
from pipelines.running.unit import Unit
from pipelines.stages import find_greater as stage
from pipelines.stages.find_greater import FEW, Cell, find_greater
from schemas.folder import Folder, Staging
from tests.pipelines.stages.test_search_exactly import unit_vectors

NONE = np.zeros((0, 2), np.int64)


def alike(vectors: np.ndarray, least: float) -> np.ndarray:
    """[N, N] which pairs are, in float64."""
    return (vectors.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32) >= np.float32(least)


def near_copies(rng: np.random.Generator, count: int, dimension: int = 16) -> np.ndarray:
    """Vectors of which many are like others, or the same, or like others through some in between."""
    vectors = unit_vectors(rng, count, dimension)
    for row in range(1, count):
        if rng.random() < 0.7:
            vectors[row] = vectors[rng.integers(row)] + rng.choice([0, 0.1, 0.3]) * vectors[row]
            vectors[row] /= np.linalg.norm(vectors[row])
    return vectors.astype(np.float16).astype(np.float32)


def who_goes(edges: np.ndarray, areas: Sequence[int]) -> dict[int, int]:
    """The rule itself: from the greatest to the least, each that is like one that stays goes because of the greatest."""
    order = sorted(range(len(areas)), key=lambda number: (-areas[number], number))
    stay: list[int] = []
    gone = {}
    for number in order:
        because = next((other for other in stay if edges[number, other]), None)
        if because is None:
            stay.append(number)
        else:
            gone[number] = because
    return gone


@pytest.mark.parametrize("fast", [True, False])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4), least=st.floats(0.3, 1))
def test_lists_are_brute_force(fast: bool, seed: int, sizes: list[int], least: float) -> None:
    """The greatest few of all pairs, in any blocks, whoever is asked for."""
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    vectors, ranks = near_copies(rng, count), rng.permutation(count)
    apart = rng.integers(0, max(count, 1), (6, 2)) if count else NONE
    wanted = None if rng.random() < 0.5 else rng.random(count) < 0.5
    starts = np.cumsum([0, *sizes])
    cell = Cell(read=lambda n: vectors[starts[n] : starts[n + 1]], sizes=sizes, ranks=ranks, apart=apart)
    found = find_greater(cell, least, fast=fast, wanted=wanted)
    pairs = alike(vectors, least)
    pairs[apart[:, 0], apart[:, 1]] = pairs[apart[:, 1], apart[:, 0]] = False
    for number in range(count) if wanted is None else np.flatnonzero(wanted):
        greater = [other for other in np.argsort(ranks) if ranks[other] < ranks[number] and pairs[number, other]]
        assert (greater + [-1] * FEW)[:FEW] == found.positions[number].tolist()
        assert found.more[number] or len(greater) <= FEW


def test_a_cell_of_one_picture_many_times() -> None:
    """20,000 times the same vector, and as many a little off: without 800 million pairs."""
    rng = np.random.default_rng(0)
    base = unit_vectors(rng, 1, 32)
    near = base + 0.02 * unit_vectors(rng, 4000, 32)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    vectors = np.concatenate([np.repeat(base, 20_000, 0), near])
    ranks = rng.permutation(len(vectors))
    found = find_greater(Cell(read=lambda _: vectors, sizes=[len(vectors)], ranks=ranks, apart=NONE), 0.9, fast=False)
    first = np.argsort(ranks)[:FEW]
    assert (found.positions[ranks >= FEW] == first).all()
    assert found.more[ranks > FEW].all()


class Dataset:
    """Pictures spread over cells, in files on disk, searched as the job does it, in this process."""

    def __init__(
        self, folder: Path, vectors: np.ndarray, areas: np.ndarray, cells: np.ndarray, files: Sequence[int]
    ) -> None:
        """cells: [N, 2] of each picture; files: where one file ends and the next begins."""
        self.folder, self.count = Folder(folder), int(cells.max(initial=0)) + 1
        self.folder.make()
        self.searched: list[list[str]] = []
        self.pictures = np.zeros(len(vectors), PICTURE)
        numbers = np.arange(len(vectors))
        self.pictures["number"], self.pictures["row"], self.pictures["area"] = numbers, numbers + 7, areas
        names = []
        with Staging(self.folder) as staging:
            for number, (start, end) in enumerate(zip([0, *files], [*files, len(vectors)], strict=True)):
                some = np.zeros(end - start, vector_record(vectors.shape[1]))
                some["number"], some["row"] = np.arange(start, end), np.arange(start, end) + 7
                some["area"], some["vector"] = areas[start:end], vectors[start:end]
                own = cells[start:end]
                twice = own[:, 0] != own[:, 1]
                with staging.file(f"{number}.run") as file:
                    write_run(
                        file,
                        np.concatenate([some, some[twice]]),
                        np.concatenate([own[:, 0], own[twice, 1]]),
                        self.count,
                    )
                names.append(f"{number}.run")
            staging.publish()
        self.cells = Runs(self.folder, tuple(names), self.count, vector_record(vectors.shape[1]))

    def search(self, name: str, units: Sequence[Unit], work: SearchGreater) -> Folder:
        self.searched.append([unit.shard for unit in units])
        folder = Folder(f"{self.folder}/{name}")
        folder.make()
        for unit in units:
            with Staging(folder) as staging:
                assert unit.rows == work(unit, staging, lambda _: None).counts.rows
                staging.publish()
        return folder

    def gone(self, least: float, apart: np.ndarray = NONE, groups: Sequence[np.ndarray] = ()) -> dict[int, int]:
        sizes = self.cells.sizes()
        pictures = self.pictures
        rounds = Rounds(
            work=SearchGreater(cells=self.cells, threshold=least, fast=False, apart=apart),
            units=[
                Unit(shard=f"{cell:05d}", rows=int(sizes[cell]), fingerprint=str(cell)) for cell in range(self.count)
            ],
            groups=lambda: ((pictures[group], np.zeros(len(group), np.int64)) for group in groups),
            folder=self.folder,
            search=self.search,
        )
        gone = rounds.gone()
        assert (gone["kept_row"] == gone["kept"] + 7).all()
        assert sorted(gone["number"].tolist()) == gone["number"].tolist()
        return dict(zip(gone["number"].tolist(), gone["kept"].tolist(), strict=True))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60), cells=st.integers(1, 4), least=st.floats(0.3, 0.99))
def test_who_goes_is_brute_force(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, cells: int, least: float
) -> None:
    """In any cells and files, with pictures that are the same by their bytes and pairs that a person called different:
    what goes is like one that stays, no two that stay are alike, and it is the rule's own result."""
    rng = np.random.default_rng(seed)
    vectors, areas = near_copies(rng, count, 6), rng.integers(0, 4, count) * 100
    apart = pairs_of([tuple(pair) for pair in rng.integers(0, count, (3, 2)).tolist() if pair[0] != pair[1]])
    groups = [np.unique(rng.integers(0, count, rng.integers(2, 9))) for _ in range(2)]
    at = rng.integers(0, cells, (count, 2))
    files = np.sort(rng.integers(0, count + 1, 3)).tolist()
    meets = np.array([[bool(set(one) & set(other)) for other in at.tolist()] for one in at.tolist()])
    edges = alike(vectors, least) & meets
    for group in groups:
        edges[np.ix_(group, group)] = True
    edges[apart[:, 0], apart[:, 1]] = edges[apart[:, 1], apart[:, 0]] = False
    gone = Dataset(tmp_path_factory.mktemp("d"), vectors, areas, at, files).gone(least, apart, groups)
    assert who_goes(edges, areas.tolist()) == gone
    stay = [number for number in range(count) if number not in gone]
    assert all(edges[number, kept] and kept in stay for number, kept in gone.items())
    assert not np.triu(edges[np.ix_(stay, stay)], 1).any()


@pytest.mark.parametrize("order", ["ends first", "by number", "any"])
def test_a_chain_of_sixty(tmp_path: Path, order: str) -> None:
    """Each 0.95 like the next, and less like all others: what goes is 0.95 like one that stays, about every other."""
    angle = np.arccos(0.951) * np.arange(60)
    vectors = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float16).astype(np.float32)
    areas = {"ends first": abs(np.arange(60) - 30), "by number": np.zeros(60, int)}.get(
        order, np.random.default_rng(0).permutation(60)
    )
    edges = alike(vectors, 0.95)
    cells = np.stack([np.arange(60) // 20, (np.arange(60) + 5).clip(max=59) // 20], 1)
    meets = np.array([[bool(set(one) & set(other)) for other in cells.tolist()] for one in cells.tolist()])
    gone = Dataset(tmp_path, vectors, areas, cells, [25]).gone(0.95)
    assert who_goes(edges & meets, areas.tolist()) == gone
    assert all(vectors[number] @ vectors[kept] >= np.float32(0.95) for number, kept in gone.items())
    assert 30 <= len(gone) <= 40


def test_more_rounds_where_the_first_few_do_not_tell(tmp_path: Path) -> None:
    """A picture that is like many that go and one that stays: only the cells in question are searched again."""
    count = 3 * FEW
    middle = unit_vectors(np.random.default_rng(0), 1, 64)[0]
    spokes = np.eye(64)[:count]
    vectors = np.concatenate(
        [spokes, (spokes + 0.9 * middle) / np.linalg.norm(spokes + 0.9 * middle, axis=1)[:, None], middle[None]]
    )
    vectors = vectors.astype(np.float16).astype(np.float32)
    areas = np.array([300 - n for n in range(count)] + [200 - n for n in range(count)] + [1])
    least = 0.6
    edges = alike(vectors, least)
    cells = np.zeros((len(vectors), 2), int)
    dataset = Dataset(tmp_path, vectors, areas, cells, [])
    assert who_goes(edges, areas.tolist()) == dataset.gone(least)
    assert ["00000"] in dataset.searched[1:]
    other = np.concatenate([vectors, unit_vectors(np.random.default_rng(1), 30, 64)])
    where = np.concatenate([cells, np.ones((30, 2), int)])
    two = Dataset(tmp_path / "two", other, np.concatenate([areas, np.zeros(30, int)]), where, [])
    two.gone(least)
    assert ["00000", "00001"] == two.searched[0]
    assert {"00000"} == {shard for again in two.searched[1:] for shard in again}


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_files_and_blocks_do_not_matter(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """However the pictures are cut into shards, and however many vectors are in memory at once."""
    rng = np.random.default_rng(seed)
    vectors, areas, cells = near_copies(rng, 50, 6), rng.integers(0, 3, 50), rng.integers(0, 2, (50, 2))
    results = []
    for files, block in (([], 1 << 16), ([10, 20, 30], 1), ([7, 7, 40], 12)):
        kept = searching._BLOCK, stage._BLOCK
        searching.blocks_of.__defaults__, stage._BLOCK = (block,), 3
        try:
            results.append(Dataset(tmp_path_factory.mktemp("d"), vectors, areas, cells, files).gone(0.8))
        finally:
            searching.blocks_of.__defaults__, stage._BLOCK = (kept[0],), kept[1]
    assert results[0] == results[1] == results[2]


def test_groups_and_what_a_person_called_different() -> None:
    """Of one file many times each has the greatest as its mates, but for those that are to stay apart."""
    pictures = np.zeros(8, PICTURE)
    pictures["number"], pictures["area"] = np.arange(8), 9
    edges = edges_of_groups(pictures, np.array([0, 1, 0, 0, 0, 0, 0, 1]), pairs_of([(0, 6), (1, 7)]))
    lists: dict[int, list[int]] = {}
    for number, other in zip(edges["number"].tolist(), edges["other"].tolist(), strict=True):
        lists.setdefault(number, []).append(other)
    assert {2: [0], 3: [0, 2], 4: [0, 2, 3], 5: [0, 2, 3, 4], 6: [2, 3, 4, 5]} == lists
    assert not edges["last"].any()
