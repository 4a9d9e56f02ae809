"""Rows of a unit's slice become records: read, cleaned and judged by their captions, each within its border."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.lists.rows import LOCATION
from pipelines.running.row_border import is_the_machines, row_border, unexpected
from pipelines.stages.filter import FilteredCaptions, Thresholds, filter_captions
from pipelines.work.record import Record
from schemas.reasons import NotKept
from schemas.shards import index_digits, sample_key


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How rows begin."""

    shard: str
    rows_per_shard: int
    limits: Thresholds
    not_saved: str | None = None
    """A column of the list that does not go into the ledger."""

    def records(self, table: pa.Table) -> list[Record]:
        """One for each row, in its order."""
        digits = index_digits(self.rows_per_shard)
        return [
            self._record(index, sample_key(self.shard, index, digits), row, problem)
            for index, (row, problem) in enumerate(rows_of(table))
        ]

    def _record(self, index: int, key: str, row: dict[str, Any], problem: NotKept | None) -> Record:
        problems = [problem] if problem else []
        captions = FilteredCaptions()
        with row_border(f"{key}, {row['url'] or row[LOCATION]}", "caption", problems.append):
            captions = filter_captions(row["captions"] or [], self.limits)
        record = Record.begin(index, key, row, captions, self.not_saved)
        if problems:
            record.give_up(problems[0])
        return record


def rows_of(table: pa.Table) -> Iterator[tuple[dict[str, Any], NotKept | None]]:
    """Each row of a slice as values, and what is wrong with it; values that cannot be had are None."""
    try:
        whole = table.to_pylist()
    except Exception as error:  # some row's: they are looked at one by one
        if is_the_machines(error):
            raise
        yield from (_row_of(table, index) for index in range(table.num_rows))
        return
    yield from ((row, None) for row in whole)


def _row_of(table: pa.Table, index: int) -> tuple[dict[str, Any], NotKept | None]:
    row: dict[str, Any] = dict.fromkeys(table.column_names)
    problem = None
    for name in table.column_names:
        try:
            row[name] = table[name][index].as_py()
        except Exception as error:  # a value that is there and cannot be had is the row's affair
            if is_the_machines(error):
                raise
            problem = problem or unexpected(f"column {name}: {type(error).__name__}: {error}", "read")
    return row, problem
