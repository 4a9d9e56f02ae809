"""Measures a process's rates while all others of a run do the same as it does: what a simulated step is made from.

Nothing here takes a step. Computed are single residual blocks and output layers, without shards or other processes'
gradients; sent are tensors of a block's size and of a few bytes, which give bandwidth and latency; PowerSGD's
computations are those of a layer. `measuring` has the processes that do it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import distributed as dist
from torch import nn

from benchmarks.step_times.times import Link
from benchmarks.step_times.units import Layout, Work, shards_of, units_of
from dalle.prior.attention import Attention
from dalle.prior.config import PriorConfig
from dalle.prior.losses import nats
from dalle.prior.masks import Kind
from dalle.prior.resblock import MLP, Resblock
from dalle.training.bandwidth import GradientShape, rank_of_shard
from dalle.training.formats import ONE_SIX_NINE
from dalle.training.low_rank import LowRankMatrix
from dalle.training.ranks import Ranks
from dalle.training.reduction import mean
from dalle.training.traffic import Traffic
from dalle.training.words import SINGLE, mean_of_all

REPEATS = 5
FEW = 1_024
"""Numbers of a message that takes only a call's time."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The run whose rates are measured."""

    config: PriorConfig
    work: Work
    layout: Layout


@dataclass(frozen=True, kw_only=True)
class PhaseRates:
    """PowerSGD's computations as measured: seconds for each number of the matrices, at one rank."""

    seconds: tuple[float, float, float]

    def __call__(self, matrices: Sequence[GradientShape], rank: int) -> tuple[float, float, float]:
        count = sum(matrix.numel for matrix in matrices)
        project, weigh, decompress = (each * count for each in self.seconds)
        return project, weigh, decompress


def seconds_of(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """The mean of some times, begun together by all processes, each of which is the slowest one's.

    In a step each unit ends with something that all processes send, so that all wait for the slowest; and a step is
    the sum of many such times, which is as long as their means say, not their medians.
    """
    taken = torch.zeros(REPEATS + 1, dtype=torch.float64)
    for repeat in range(REPEATS + 1):
        prepare()
        dist.barrier()
        begun = time.perf_counter()
        work()
        taken[repeat] = time.perf_counter() - begun
    dist.all_reduce(taken, dist.ReduceOp.MAX)
    return float(taken[1:].mean())


def block_seconds(config: PriorConfig, kind: str, examples: int) -> tuple[float, float]:
    """There and back of a residual block whose linear maps are in 16 bits already, as they are when gathered."""
    block = Resblock(config.width, MLP(config.width) if kind == "mlp" else Attention(config, cast(Kind, kind)))
    for module in block.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().bfloat16())
    x = torch.randn(examples, config.text_length + config.codes, config.width, requires_grad=True)
    made = list[torch.Tensor]()

    def there() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            made[:] = [block(x)]

    def anew() -> None:
        block.zero_grad(set_to_none=True)
        x.grad = None
        there()

    upstream = torch.randn_like(x)
    return seconds_of(there), seconds_of(lambda: made[0].backward(upstream), anew)


def outputs_seconds(config: PriorConfig, examples: int) -> float:
    """Losses and their gradients."""
    heads = ((config.vocab_size, config.text_length), (config.image_vocab_size, config.codes))
    layers = [(nn.Linear(config.width, many), examples * length) for many, length in heads]

    def work() -> None:
        for layer, count in layers:
            x = torch.randn(count, config.width, requires_grad=True)
            nats(layer, x, torch.zeros(count, dtype=torch.int64)).backward()
            layer.zero_grad(set_to_none=True)

    return seconds_of(work)


def link(send: Callable[[int], Callable[[], object]], count: int, sent: Callable[[int], float]) -> Link:
    """Latency from few numbers, bandwidth from `count`; `sent` gives the bytes that a process sends of so many."""
    latency, whole = seconds_of(send(FEW)), seconds_of(send(count))
    return Link(latency=latency, bandwidth=(sent(count) - sent(FEW)) / max(whole - latency, 1e-9))


def largest(measured: Measured) -> int:
    """Numbers of the largest unit that a process has: the output layers or the embeddings."""
    return max(
        sum(part.numel for part in shards_of(unit, measured.layout))
        for unit in (units_of(measured.config, 2)[0], units_of(measured.config, 2)[2])
    )


def links(measured: Measured, ranks: Ranks) -> dict[str, Link]:
    """Of what is sent within and between groups: the largest unit's numbers, and of factors an MLP's.

    What is received lies in new memory each time, as in a training.
    """
    assert ranks.grid is not None
    within, between = ranks.grid.get_group("shard"), ranks.grid.get_group("replicate")
    shard, groups, width = within.size(), between.size(), measured.config.width
    numbers, factors, traffic = largest(measured), width * width // shard, Traffic()

    def gather(count: int) -> Callable[[], object]:
        part = torch.zeros(count)
        return lambda: dist.all_gather_into_tensor(torch.empty(count * shard), part, group=within)

    def reduce(count: int) -> Callable[[], object]:
        whole = torch.zeros(count * shard)
        return lambda: dist.reduce_scatter_tensor(torch.empty(count), whole, group=within)

    def words(count: int) -> Callable[[], object]:
        some = ONE_SIX_NINE.encode(torch.randn(count))
        return lambda: mean_of_all([some], ONE_SIX_NINE, between, traffic)

    def single(count: int) -> Callable[[], object]:
        some = torch.randn(count)
        return lambda: mean_of_all([some], SINGLE, between, traffic)

    def plain(count: int) -> Callable[[], object]:
        some = torch.randn(count)
        return lambda: mean(some, (), between)

    def ring(bytes_of_one: int) -> Callable[[int], float]:
        return lambda count: 2 * (groups - 1) * bytes_of_one * count / groups

    found = {}
    if shard > 1:
        found["gather"] = link(gather, numbers, lambda count: (shard - 1) * 4 * count)
        found["reduce"] = link(reduce, numbers, lambda count: (shard - 1) * 4 * count)
    if groups > 1 and measured.layout.rank:
        found["words"] = link(words, factors, ring(2))
        found["single"] = link(single, numbers, ring(4))
    elif groups > 1:
        found["mean"] = link(plain, numbers, ring(4))
    nothing = Link(latency=0.0, bandwidth=float("inf"))
    return {name: found.get(name, nothing) for name in ("gather", "reduce", "words", "single", "mean")}


def stolen_seconds(measured: Measured, ranks: Ranks) -> float:
    """Of computing, for each byte that is gathered meanwhile: products that take longer than gathering does."""
    assert ranks.grid is not None
    within, width = ranks.grid.get_group("shard"), measured.config.width
    if within.size() == 1:
        return 0.0
    part = torch.zeros(8 * width * width // within.size(), dtype=torch.bfloat16)
    whole = torch.zeros(len(part) * within.size(), dtype=torch.bfloat16)
    x, weight = (torch.ones(some, 4 * width, dtype=torch.bfloat16) for some in (1_024, width))

    def compute() -> None:
        for _ in range(8):
            x @ weight.t()

    def both() -> None:
        work = dist.all_gather_into_tensor(whole, part, group=within, async_op=True)
        assert work is not None
        compute()
        work.wait()

    return max(0.0, seconds_of(both) - seconds_of(compute)) / ((within.size() - 1) * part.nbytes)


def compressing(measured: Measured) -> PhaseRates:
    """Of a layer's matrices as this process has them."""
    layout = measured.layout
    if not layout.rank:
        return PhaseRates(seconds=(0.0, 0.0, 0.0))
    _, (attention, mlp, *_), _ = units_of(measured.config, 2)
    shapes = [part for unit in (attention, mlp) for part in shards_of(unit, layout) if part.is_compressed]
    rank = rank_of_shard(layout.rank, layout.shard)
    matrices = [LowRankMatrix(shape.matrix, rank, (index,), ONE_SIX_NINE) for index, shape in enumerate(shapes)]
    gradients = [torch.randn(shape.shape) * 1e-3 for shape in shapes]
    first, second = list[torch.Tensor](), list[torch.Tensor]()

    def project() -> None:
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.add(gradient.clone())
        first[:] = [matrix.projected() for matrix in matrices]

    def weigh() -> None:
        for matrix, words in zip(matrices, first, strict=True):
            matrix.orthogonalize(words)
        second[:] = [matrix.weighed() for matrix in matrices]

    def decompress() -> None:
        for matrix, words, gradient in zip(matrices, second, gradients, strict=True):
            sent = matrix.decompress(words)
            gradient.copy_(sent)
            sent.view(torch.int32).sum(dtype=torch.int64)

    def weighed() -> None:
        project()
        weigh()

    count = sum(shape.numel for shape in shapes)
    seconds = seconds_of(project), seconds_of(weigh, project), seconds_of(decompress, weighed)
    return PhaseRates(seconds=(seconds[0] / count, seconds[1] / count, seconds[2] / count))
