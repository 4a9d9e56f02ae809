"""What happens to one unit of a list: its rows become a shard and a ledger.

Read its rows, refuse by caption (what will be refused is never downloaded), fetch many at once, make each picture as
it arrives, spool it to disk; when all are in, write shard and ledger in the order of the list.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from pipelines.lists.rows import ROWS, host_of
from pipelines.lists.slices import read_slice
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from pipelines.work.beginning import Beginning
from pipelines.work.journey import Journey
from pipelines.work.record import Record, ledger_of
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.pair_shards import OutputFormat, extra_columns, read_ledger, read_pictures, write_pairs
from schemas.pairs import ledger_schema
from schemas.reasons import REASONS, UNEXPECTED

_WORST = 100
"""Hosts with the most failures that a unit's marker names."""
_EXAMPLES = 3
"""Messages of failures that nobody foresaw, which it quotes."""


@dataclass(frozen=True, kw_only=True)
class Collect:
    """The work of `pipelines.ingest` on a unit of the list."""

    folder: Folder
    journey: Journey
    output_format: OutputFormat
    types: dict[str, str] = field(default_factory=dict)
    """Types of the additional columns that came as JSON."""
    not_saved: str | None = None
    """An additional column of the list that is needed here and not in the ledger."""

    def prepare(self) -> None:
        """Load what the journey needs."""
        self.journey.prepare()

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the unit's shard and ledger."""
        table = read_slice(self.folder, unit, self.types)
        extra = pa.schema([f.remove_metadata() for f in table.schema if f.name not in (*ROWS.names, self.not_saved)])
        if self.journey.hashes.extra:
            extra = extra.append(pa.field(self.journey.hashes.extra, pa.string()))
        with tempfile.TemporaryFile() as spool:
            beginning = Beginning(
                shard=unit.shard,
                rows_per_shard=self.journey.rows_per_shard,
                limits=self.journey.limits,
                not_saved=self.not_saved,
            )
            shard = _Shard(unit.shard, beginning.records(table), extra, spool)
            return self._finish(shard, staging, note)

    def _finish(self, shard: _Shard, staging: Staging, note: Note) -> Done:
        """Fetch what is open, then write the shard."""
        so_far, fetched = Counts(), 0
        failures: Counter[tuple[str, str]] = Counter()
        for fate in self.journey.fates(shard.records, shard.spool):
            record = fate.record
            so_far.statuses[record.status] += 1
            fetched += fate.fetched
            if record.columns["stage"] == "fetch" and self.journey.local_folder is None:
                failures[host_of(record.url), record.columns["reason"]] += 1
            note(so_far)
        ledger = ledger_of(shard.records, ledger_schema(shard.extra))
        write_pairs(
            staging,
            shard.name,
            ledger,
            lambda index: shard.records[index].stored(shard.spool),
            kind=self.journey.pictures.encode_format,
            output_format=self.output_format,
        )
        worst = [[host, reason, n] for (host, reason), n in failures.most_common(_WORST)]
        odd = [r.columns["error_message"] for r in shard.records if r.columns["reason"] == UNEXPECTED][:_EXAMPLES]
        facts = {"bytes_fetched": fetched, "failures_by_host": worst, "unexpected": odd}
        return Done(Counts.of_ledger(ledger), facts)


@dataclass(frozen=True, kw_only=True)
class CollectAgain(Collect):
    """The same for a shard that is there: only rows that failed for a passing reason are fetched again."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the shard anew, with the pictures it has and those that can be had now."""
        ledger = read_ledger(self.folder, unit.shard)
        records = [Record(index, row) for index, row in enumerate(ledger.to_pylist())]
        by_key = {record.columns["key"]: record for record in records}
        with tempfile.TemporaryFile() as spool:
            for key, _kind, data in read_pictures(self.folder, unit.shard):
                by_key[key].keep(data, spool)
            for record in records:
                reason = record.columns["reason"]
                if reason is not None and REASONS[reason].transient:
                    record.reopen()
            return self._finish(_Shard(unit.shard, records, extra_columns(ledger.schema), spool), staging, note)


@dataclass(frozen=True)
class _Shard:
    """A shard in the making."""

    name: str
    records: list[Record]
    extra: pa.Schema
    """The list's own columns among the ledger's."""
    spool: IO[bytes]
    """The stored pictures so far."""
