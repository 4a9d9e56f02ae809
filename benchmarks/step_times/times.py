"""How long the units of a prior take of each thing, given how fast a process computes and sends."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.step_times.schedule import Stage, StepTimes, UnitTimes
from benchmarks.step_times.units import (
    GRADIENT,
    Layout,
    Unit,
    Work,
    copied_bytes,
    exchanged_bytes,
    gathered_bytes,
    reduced_bytes,
    shards_of,
    units_of,
)
from dalle.prior.config import PriorConfig
from dalle.training.bandwidth import GradientShape, rank_of_shard


@dataclass(frozen=True, kw_only=True)
class Link:
    """A way to send."""

    latency: float
    """Seconds of a call, whatever is sent."""
    bandwidth: float
    """Bytes a second that a process sends."""

    def seconds(self, count: float) -> float:
        """Of a call in which a process sends so many bytes; none of one that sends nothing."""
        return self.latency + count / self.bandwidth if count else 0.0


class Compressing(Protocol):
    """How long PowerSGD computes."""

    def __call__(self, matrices: Sequence[GradientShape], rank: int) -> tuple[float, float, float]:
        """Seconds up to P, from there to Q, and from there to the gradient, of some matrices of a shard."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast a process computes and sends while all others do the same."""

    forward: Mapping[str, float]
    """FLOP a second by kind of unit."""
    backward: Mapping[str, float]
    links: Mapping[str, Link]
    """`gather` and `reduce` within a group; between groups `words` (P and Q), `single` (what is not compressed beside
    them) and `mean` (gradients as they are)."""
    copied: float
    """Bytes a second that are put in another place."""
    stolen: float
    """Seconds of computing lost for each byte that is gathered meanwhile."""
    updated: float
    """Weights a second that the optimizer changes."""
    compressing: Compressing


def times_of(config: PriorConfig, work: Work, layout: Layout, rates: Rates, bytes_of_layers: int = 2) -> StepTimes:
    """How long each part of a step takes by itself."""
    embeddings, blocks, outputs = units_of(config, bytes_of_layers)
    weights = sum(math.prod(shape) for unit in (embeddings, *blocks, outputs) for shape in unit.shapes.values())

    @functools.cache
    def times(kind: str) -> UnitTimes:
        return _times(next(unit for unit in (embeddings, *blocks, outputs) if unit.kind == kind), work, layout, rates)

    return StepTimes(
        blocks=[times(unit.kind) for unit in blocks],
        embeddings=times("embeddings"),
        outputs=times("outputs"),
        optimizer=weights / layout.shard / rates.updated,
        portions=work.portions,
    )


def _times(unit: Unit, work: Work, layout: Layout, rates: Rates) -> UnitTimes:
    flops, numbers = work.examples * unit.flops, sum(math.prod(shape) for shape in unit.shapes.values())
    gradients = GRADIENT * numbers / rates.copied
    if unit.kind == "embeddings":  # nothing is multiplied: zeros are made, rows of which are added to
        forward, backward = 0.0, 2 * gradients
    elif unit.kind == "outputs":  # gradients of vectors and weights with the losses
        forward, backward = 3 * flops / rates.forward["outputs"], 0.0
    else:
        forward = flops / rates.forward[unit.kind]
        again = work.examples * (unit.flops - unit.last) / rates.forward[unit.kind]
        backward = 2 * flops / rates.backward[unit.kind] + (again if work.recompute == "blocks" else 0.0)
    unpacked, packed = copied_bytes(unit, layout)
    gathered = gathered_bytes(unit, layout)
    return UnitTimes(
        gather=rates.links["gather"].seconds(gathered),
        stolen=rates.stolen * gathered,
        unpack=unpacked / rates.copied,
        forward=forward,
        backward=backward,
        pack=packed / rates.copied,
        reduce=rates.links["reduce"].seconds(reduced_bytes(unit, layout)),
        exchange=_exchange(unit, layout, rates),
    )


def _exchange(unit: Unit, layout: Layout, rates: Rates) -> tuple[Stage, ...]:
    if layout.groups == 1:
        return ()
    first, second, others = exchanged_bytes(unit, layout)
    if not layout.rank:
        return (Stage(0.0, rates.links["mean"].seconds(others)),)
    matrices = [part for part in shards_of(unit, layout) if part.is_compressed]
    seconds = rates.compressing(matrices, rank_of_shard(layout.rank, layout.shard)) if matrices else (0.0, 0.0, 0.0)
    words = rates.links["words"]
    sends = (words.seconds(first), words.seconds(second), rates.links["single"].seconds(others))
    return tuple(Stage(*each) for each in zip(seconds, sends, strict=True))
