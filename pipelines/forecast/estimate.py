"""What collecting a whole list will give and take, from what became of a few of its rows.

How long it takes is worked out, not scaled up: 200 links that are all in flight at once end with the slowest of them,
and say little of the middle of a long run. A worker there is held up by whichever of three is scarcest, each measured
on the rows that were tried: its processor's seconds a row; a link's seconds in flight, of which `--thread_count` pass
at once; and those of the busiest host, of which `--max_connections_per_host` do. A unit ends with its last slow link.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.fetching.host_slots import has_limit
from pipelines.fetching.options import FetchOptions
from pipelines.forecast.intervals import Estimate, mean, resampled, share
from pipelines.forecast.probing import SEED, Probed
from pipelines.lists.rows import host_of
from schemas.folder import HashingFile
from schemas.pair_shards import OutputFormat
from schemas.pairs import SUCCESS, ledger_schema
from schemas.reasons import STATUS_OF_STAGE
from schemas.shards import write_parquet

STAGES = tuple(STATUS_OF_STAGE)
"""Where a row may be lost, in the order of its journey."""

_RECORD = 10240
"""A tar's size is a multiple of it, in bytes."""
_TAILS = 20
_LONGEST_TAIL = 10_000


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the whole list would be collected with."""

    processes: int
    cores: int
    rows_per_shard: int
    output_format: OutputFormat
    fetching: FetchOptions


@dataclass(frozen=True)
class Loss:
    """A way to be lost."""

    stage: str
    reason: str
    probed: int
    share: Estimate
    """Of all rows."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Everything that is said of a list before it is collected."""

    rows: int
    probed: int
    left: dict[str, tuple[int, Estimate]]
    """After each stage, in order: how many of the rows tried are left, and which share of all."""
    losses: list[Loss]
    """By stage, commonest first."""
    links: int
    """How many of the rows tried had a link that was fetched."""
    rot: list[tuple[str, int, Estimate]]
    """Reason, links that failed for it, and their share of all links that were fetched; commonest first."""
    working: tuple[int, Estimate]
    """Links that gave bytes."""
    tars: Estimate
    """Bytes; 0 where pictures are a column of the ledger."""
    ledgers: Estimate
    """Bytes."""
    disk: Estimate
    """Bytes of both."""
    network: Estimate
    """Bytes to fetch."""
    hours: Estimate
    """On this machine, its list's reading included."""
    held_up_by: str
    """What decides how long it takes."""
    shards: int
    processes: int
    local: bool
    """Whether the pictures are files, not links."""

    @property
    def kept(self) -> tuple[int, Estimate]:
        """Rows that will be in the shards."""
        return self.left[STAGES[-1]]


def forecast(probed: Probed, machine: Machine) -> Forecast:
    """What the rows that were tried say of the whole list."""
    n, fraction, rows = len(probed.records), probed.drawn.fraction, probed.drawn.rows
    losses = _losses(probed)
    left = _left(losses, n, fraction)
    links = left["caption"][0] - sum(loss.probed for loss in losses if loss.reason == "bad-url")
    rot = [
        (loss.reason, loss.probed, share(loss.probed, links, fraction))
        for loss in losses
        if loss.stage == "fetch" and loss.reason != "bad-url"
    ]
    shards = math.ceil(rows / machine.rows_per_shard)
    tars, ledgers, disk = _disk(probed, machine, shards)
    hours, held_up_by = _hours(probed, machine, shards)
    return Forecast(
        rows=rows,
        probed=n,
        left=left,
        losses=losses,
        links=links,
        rot=rot,
        working=(left["fetch"][0], share(left["fetch"][0], links, fraction)),
        tars=tars,
        ledgers=ledgers,
        disk=disk,
        network=_total(probed.fetched, probed),
        hours=hours,
        held_up_by=held_up_by,
        shards=shards,
        processes=min(machine.processes, shards),
        local=probed.local,
    )


def _losses(probed: Probed) -> list[Loss]:
    """By stage, commonest first."""
    lost = Counter((r.columns["stage"], r.columns["reason"]) for r in probed.records if r.columns["status"] != SUCCESS)
    return [
        Loss(stage, reason, count, share(count, len(probed.records), probed.drawn.fraction))
        for (stage, reason), count in sorted(lost.items(), key=lambda e: (STAGES.index(e[0][0]), -e[1], e[0][1]))
    ]


def _left(losses: list[Loss], probed: int, fraction: float) -> dict[str, tuple[int, Estimate]]:
    """After each stage how many of the rows tried are left, and which share of all."""
    left, still = {}, probed
    for stage in STAGES:
        still -= sum(loss.probed for loss in losses if loss.stage == stage)
        left[stage] = still, share(still, probed, fraction)
    return left


def _total(values: np.ndarray, probed: Probed, more: float = 0.0) -> Estimate:
    """Of all rows, from one figure a row, and what is no row's."""
    each = mean(values, probed.drawn.fraction)
    whole = each.times(probed.drawn.rows)
    return Estimate(whole.value + more, max(0.0, whole.low) + more, whole.high + more)


def _disk(probed: Probed, machine: Machine, shards: int) -> tuple[Estimate, Estimate, Estimate]:
    """Bytes of tars, ledgers and both.

    A row's part of its ledger is its share of the columns' plain bytes, times what compression left of them. Rows
    drawn at random repeat each other less than neighbours in a list, so a sorted list's ledger takes somewhat less.
    """
    schema = ledger_schema(probed.extra)
    ledger = pa.Table.from_pylist([record.columns for record in probed.records], schema=schema)
    empty, a_row = _parquet_sizes(ledger, machine.rows_per_shard)
    plain = np.array([_plain_size(record.columns) for record in probed.records], float)
    in_ledger = plain * (a_row / plain.mean())
    in_tar = probed.in_tar
    shard_of_tar = 2 * 512 + _RECORD / 2  # the end mark, and on average half a record of padding
    if machine.output_format == "parquet":
        in_ledger, in_tar, shard_of_tar = in_ledger + probed.stored, np.zeros(len(plain)), 0.0
    return (
        _total(in_tar, probed, shards * shard_of_tar),
        _total(in_ledger, probed, shards * empty),
        _total(in_tar + in_ledger, probed, shards * (shard_of_tar + empty)),
    )


def _plain_size(columns: Mapping[str, Any]) -> int:
    return sum(len(str(value)) for value in columns.values() if value is not None)


def _parquet_sizes(ledger: pa.Table, rows_per_shard: int) -> tuple[float, float]:
    """Bytes that a shard's ledger takes however few its rows are, and bytes that each row adds."""
    size = min(ledger.num_rows, rows_per_shard)
    one = float(_parquet_size(ledger.slice(0, 1)))
    if size == 1:
        return 0.0, one
    starts = range(0, ledger.num_rows - size + 1, size)
    whole = float(np.mean([_parquet_size(ledger.slice(start, size)) for start in starts]))
    a_row = (whole - one) / (size - 1)
    return one - a_row, a_row


def _parquet_size(table: pa.Table) -> int:
    file = HashingFile(io.BytesIO())
    write_parquet(file, [table], table.schema)
    return file.size


def _hours(probed: Probed, machine: Machine, shards: int) -> tuple[Estimate, str]:
    processes, fetching = min(machine.processes, shards), machine.fetching
    rows = probed.drawn.rows
    per_unit = min(rows, machine.rows_per_shard)
    costs = {
        ("the disk and the processor" if probed.local else "the processor"): probed.busy
        / min(1.0, machine.cores / processes),
        f"links in flight (--thread_count {fetching.thread_count})": probed.in_flight / fetching.thread_count,
    }
    busiest = _busiest_host(probed, fetching)
    if busiest is not None:
        name, on_it = busiest
        costs[f"the host {name} (--max_connections_per_host {fetching.max_connections_per_host})"] = (
            probed.in_flight * on_it / fetching.max_connections_per_host
        )
    rng = np.random.default_rng(SEED)

    def seconds(chosen: np.ndarray) -> float:
        a_row = max(float(cost[chosen].mean()) for cost in costs.values())
        tail = _tail(probed.in_flight[chosen], a_row, per_unit, rng)
        return probed.drawn.seconds + rows / processes * a_row + shards / processes * tail

    hours = resampled(len(probed.records), seconds, SEED)
    return hours.times(1 / 3600), max(costs, key=lambda name: float(costs[name].mean()))


def _tail(in_flight: np.ndarray, a_row: float, per_unit: int, rng: np.random.Generator) -> float:
    """Seconds for which a unit waits for its last links, on average: its rows drawn anew, one begun every `a_row`."""
    slowest = float(in_flight.max())
    if not slowest:
        return 0.0
    last = int(min(per_unit, _LONGEST_TAIL, slowest / max(a_row, 1e-9) + 1))
    begun = np.arange(last) * min(a_row, slowest)
    return float(np.mean([(rng.choice(in_flight, last) - begun).max() for _ in range(_TAILS)]).clip(0))


def _busiest_host(probed: Probed, fetching: FetchOptions) -> tuple[str, np.ndarray] | None:
    """The host with most seconds in flight among those with a limit, and which rows [n] are its."""
    hosts = [host_of(record.url) if probed.in_flight[record.index] else "" for record in probed.records]
    seconds: Counter[str] = Counter()
    for host, spent in zip(hosts, probed.in_flight.tolist(), strict=True):
        if host and has_limit(host, fetching.mapped_hosts):
            seconds[host] += spent
    if not seconds:
        return None
    name = min(seconds, key=lambda host: (-seconds[host], host))
    return name, np.array([host == name for host in hosts])
