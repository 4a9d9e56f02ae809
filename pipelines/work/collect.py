"""What happens to one unit of a list: its rows become a shard and a ledger.

Read its rows, refuse by caption (what will be refused is never downloaded), fetch many at once, make each picture as
it arrives, spool it to disk; when all are in, write shard and ledger in the order of the list.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from pipelines.fetching.options import FetchOptions
from pipelines.lists.rows import ROWS, host_of
from pipelines.lists.slices import Unit, read_slice
from pipelines.running.units import Done, Note
from pipelines.stages.decode import PictureOptions, to_stored
from pipelines.stages.fetch import fetch
from pipelines.stages.fetch_img2dataset import fetch_img2dataset
from pipelines.stages.filter import Thresholds, filter_captions, image_problem, load_models
from pipelines.stages.open_local import open_local
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.record import Record
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.pair_shards import OutputFormat, extra_columns, read_ledger, read_pictures, write_pairs
from schemas.pairs import ledger_schema
from schemas.reasons import REASONS, NotKept
from schemas.shards import index_digits, sample_key

_WORST = 100
"""Hosts with the most failures that a unit's marker names."""


@dataclass(frozen=True, kw_only=True)
class Collect:
    """The work of `pipelines.ingest` on a unit of the list."""

    folder: Folder
    limits: Thresholds
    pictures: PictureOptions
    fetching: FetchOptions
    hashes: HashOptions
    output_format: OutputFormat
    rows_per_shard: int
    types: dict[str, str] = field(default_factory=dict)
    """Types of the additional columns that came as JSON."""
    local_folder: str | None = None
    """Where the pictures are, for lists of local ones."""
    not_saved: str | None = None
    """An additional column of the list that is needed here and not in the ledger."""

    def prepare(self) -> None:
        """Load what tells languages."""
        load_models(self.limits)

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the unit's shard and ledger."""
        table = read_slice(self.folder, unit, self.types)
        digits = index_digits(self.rows_per_shard)
        rows = [
            Record.begin(
                index,
                sample_key(unit.shard, index, digits),
                row,
                filter_captions(row["captions"] or [], self.limits),
                self.not_saved,
            )
            for index, row in enumerate(table.to_pylist())
        ]
        extra = pa.schema([f.remove_metadata() for f in table.schema if f.name not in (*ROWS.names, self.not_saved)])
        if self.hashes.extra:
            extra = extra.append(pa.field(self.hashes.extra, pa.string()))
        with tempfile.TemporaryFile() as spool:
            return self._finish(unit, rows, extra, spool, staging, note)

    def _finish(
        self, unit: Unit, rows: list[Record], extra: pa.Schema, spool: IO[bytes], staging: Staging, note: Note
    ) -> Done:
        """Fetch what is open, then write the shard."""
        counts, fetched = [0, 0, 0], 0
        failures: Counter[tuple[str, str]] = Counter()
        for row, size, _ in self.fates(rows, spool):
            counts[row.fate] += 1
            fetched += size
            if row.columns["stage"] == "fetch" and self.local_folder is None:
                failures[host_of(row.url), row.columns["reason"]] += 1
            note(*counts)
        ledger = pa.Table.from_pylist([row.columns for row in rows], schema=ledger_schema(extra))
        write_pairs(
            staging,
            unit.shard,
            ledger,
            lambda index: rows[index].stored(spool),
            kind=self.pictures.encode_format,
            output_format=self.output_format,
        )
        worst = [[host, reason, n] for (host, reason), n in failures.most_common(_WORST)]
        return Done(Counts.of_ledger(ledger), {"bytes_fetched": fetched, "failures_by_host": worst})

    def fates(self, rows: list[Record], spool: IO[bytes]) -> Iterator[tuple[Record, int, float]]:
        """Every row once, when its fate is known, with the bytes and the seconds that its link took."""
        wanted = [row for row in rows if row.is_open]
        yield from ((row, 0, 0.0) for row in rows if not row.is_open)
        for index, data, problem, seconds in self._pictures(wanted):
            row = rows[index]
            problem = problem or self.hashes.mismatch(data, row.given)
            if problem is None:
                row.columns |= self.hashes.computed(data)
                stored = to_stored(data, self.pictures, self._refuse)
                row.columns |= stored.columns
                problem = stored.problem
            if problem:
                row.give_up(problem)
            else:
                row.keep(stored.data, spool)
            yield row, len(data), seconds

    def _refuse(self, width: int, height: int) -> NotKept | None:
        return image_problem(width, height, self.limits)

    def _pictures(self, wanted: list[Record]) -> Iterator[tuple[int, bytes, NotKept | None, float]]:
        if self.local_folder is not None:
            places = ((row.index, row.place or "") for row in wanted)
            return ((*found, 0.0) for found in open_local(places, self.local_folder, self.fetching.max_bytes))
        links = ((row.index, row.url) for row in wanted)
        if self.fetching.downloader == "img2dataset":
            return ((*found, 0.0) for found in fetch_img2dataset(links, self.fetching))
        return ((f.index, f.data, f.problem, f.seconds) for f in fetch(links, self.fetching))


@dataclass(frozen=True, kw_only=True)
class CollectAgain(Collect):
    """The same for a shard that is there: only rows that failed for a passing reason are fetched again."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the shard anew, with the pictures it has and those that can be had now."""
        ledger = read_ledger(self.folder, unit.shard)
        rows = [Record(index, row) for index, row in enumerate(ledger.to_pylist())]
        by_key = {row.columns["key"]: row for row in rows}
        with tempfile.TemporaryFile() as spool:
            for key, _kind, data in read_pictures(self.folder, unit.shard):
                by_key[key].keep(data, spool)
            for row in rows:
                reason = row.columns["reason"]
                if reason is not None and REASONS[reason].transient:
                    row.reopen()
            return self._finish(unit, rows, extra_columns(ledger.schema), spool, staging, note)
