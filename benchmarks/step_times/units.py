"""What each unit of a prior computes, sends and copies in a step, from shapes alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dalle.prior.config import PriorConfig
from dalle.prior.flops import keys_seen
from dalle.prior.masks import kinds_of
from dalle.prior.network import Prior
from dalle.prior.resblock import Recompute
from dalle.prior.sent import dims_of, gradients_of
from dalle.training.bandwidth import GradientShape, exchange_bytes, rank_of_shard, settle_bytes, weight_of

GRADIENT = 4
"""Bytes of a number of a gradient on its way."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Weights that are gathered together, and the FLOP of one example that they are for."""

    kind: str
    """`row`, `column`, `convolution` for attention, `mlp`, `embeddings`, `outputs`."""
    flops: float
    """Of a forward pass."""
    last: float
    """Of them, those of the product it ends with, which is not done again where a block is recomputed."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of its weights by name."""
    travels: Mapping[str, int]
    """Bytes of a number of each weight when it is gathered."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the processes are grouped, and what they send."""

    processes: int
    shard: int = 1
    rank: int = 0
    """Of PowerSGD; 0 sends gradients as they are."""

    @property
    def groups(self) -> int:
        """Of processes that hold the weights together."""
        return self.processes // self.shard


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a process computes in a step."""

    examples: int
    """Of a portion."""
    portions: int
    recompute: Recompute


@functools.lru_cache(maxsize=32)
def units_of(config: PriorConfig, bytes_of_layers: int) -> tuple[Unit, tuple[Unit, ...], Unit]:
    """Embeddings, residual blocks from first to last, output layers; linear maps of blocks travel in so many bytes."""
    with torch.device("meta"):
        prior = Prior(config)
    shapes = {name: tuple(value.shape) for name, value in prior.named_parameters()}
    linear = {name for name, shape in shapes.items() if name.startswith("layers.") and len(shape) == 2}

    def unit(kind: str, flops: float, last: float, *stems: str) -> Unit:
        own = {name: shape for name, shape in shapes.items() if name.startswith(stems)}
        travels = {name: bytes_of_layers if name in linear else 4 for name in own}
        return Unit(kind=kind, flops=flops, last=last, shapes=own, travels=travels)

    width, length = config.width, config.text_length + config.codes
    blocks = []
    for layer, kind in enumerate(kinds_of(config.layers)):
        product = 2.0 * width**2 * length
        attends = 4 * product + 2.0 * 2 * width * keys_seen(kind, config)
        blocks.append(unit(kind, attends, product, f"layers.{layer}.attention."))
        blocks.append(unit("mlp", 8 * product, 4 * product, f"layers.{layer}.mlp."))
    logits = config.text_length * config.vocab_size + config.codes * config.image_vocab_size
    outputs = unit("outputs", 2.0 * width * logits, 0.0, "norm.", "to_text.", "to_codes.")
    return unit("embeddings", 0.0, 0.0, "embeddings."), tuple(blocks), outputs


def shards_of(unit: Unit, layout: Layout) -> list[GradientShape]:
    """The first process's part of each gradient, as `dalle.training.compression` has them."""
    return gradients_of(unit.shapes, layout.shard, layout.rank)


def gathered_bytes(unit: Unit, layout: Layout) -> int:
    """That a process sends within its group when the unit's weights are gathered."""
    return (layout.shard - 1) * sum(part.numel * unit.travels[weight_of(part.name)] for part in shards_of(unit, layout))


def reduced_bytes(unit: Unit, layout: Layout) -> int:
    """That a process sends within its group of a unit's gradient."""
    return (layout.shard - 1) * GRADIENT * sum(part.numel for part in shards_of(unit, layout))


def copied_bytes(unit: Unit, layout: Layout) -> tuple[int, int]:
    """That a process puts elsewhere when weights are gathered, and when their gradients are reduced.

    As torch does it: its own part in the format it travels in, all out of what was received, and weights that are not
    cut along their first dimension once more in order; of gradients those first, then all in single precision, and at
    the end its own part, which is divided or added to that of other portions.
    """
    if layout.processes == 1:
        return 0, 0
    travels = {name: math.prod(shape) * unit.travels[name] for name, shape in unit.shapes.items()}
    gradients = GRADIENT * sum(math.prod(shape) for shape in unit.shapes.values())
    again = sum(travels[name] for name, dim in dims_of(unit.shapes, layout.shard).items() if dim)
    again *= layout.shard > 1
    whole = sum(travels.values())
    return whole + whole // layout.shard + again, gradients + gradients // layout.shard + again


def exchanged_bytes(unit: Unit, layout: Layout) -> tuple[float, float, float]:
    """That a process sends to other groups of P, of Q and of what is not compressed, which may be all."""
    parts, groups = shards_of(unit, layout), layout.groups
    if not layout.rank:
        return 0.0, 0.0, 2 * (groups - 1) * GRADIENT * sum(part.numel for part in parts) // groups
    rank = rank_of_shard(layout.rank, layout.shard)
    matrices = [part for part in parts if part.is_compressed]
    factors = [sorted(map(math.prod, part.factors(rank))) for part in matrices]
    sent, others = (exchange_bytes(some, rank, groups) for some in (matrices, set(parts) - set(matrices)))
    share = sum(first for first, _ in factors) / max(1, sum(map(sum, factors)))
    return sent * share, sent * (1 - share), others


def sent_bytes(config: PriorConfig, work: Work, layout: Layout, bytes_of_layers: int = 2) -> tuple[int, int]:
    """That a process sends in a step within its group, and to other groups."""
    embeddings, blocks, outputs = units_of(config, bytes_of_layers)
    units = (embeddings, *blocks, outputs)
    gathered = sum(gathered_bytes(unit, layout) * (2 if unit in blocks else 1) for unit in units)
    within = work.portions * (gathered + sum(reduced_bytes(unit, layout) for unit in units))
    if layout.groups == 1:
        return within, 0
    between = sum(sum(exchanged_bytes(unit, layout)) for unit in units)
    agreed = settle_bytes(sum(len(shards_of(unit, layout)) for unit in units), layout.groups) if layout.rank else 0
    return within, round(between) + agreed
