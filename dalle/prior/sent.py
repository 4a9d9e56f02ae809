"""What a process sends in a step of a training, from shapes alone: within its group, and to other groups.

Rings are counted as everywhere: an all-gather sends a part to every other, a reduce-scatter likewise, an all-reduce is
both. The real figures are in the log (`bytes_sent`), and the same (tests.dalle.training.test_sharding).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dalle.prior.config import PriorConfig
from dalle.prior.network import Prior
from dalle.training.bandwidth import GradientShape, exchange_bytes, settle_bytes, shards_of
from dalle.training.cuts import Cut, dim_of

NOT_COMPRESSED = ("embeddings.", "to_text.", "to_codes.")
"""What the names of weights begin with whose gradients are sent as they are (Ramesh et al. 2021, App. E.1)."""
STACKED = {"query_key_value.weight": 3}
"""What the names of weights end with that are so many linear maps, one above the other."""
SINGLE = 4
"""Bytes of a number in single precision."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Weights that are gathered together, and whose gradients are sent together."""

    name: str
    parts: tuple[GradientShape, ...]
    """The first process's of a group; no other has more."""
    gathers: int
    """How often their weights are gathered for a portion of a batch: on the way there, and back."""

    def gathered(self, dtype: torch.dtype) -> int:
        """Bytes of the first process's part, as it travels: matrices of residual blocks in the shorter format."""
        return sum(part.numel * (dtype.itemsize if _is_short(part) else SINGLE) for part in self.parts)

    @property
    def gradient(self) -> int:
        """Bytes of the first process's part of its gradient."""
        return SINGLE * sum(part.numel for part in self.parts)


def _is_short(part: GradientShape) -> bool:
    return part.name.startswith("layers.") and len(part.shape) > 1


def dims_of(shapes: Mapping[str, tuple[int, ...]], shard: int) -> dict[str, int]:
    """Along which dimension each of some weights is cut, as `sharded_units` has torch cut them."""
    return {name: dim_of(shape, shard, stacked=name.endswith(tuple(STACKED))) for name, shape in shapes.items()}


def gradients_of(shapes: Mapping[str, tuple[int, ...]], shard: int, rank: int) -> list[GradientShape]:
    """The first process's part of the gradient of each of some weights, as `compression` announces them."""
    dims = dims_of(shapes, shard)
    parts = {name: Cut.of(shape, dims[name], 0, shard).part_shape for name, shape in shapes.items()}
    return shards_of(shapes, parts, rank, NOT_COMPRESSED, STACKED)


@functools.lru_cache(maxsize=32)
def units(config: PriorConfig, shard: int, rank: int) -> tuple[Unit, ...]:
    """In the order in which they compute: embeddings, residual blocks, and all that is in none of them.

    Args:
        config: sizes of the network.
        shard: how many processes hold the weights together.
        rank: of the factors of a whole matrix; 0 compresses nothing.
    """
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Prior(config).named_parameters()}
    announced = gradients_of(shapes, shard, rank)
    blocks = [f"layers.{layer}.{block}" for layer in range(config.layers) for block in ("attention", "mlp")]
    of_blocks = {block: tuple(each for each in announced if each.name.startswith(f"{block}.")) for block in blocks}
    embeddings = tuple(each for each in announced if each.name.startswith("embeddings."))
    rest = tuple(each for each in announced if not each.name.startswith(("layers.", "embeddings.")))
    return (
        Unit(name="embeddings", parts=embeddings, gathers=1),
        *(Unit(name=block, parts=some, gathers=2) for block, some in of_blocks.items()),
        Unit(name="output", parts=rest, gathers=1),
    )


def compresses(config: PriorConfig, rank: int) -> bool:
    """Whether a rank is low enough for any matrix of a network; that is the same for shards of any number."""
    return any(part.is_compressed for unit in units(config, 1, rank) for part in unit.parts)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Bytes that a process sends in a step."""

    within: int
    """To those that hold the weights together with it: weights, as often as they are gathered, and gradients."""
    between: int
    """To other groups."""


def sent_by(some: Sequence[Unit], dtype: torch.dtype, *, shard: int, groups: int, rank: int, portions: int) -> Sent:
    """What the first process sends in a step.

    Args:
        some: of the network.
        dtype: that matrices of residual blocks are gathered in.
        shard: processes of a group.
        groups: of processes, each with all the weights.
        rank: of the factors of a whole matrix; 0 sends gradients as they are.
        portions: of this process's share of a batch.
    """
    within = portions * (shard - 1) * sum(unit.gathers * unit.gathered(dtype) + unit.gradient for unit in some)
    if not rank:
        return Sent(within=within, between=sum(2 * (groups - 1) * unit.gradient // groups for unit in some))
    between = sum(exchange_bytes(unit.parts, rank // shard, groups) for unit in some)
    return Sent(within=within, between=between + settle_bytes(sum(len(unit.parts) for unit in some), groups))


def error_bytes(some: Sequence[Unit], rank: int, shard: int) -> int:
    """What a process keeps for PowerSGD: error buffers, directions and bases, in words of two bytes."""
    compressed = [part for unit in some for part in unit.parts if part.is_compressed]
    factors = sum(math.prod(factor) for part in compressed for factor in part.factors(rank // shard)) if rank else 0
    return 2 * (sum(part.numel for part in compressed) + factors)
