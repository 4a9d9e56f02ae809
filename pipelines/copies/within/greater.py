"""Search cells, one a unit, for the greater pictures that each of its pictures is like; and what is made of that.

Of two pictures the one with the larger area is the greater, of equals the one that comes first.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipelines.copies.within.numbering import PICTURE
from pipelines.copies.within.runs import Runs
from pipelines.copies.within.searching import blocks_of, positions_of
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from pipelines.stages.find_greater import FEW, Cell, find_greater
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.pairs import SUCCESS

EDGE = [*PICTURE, ("other", "<i8"), ("other_row", "<i4"), ("other_area", "<i8"), ("last", "?")]
"""A picture and a greater one that it is like, `other`. Those of a picture stand together, the greatest other first;
`last` is set on the last of them where there may be more behind it."""
STATE = [("number", "<i8"), ("gone", "?")]
"""Of pictures that are gone, and of those of which that is not known yet."""


@dataclass(frozen=True, kw_only=True)
class SearchGreater:
    """Find for the pictures of a cell the greatest ones that each is like."""

    cells: Runs
    threshold: float
    fast: bool
    apart: np.ndarray
    """[A, 2] numbers of pictures of which a person said that they are different."""
    state: tuple[Folder, str] | None = None
    """A file of `STATE`: pictures that are gone are left out, and only those are asked for of which nothing is known.
    Without it all are there and asked for."""

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the cell's edges ready."""
        cell = int(unit.shard)
        blocks = blocks_of(self.cells.sizes_of(cell))
        everyone = [self._pictures(cell, files) for files in blocks]
        pictures = np.concatenate(everyone)
        gone, unknown = self._state(pictures["number"])
        kept = np.flatnonzero(~gone)
        starts = np.cumsum([0, *map(len, everyone)])
        searched = Cell(
            read=lambda number: self._vectors(cell, blocks[number])[~gone[starts[number] : starts[number + 1]]],
            sizes=[int((~gone[start:end]).sum()) for start, end in itertools.pairwise(starts)],
            ranks=ranks_of(pictures[kept]),
            apart=positions_of(pictures["number"][kept], self.apart),
        )
        wanted = None if self.state is None else unknown[kept]
        found = find_greater(searched, self.threshold, fast=self.fast, wanted=wanted)
        edges = _edges(pictures[kept], found.positions, found.more)
        edges = edges[np.isin(edges["number"], pictures["number"][unknown])]
        with staging.file(_edges_name(unit.shard)) as file:
            np.lib.format.write_array(file, edges, allow_pickle=False)
        return Done(Counts(Counter({SUCCESS: len(pictures)})))

    def _pictures(self, cell: int, files: list[int]) -> np.ndarray:
        return self.cells.read(cell, files)[[name for name, _ in PICTURE]].astype(PICTURE)

    def _vectors(self, cell: int, files: list[int]) -> np.ndarray:
        return self.cells.read(cell, files)["vector"].astype(np.float32)

    def _state(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N] which of these are gone, and [N] of which nothing is known."""
        if self.state is None:
            return np.zeros(len(numbers), bool), np.ones(len(numbers), bool)
        folder, name = self.state
        with folder.open(name) as file:
            state = np.lib.format.read_array(file, allow_pickle=False)
        return np.isin(numbers, state["number"][state["gone"]]), np.isin(numbers, state["number"][~state["gone"]])


def read_edges(folder: Folder, shard: str) -> np.ndarray:
    """What a unit left, of type `EDGE`."""
    with folder.open(_edges_name(shard)) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def ranks_of(pictures: np.ndarray) -> np.ndarray:
    """[N] int64: 0 for the greatest of some pictures, 1 for the next, and so on."""
    ranks = np.empty(len(pictures), np.int64)
    ranks[np.lexsort((pictures["number"], -pictures["area"]))] = np.arange(len(pictures))
    return ranks


def edges_of_groups(pictures: np.ndarray, groups: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The edges of pictures that are all alike within each group.

    Args:
        pictures: [N] with the fields of `PICTURE`.
        groups: [N] integers, the same for pictures of one group.
        apart: [A, 2] numbers of pictures that are not alike all the same.
    """
    order = np.lexsort((ranks_of(pictures), groups))
    pictures, groups = pictures[order], groups[order]
    first = np.searchsorted(groups, groups)
    place = np.arange(len(groups)) - first
    nearest = np.arange(FEW)[None, :]
    positions = np.where(nearest < place[:, None], first[:, None] + nearest, -1)
    more = place > FEW
    decided = np.flatnonzero(np.isin(pictures["number"], apart))  # few: a person decided on each
    forbidden = {tuple(sorted(pair)) for pair in apart.tolist()} if len(decided) else set()
    for row in decided:
        number = int(pictures["number"][row])
        mates = [
            mate
            for mate in range(first[row], row)
            if tuple(sorted((number, int(pictures["number"][mate])))) not in forbidden
        ]
        positions[row] = (mates + [-1] * FEW)[:FEW]
        more[row] = len(mates) > FEW
    return _edges(pictures, positions, more)


def _edges(pictures: np.ndarray, positions: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Edges from pictures to those at these positions among them."""
    rows, places = np.nonzero(positions >= 0)
    edges = np.empty(len(rows), EDGE)
    others = pictures[positions[rows, places]]
    for name, _ in PICTURE:
        edges[name] = pictures[name][rows]
        edges["other" if name == "number" else f"other_{name}"] = others[name]
    edges["last"] = more[rows] & (places == FEW - 1)
    return edges


def _edges_name(shard: str) -> str:
    return f"edges_{shard}.npy"
