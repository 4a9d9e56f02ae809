"""Records on disk, sorted by cell: many files are written, each by one unit, and a cell is read from all of them.

A file is its cells' ends ([cells + 1] int64) and then the records. A cell costs two short reads a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.folder import Folder, HashingFile

_AT_ONCE = 1 << 14
"""Records that are copied together while they are sorted."""


def write_run(file: HashingFile, records: np.ndarray, cells: np.ndarray, count: int) -> None:
    """Write records in the order of their cells; those of one cell stay in theirs.

    Args:
        file: to write to.
        records: [N] of any structured type.
        cells: [N] from 0 to `count` - 1.
        count: how many cells there are.
    """
    order = np.argsort(cells, kind="stable")
    ends = np.zeros(count + 1, "<i8")
    np.cumsum(np.bincount(cells, minlength=count), out=ends[1:])
    file.write(ends.tobytes())
    for start in range(0, len(order), _AT_ONCE):
        file.write(records[order[start : start + _AT_ONCE]].tobytes())


@dataclass(frozen=True)
class Runs:
    """Some such files with the same cells."""

    folder: Folder
    names: tuple[str, ...]
    count: int
    """Cells."""
    kind: Any
    """NumPy's type of a record."""

    def sizes(self) -> np.ndarray:
        """[cells] records of each cell in all files."""
        total = np.zeros(self.count, np.int64)
        for name in self.names:
            total += np.diff(self._ends(name, 0, self.count + 1))
        return total

    def sizes_of(self, cell: int) -> list[int]:
        """How many records of a cell each file has."""
        return [int(np.diff(self._ends(name, cell, 2))[0]) for name in self.names]

    def read(self, cell: int, files: Sequence[int] | None = None) -> np.ndarray:
        """The records of a cell, of all files in their order or of these."""
        kind = np.dtype(self.kind)
        parts = [np.zeros(0, kind)]
        for number in range(len(self.names)) if files is None else files:
            with self.folder.open(self.names[number]) as file:
                file.seek(8 * cell)
                first, end = np.frombuffer(file.read(16), "<i8")
                file.seek(8 * (self.count + 1) + int(first) * kind.itemsize)
                parts.append(np.frombuffer(file.read(int(end - first) * kind.itemsize), kind))
        return np.concatenate(parts)

    def _ends(self, name: str, first: int, count: int) -> np.ndarray:
        with self.folder.open(name) as file:
            file.seek(8 * first)
            return np.frombuffer(file.read(8 * count), "<i8")
