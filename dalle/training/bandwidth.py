"""What PowerSGD sends, as a function of shapes: Tables 1 and 2 of the paper, and the bytes of a real step.

A matrix of rows x columns is sent as two factors, of rows x rank and of columns x rank. In the paper each of the m GPUs
of a machine has a shard of every matrix and a rank of r / m (Ramesh et al. 2021, §2.5 and App. E.1).

    >>> [round(100 * saving(width, rank, 8)) for width, rank in PAPER]
    [83, 85, 86]
    >>> resblock(3968, 896, 8)["first MLP"]
    Elements(gradient=7872512, rows_factor=444416, columns_factor=222208)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

PAPER = ((1920, 512), (2688, 640), (3968, 896))
"""Widths and ranks of the paper's three networks, on machines of 8 GPUs (Table 1)."""
_MAP = "#"
_FIGURES = 16
"""Bytes of a step's norm and checksum, beside a byte a gradient."""


@dataclass(frozen=True, kw_only=True)
class GradientShape:
    """A gradient as one process has it."""

    name: str
    """Of its weight."""
    shape: tuple[int, ...]
    """Of this process's shard of it."""
    is_compressed: bool
    """Whether two factors are sent in its stead: all but gains, biases, embeddings and un-embeddings in the paper."""

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns as a matrix: a kernel's rows are its output channels."""
        return self.shape[0], math.prod(self.shape[1:])

    def factors(self, rank: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of the factors, of rows x rank and columns x rank; no rank is greater than a side."""
        rows, columns = self.matrix
        rank = min(rank, rows, columns)
        return (rows, rank), (columns, rank)


@dataclass(frozen=True, kw_only=True)
class Elements:
    """How many numbers a process sends of a matrix, in each direction of an all-reduce."""

    gradient: int
    """As it is."""
    rows_factor: int
    """Of rows x rank: the paper's P."""
    columns_factor: int
    """Of columns x rank: the paper's Q."""

    @property
    def compressed(self) -> int:
        """Both factors."""
        return self.rows_factor + self.columns_factor


def elements(gradient: GradientShape, rank: int) -> Elements:
    """Of a compressed gradient; `rank` is that of the shard."""
    first, second = gradient.factors(rank)
    return Elements(gradient=gradient.numel, rows_factor=math.prod(first), columns_factor=math.prod(second))


def rank_of_shard(rank: int, shards: int) -> int:
    """The rank of each of the shards of a machine, of which `rank` is the sum.

    Raises:
        ValueError: if it cannot be shared out equally.
    """
    if rank <= 0 or rank % shards:
        raise ValueError(f"a rank of {rank} for {shards} shards: expected a multiple of {shards} above 0")
    return rank // shards


def saves(gradient: GradientShape, rank: int) -> bool:
    """Whether factors of this rank are smaller than the matrix."""
    return len(gradient.shape) > 1 and elements(gradient, rank).compressed < gradient.numel


def shapes_of(weights: Mapping[str, Sequence[int]], rank: int, apart: Sequence[str] = ()) -> list[GradientShape]:
    """Gradients of weights, of which matrices are compressed wherever factors are smaller.

    Args:
        weights: shapes by name, of this process's shards.
        rank: of the shard.
        apart: what names begin with that are not compressed: those of embeddings and un-embeddings in the paper.
    """
    gradients = [GradientShape(name=name, shape=tuple(shape), is_compressed=True) for name, shape in weights.items()]
    return [
        replace(each, is_compressed=saves(each, rank) and not each.name.startswith(tuple(apart))) for each in gradients
    ]


def shards_of(
    weights: Mapping[str, Sequence[int]],
    parts: Mapping[str, Sequence[int]],
    rank: int,
    apart: Sequence[str] = (),
    stacked: Mapping[str, int] | None = None,
) -> list[GradientShape]:
    """Gradients of parts of weights; which are compressed follows from the whole, so that all parts of one agree.

    Args:
        weights: whole shapes by name.
        parts: those of a process's parts.
        rank: of a whole matrix's factors; 0 compresses nothing.
        apart: see `shapes_of`.
        stacked: what the names of weights end with that are so many linear maps, one above the other. Each is a
            gradient of its own, `weight_of` tells whose, unless the weight is cut across them.
    """
    gradients = []
    for name, part in parts.items():
        rows, *columns = weights[name]
        maps = next((count for end, count in (stacked or {}).items() if name.endswith(end)), 1)
        maps = maps if part[0] == rows else 1
        whole = GradientShape(name=name, shape=(rows // maps, *columns), is_compressed=True)
        gradients += [
            GradientShape(
                name=f"{name}{_MAP}{index}" if maps > 1 else name,
                shape=(part[0] // maps, *part[1:]),
                is_compressed=rank > 0 and saves(whole, rank) and not name.startswith(tuple(apart)),
            )
            for index in range(maps)
        ]
    return gradients


def weight_of(gradient: str) -> str:
    """The name of the weight of a gradient, or of one of the maps in it."""
    return gradient.partition(_MAP)[0]


def resblock(width: int, rank: int, shards: int) -> dict[str, Elements]:
    """Table 2: what each GPU sends of one layer's matrices.

    Args:
        width: of the network, d.
        rank: of all shards together, r.
        shards: GPUs of a machine, m; matrices are cut along their columns, that of the MLP's end along its rows.

    Raises:
        ValueError: if they do not divide width and rank.
    """
    if width % shards:
        raise ValueError(f"a width of {width} for {shards} shards: expected a multiple of {shards}")
    part = width // shards
    shapes = {
        **dict.fromkeys(("query", "key", "value", "post-attention"), (width, part)),
        "first MLP": (width, 4 * part),
        "second MLP": (4 * part, width),
    }
    share = rank_of_shard(rank, shards)
    return {
        name: elements(GradientShape(name=name, shape=shape, is_compressed=True), share)
        for name, shape in shapes.items()
    }


def saving(width: int, rank: int, shards: int) -> float:
    """Table 1: the share of a layer's matrices that need not be sent, 1 - r (m + 2) / (2 d m)."""
    rows = resblock(width, rank, shards).values()
    return 1 - sum(row.compressed for row in rows) / sum(row.gradient for row in rows)


def exchange_bytes(gradients: Iterable[GradientShape], rank: int, machines: int, word: int = 2) -> int:
    """Bytes that a process sends to those of other machines for one exchange of some gradients.

    Args:
        gradients: of one call, which is three grouped all-reduces: P, Q, and what is not compressed.
        rank: of the shard.
        machines: that average their gradients.
        word: bytes of a number of a factor; others have 4.
    """
    shapes = list(gradients)
    oriented = [sorted(shape.factors(rank)) for shape in shapes if shape.is_compressed]
    first = sum(math.prod(shorter) for shorter, _ in oriented)
    second = sum(math.prod(longer) for _, longer in oriented)
    others = sum(shape.numel for shape in shapes if not shape.is_compressed)
    return sum(_all_reduce(count, machines) * size for count, size in ((first, word), (second, word), (others, 4)))


def settle_bytes(gradients: int, machines: int) -> int:
    """Bytes that a process sends to those of other machines to agree on a step of so many gradients."""
    return (machines - 1) * (gradients + _FIGURES)


def _all_reduce(count: int, machines: int) -> int:
    """How many of so many numbers a process sends: its part of them, rounded up, twice to every other."""
    return 2 * (machines - 1) * -(-count // machines)
