"""Lists of lists of numbers as flat arrays, checked: what thousands of examples a second are cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Lists:
    """Lists in one array: list i is `values[starts[i]:starts[i + 1]]`."""

    values: np.ndarray
    starts: np.ndarray
    """One more than there are lists; the first is 0."""

    @property
    def counts(self) -> np.ndarray:
        """How long each is."""
        return np.diff(self.starts)

    def part(self, first: int, end: int) -> Lists:
        """Lists `first` to `end`."""
        starts = self.starts[first : end + 1]
        return Lists(self.values[starts[0] : starts[-1]], starts - starts[0])

    def take(self, lists: np.ndarray) -> Lists:
        """Those with some numbers, [n] int64, in their order."""
        counts = self.counts[lists]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        index = np.arange(starts[-1]) + np.repeat(self.starts[lists] - starts[:-1], counts)
        return Lists(self.values[index], starts)


def joined(parts: Sequence[Lists]) -> Lists:
    """All lists of all parts."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(part.values) for part in parts)])
    starts = [part.starts[:-1] + start for part, start in zip(parts, before, strict=False)]
    return Lists(np.concatenate([part.values for part in parts]), np.concatenate([*starts, before[-1:]]))


class Column:
    """A column of lists of lists of uint16, of which each row is checked.

    Args:
        column: of a shard.
        name: the column's.
        file: path of the shard's file, for errors.

    Raises:
        ValueError: naming shard and row, where something is missing or no uint16.
    """

    def __init__(self, column: pa.ChunkedArray, name: str, file: str) -> None:
        self._name, self._file = name, file
        rows = column.combine_chunks()
        if rows.null_count:
            self.fail_at_row(int(np.flatnonzero(rows.is_null())[0]), "is missing")
        inner = rows.flatten()
        self.rows = _starts(rows)
        """Row i has lists `rows[i]` to `rows[i + 1]`."""
        if inner.null_count:
            self.fail(int(np.flatnonzero(inner.is_null())[0]), "holds a list that is missing")
        values = inner.flatten()
        starts = _starts(inner)
        self.lists = Lists(np.zeros(0, np.uint16), starts)
        if values.null_count:
            self.fail_at_value(int(np.flatnonzero(values.is_null())[0]), "holds a number that is missing")
        numbers = values.to_numpy(zero_copy_only=False)
        if numbers.dtype != np.uint16:
            wrong = np.flatnonzero((numbers < 0) | (numbers > np.iinfo(np.uint16).max))
            if len(wrong):
                self.fail_at_value(int(wrong[0]), f"holds {numbers[wrong[0]]}, expected 0 to 65,535")
            numbers = numbers.astype(np.uint16)
        self.lists = Lists(numbers, starts)

    def below(self, limit: int, what: str) -> None:
        """Check that all numbers are below a limit."""
        values = self.lists.values
        if len(values) and int(values.max()) >= limit:
            wrong = int(np.flatnonzero(values >= limit)[0])
            self.fail_at_value(wrong, f"holds {values[wrong]}, expected {what} below {limit}")

    def fail_at_value(self, value: int, what: str) -> NoReturn:
        """Complain of the row with this number."""
        self.fail(int(np.searchsorted(self.lists.starts, value, side="right")) - 1, what)

    def fail(self, item: int, what: str) -> NoReturn:
        """Complain of the row with this list."""
        self.fail_at_row(int(np.searchsorted(self.rows, item, side="right")) - 1, what)

    def fail_at_row(self, row: int, what: str) -> NoReturn:
        """Complain of a row."""
        raise ValueError(f"{self._file}, row {row}: {self._name} {what}; make the shard again with pipelines.encode")


def _starts(array: pa.Array) -> np.ndarray:
    if isinstance(array, pa.FixedSizeListArray):
        return np.arange(len(array) + 1, dtype=np.int64) * array.type.list_size
    starts = array.offsets.to_numpy().astype(np.int64)
    return starts - starts[0]
