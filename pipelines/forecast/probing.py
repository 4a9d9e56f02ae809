"""Try a list on a few of its rows, drawn at random, with the very stages that would collect it; write nothing.

Which rows are drawn follows from the seed and their numbers in the list alone: every row has a number drawn by hash,
and those with the smallest are taken. So the list is read once, in batches, and never more of it is held than may be
drawn, however long it is.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa

from dalle.reading.epoch_order import draws
from pipelines.lists.rows import ROWS
from pipelines.lists.slices import narrowest_types, parse_columns
from pipelines.stages.filter import filter_captions
from pipelines.work.journey import Journey
from pipelines.work.record import Record
from schemas.pair_shards import sample_json
from schemas.shards import index_digits, sample_key, sample_size

SHARE = 0.005
LEAST = 200
MOST = 5_000
SEED = 0
_PURPOSE = 17
"""Separates these draws from others of the same seed."""


@dataclass(frozen=True)
class DrawnRows:
    """Rows of a list drawn at random."""

    table: pa.Table
    """Batches as `pipelines.lists.rows` has them, in the order of the list."""
    numbers: np.ndarray
    """[n] int64: where each stands in the list, from 0."""
    rows: int
    """Of the whole list."""
    seconds: float
    """That reading the list took."""

    @property
    def fraction(self) -> float:
        """How much of the list it is."""
        return len(self.numbers) / self.rows


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What became of the rows that were tried, one figure of each kind for each row."""

    drawn: DrawnRows
    records: list[Record]
    fetched: np.ndarray
    """[n] bytes that came over the network."""
    in_flight: np.ndarray
    """[n] seconds for which a link was one of the `--thread_count` in flight; 0 where nothing was fetched."""
    busy: np.ndarray
    """[n] seconds of one worker: of processor time for links, of wall-clock time for local pictures, which are read one
    after the other."""
    stored: np.ndarray
    """[n] bytes of the stored picture; 0 if not kept."""
    in_tar: np.ndarray
    """[n] bytes that the sample takes in a tar; 0 if not kept."""
    local: bool
    """Whether the pictures are files, not links."""
    extra: pa.Schema = field(repr=False)
    """The list's own columns among the ledger's."""
    seconds: float
    """By the clock on the wall, the list's reading left out."""


def draw(batches: Iterable[pa.RecordBatch], seed: int = SEED) -> DrawnRows:
    """Draw 0.5 % of a list's rows: at least 200, at most 5,000, all of a shorter list.

    Raises:
        ValueError: if the list has no rows.
    """
    begun = time.monotonic()
    held: list[pa.RecordBatch] = []
    numbers, hashes = np.empty(0, np.int64), np.empty(0, np.uint64)
    rows, highest = 0, np.iinfo(np.uint64).max
    for batch in batches:
        here = np.arange(rows, rows + len(batch), dtype=np.int64)
        rows += len(batch)
        hashed = draws(seed, 0, here, _PURPOSE)
        taken = np.flatnonzero(hashed <= highest)
        if not len(taken):
            continue
        held.append(batch.take(pa.array(taken)))
        numbers, hashes = np.concatenate([numbers, here[taken]]), np.concatenate([hashes, hashed[taken]])
        if len(numbers) >= 2 * MOST:
            table, numbers, hashes = _smallest(held, numbers, hashes, MOST)
            held, highest = table.to_batches(), hashes.max()
    if not rows:
        raise ValueError("the list has no rows; expected at least one")
    wanted = min(rows, MOST, max(LEAST, math.ceil(SHARE * rows)))
    table, numbers, _ = _smallest(held, numbers, hashes, wanted)
    return DrawnRows(table.combine_chunks(), numbers, rows, time.monotonic() - begun)


def probe(drawn: DrawnRows, journey: Journey) -> Probed:
    """Do with the rows what `pipelines.ingest` would, and keep only figures."""
    journey.prepare()
    table = parse_columns(drawn.table, narrowest_types(drawn.table))
    n = table.num_rows
    fetched, in_flight, busy, decoding, stored, in_tar = (np.zeros(n) for _ in range(6))
    begun, spent = time.monotonic(), time.process_time()
    digits = index_digits(journey.rows_per_shard)
    records = []
    before = time.thread_time()
    for index, row in enumerate(table.to_pylist()):
        key = sample_key("0" * 5, index % journey.rows_per_shard, digits)
        records.append(Record.begin(index, key, row, filter_captions(row["captions"] or [], journey.limits)))
        busy[index], before = time.thread_time() - before, time.thread_time()
    clock = time.thread_time if journey.local_folder is None else time.monotonic
    sink, before = _Sink(), clock()
    with _codecs_silenced():
        for fate in journey.fates(records, cast("Any", sink)):
            index = fate.record.index
            busy[index] += clock() - before
            before = clock()
            decoding[index] = fate.decoding
            fetched[index], in_flight[index] = fate.fetched, fate.in_flight
            stored[index] = sink.take()
            if stored[index]:
                in_tar[index] = _in_tar(fate.record, int(stored[index]))
    spent = time.process_time() - spent
    if journey.local_folder is None:
        busy += decoding
        spent += float(decoding.sum())
        busy += max(0.0, spent - float(busy.sum())) / n  # of the thread that fetches, and what else a worker does
    return Probed(
        drawn=drawn,
        records=records,
        fetched=fetched,
        in_flight=in_flight,
        busy=busy,
        stored=stored,
        in_tar=in_tar,
        local=journey.local_folder is not None,
        extra=pa.schema([f.remove_metadata() for f in table.schema if f.name not in ROWS.names]),
        seconds=time.monotonic() - begun,
    )


@contextlib.contextmanager
def _codecs_silenced() -> Iterator[None]:
    """What C libraries print of broken pictures goes nowhere, as it does in a worker."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _Sink:
    """Takes a stored picture for its size alone."""

    def __init__(self) -> None:
        self._size = 0

    def tell(self) -> int:
        return 0

    def write(self, data: bytes) -> int:
        self._size += len(data)
        return len(data)

    def take(self) -> int:
        """Bytes that were written since the last call."""
        size, self._size = self._size, 0
        return size


def _in_tar(record: Record, stored: int) -> int:
    text = (record.columns["text"] or "").encode()
    return sample_size((stored, len(text), len(sample_json(record.columns))))


def _smallest(
    held: list[pa.RecordBatch], numbers: np.ndarray, hashes: np.ndarray, wanted: int
) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """The rows with the smallest hashes, in the order of the list."""
    kept = np.sort(np.argsort(hashes, kind="stable")[:wanted])
    table = pa.Table.from_batches(held).take(pa.array(kept))
    return table, numbers[kept], hashes[kept]
