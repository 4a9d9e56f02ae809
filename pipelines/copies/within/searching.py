"""Search cells, one a unit: which of the pictures in it are linked, by their vectors or by their files' hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.copies.within.numbering import PICTURE
from pipelines.copies.within.runs import Runs
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from pipelines.stages.link_alike import link_alike
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.pairs import SUCCESS

LINK = [*PICTURE, ("least", "<i8")]
"""A picture, and the least number of the pictures that it is linked to: its own for the least one."""
EXACT_LINK = [*LINK, ("sha256", "V32")]

_BLOCK = 1 << 16
"""Vectors of a cell in memory, twice."""


@dataclass(frozen=True, kw_only=True)
class SearchCell:
    """Link the pictures of a cell whose vectors are alike."""

    cells: Runs
    threshold: float
    fast: bool
    apart: np.ndarray
    """[A, 2] numbers of pictures of which a person said that they are different."""
    block: int = _BLOCK

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the cell's links ready."""
        cell = int(unit.shard)
        blocks = blocks_of(self.cells.sizes_of(cell), self.block)
        pictures = [np.zeros(0, PICTURE)]
        sizes = []
        for files in blocks:
            records = self.cells.read(cell, files)
            pictures.append(records[[name for name, _ in PICTURE]].astype(PICTURE))
            sizes.append(len(records))
        everyone = np.concatenate(pictures)
        labels = link_alike(
            lambda number: self.cells.read(cell, blocks[number])["vector"].astype(np.float32),
            sizes,
            self.threshold,
            fast=self.fast,
            apart=positions_of(everyone["number"], self.apart),
        )
        _write_links(staging, unit, everyone, everyone["number"][labels])
        return Done(Counts(Counter({SUCCESS: len(everyone)})))


@dataclass(frozen=True, kw_only=True)
class SearchBucket:
    """Link the pictures whose files are the same, byte for byte."""

    hashes: Runs
    apart: np.ndarray

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the bucket's links ready."""
        records = self.hashes.read(int(unit.shard))
        records = records[np.argsort(records["number"], kind="stable")]
        _, first, of = np.unique(records["sha256"], return_index=True, return_inverse=True)
        least = records["number"][first[of.ravel()]]
        forbidden = {tuple(sorted(pair)) for pair in self.apart.tolist()}
        for position in np.flatnonzero(least != records["number"]) if forbidden else ():
            if tuple(sorted((int(least[position]), int(records["number"][position])))) in forbidden:
                least[position] = records["number"][position]
        _write_links(staging, unit, records, least)
        return Done(Counts(Counter({SUCCESS: len(records)})))


def read_links(folder: Folder, shard: str) -> np.ndarray:
    """What a unit left, by the pictures' numbers."""
    with folder.open(_links_name(shard)) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _write_links(staging: Staging, unit: Unit, pictures: np.ndarray, least: np.ndarray) -> None:
    """Of the pictures that are linked to any other."""
    links = np.empty(len(pictures), EXACT_LINK if "sha256" in (pictures.dtype.names or ()) else LINK)
    for name in pictures.dtype.names or ():
        links[name] = pictures[name]
    links["least"] = least
    _, of, counts = np.unique(least, return_inverse=True, return_counts=True)
    links = links[counts[of.ravel()] > 1]
    links = links[np.argsort(links["number"], kind="stable")]
    with staging.file(_links_name(unit.shard)) as file:
        np.lib.format.write_array(file, links, allow_pickle=False)


def _links_name(shard: str) -> str:
    return f"links_{shard}.npy"


def blocks_of(sizes: Sequence[int], block: int = _BLOCK) -> list[list[int]]:
    """Files that are read together, of those that hold so many records each: at most `block` in all, or one file."""
    blocks: list[list[int]] = [[]]
    room = block
    for number, size in enumerate(sizes):
        if blocks[-1] and size > room:
            blocks.append([])
            room = block
        blocks[-1].append(number)
        room -= size
    return blocks


def positions_of(numbers: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """[A', 2]: where in a cell the pairs are of which both are there."""
    order = np.argsort(numbers)
    first_at_or_after = np.searchsorted(numbers, pairs, sorter=order).clip(max=max(len(numbers) - 1, 0))
    if not len(numbers) or not len(pairs):
        return np.zeros((0, 2), np.int64)
    positions = order[first_at_or_after]
    return positions[(numbers[positions] == pairs).all(1)]
