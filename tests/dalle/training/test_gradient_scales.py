"""Scales of residual blocks: their rule against a slow one, their operators against double precision, what is skipped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.gradient_scales import ScalesOptions, learn
from dalle.training import gradient_scales
from dalle.training.gradient_scales import GradientScales, enter, join
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerOptions, OptimizerStep
from tests.dalle.training.test_ranks import together

CPU = torch.device("cpu")
ALONE = Ranks(rank=0, count=1, device=CPU)


class Alike(Ranks):
    """One of some processes that all have the same, so that nothing need be sent."""

    def mean(self, values: Tensor) -> Tensor:
        return values


class Block(nn.Module):
    """x + tanh(x W + b), its branch in a format of its own."""

    def __init__(self, width: int = 4, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.linear, self._dtype = nn.Linear(width, width), dtype
        self.gradient_scale: Tensor | None = None

    def branch(self, x: Tensor) -> Tensor:
        weight, bias = (value.to(self._dtype) for value in (self.linear.weight, self.linear.bias))
        return torch.tanh(nn.functional.linear(x.to(self._dtype), weight, bias))

    def forward(self, x: Tensor) -> Tensor:
        if self.gradient_scale is None:
            return x + self.branch(x)
        return join(x, self.branch(enter(x, self.gradient_scale)), self.gradient_scale)


class Stack(nn.Module):
    def __init__(self, blocks: int = 3, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks, self.last = nn.ModuleList(Block(dtype=dtype) for _ in range(blocks)), nn.Linear(4, 1)

    def named(self) -> dict[str, nn.Module]:
        return {f"blocks.{index}": block for index, block in enumerate(self.blocks)}

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def scales_of(network: Stack, ranks: Ranks = ALONE) -> GradientScales:
    return GradientScales(dict(network.named_parameters()), network.named(), ranks)


class Slow:
    """The rule of App. D.2, a scale at a time, in doubles and with all updates remembered."""

    def __init__(self, replicas: int) -> None:
        self.m, self.scale, self.update, self.fell = replicas, replicas * 2.0**13, 0, list[int]()

    def follow(self, overflowed: bool) -> None:
        self.update += 1
        if not overflowed:
            self.scale *= 2 ** (1 / 1000)
        elif not any(self.update - past < 125 for past in self.fell):
            self.scale /= math.sqrt(2)
            self.fell.append(self.update)
        self.scale = min(max(self.scale, self.m * 2.0**7), self.m * 2.0**24)


runs = st.lists(st.tuples(st.booleans(), st.integers(1, 260)), min_size=1, max_size=5)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 3, 1024]), runs, runs, st.integers(0, 7))
def test_the_rule_is_the_papers(replicas: int, first: list, second: list, kept_at: int) -> None:
    """Of two scales with runs of good and bad updates, and gone on with from a state somewhere on the way."""
    ranks = Alike(rank=0, count=replicas, device=CPU)
    ours, theirs = scales_of(Stack(2), ranks), [Slow(replicas), Slow(replicas)]
    histories = [[bad for bad, times in some for _ in range(times)] for some in (first, second)]
    for index, both in enumerate(zip(*histories, strict=False)):
        if index == 97 * kept_at:
            state = {name: value.clone() for name, value in ours.state_dict().items()}
            ours = scales_of(Stack(2), ranks)
            ours.load_state_dict(state)
        ours.update(torch.tensor([*both, False]))
        for slow, bad in zip(theirs, both, strict=True):
            slow.follow(bad)
    assert [slow.scale for slow in theirs] == pytest.approx([*ours.scales.values()], rel=1e-6)


@pytest.mark.parametrize(("bad", "bound"), [(True, 7), (False, 24)])
def test_scales_stay_within_their_bounds(bad: bool, bound: int) -> None:
    scales = scales_of(Stack(1))
    assert [2.0**13] == [*scales.scales.values()]
    state = {"thousandths": torch.tensor([7_600 if bad else 23_990]), "since_fall": torch.tensor([1])}
    scales.load_state_dict(state)
    for _ in range(400):
        scales.update(torch.tensor([bad, False]))
    assert [2.0**bound] == [*scales.scales.values()]
    assert {"log2_gradient_scale/blocks.0": bound} == scales.figures()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(2.0**-40, 2.0**-18), st.sampled_from([torch.float16, torch.bfloat16]))
def test_small_gradients_come_through(seed: int, size: float, dtype: torch.dtype) -> None:
    """Against double precision, where float16 alone would make most of them 0; the stream's own are exact."""
    rng = torch.Generator().manual_seed(seed)
    block, x = Block(dtype=dtype), torch.randn(5, 4, generator=rng).requires_grad_()
    gradient = size * torch.randn(5, 4, generator=rng)
    scale = block.gradient_scale = torch.tensor(2.0 ** round(-math.log2(size)))
    block(x).backward(gradient)
    exact, double = x.detach().double().requires_grad_(), Block(dtype=torch.float64).double()
    double.load_state_dict(block.state_dict())
    double(exact).backward(gradient.double())
    error = 2e-2 if dtype == torch.float16 else 1e-1
    torch.testing.assert_close(x.grad.double() / size, exact.grad / size, rtol=error, atol=error)
    for ours, theirs in zip(block.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double() / (scale * size), theirs.grad / size, rtol=error, atol=error)
    block.branch = lambda y: torch.zeros_like(y, dtype=dtype)  # type: ignore[method-assign]
    x.grad = None
    block(x).backward(gradient)
    assert torch.equal(gradient, x.grad)


def test_what_overflows_in_a_branch_is_not_handed_on() -> None:
    """Infinite and undefined ones become 0 after unscaling, in 32 bits; weights show the overflow."""
    x, scale = torch.ones(6, requires_grad=True), torch.tensor(4.0)
    given_, expected = [torch.inf, -torch.inf, torch.nan, 8.0, 65_504.0, 0.0], [0, 0, 0, 2.0, 16_376.0, 0]
    enter(x, scale).backward(torch.tensor(given_))
    assert expected == x.grad.tolist()
    half = torch.ones(2, dtype=torch.float16, requires_grad=True)
    stream = torch.ones(2, requires_grad=True)
    joined = join(stream, half, torch.tensor(2.0**20))
    assert joined.dtype == torch.float32
    joined.backward(torch.tensor([1.0, 2.0**-30]))
    assert [math.inf, 2.0**-10] == half.grad.tolist()
    assert [1.0, 2.0**-30] == stream.grad.tolist()


@pytest.mark.parametrize("where", ["a block", "outside", "another process"])
def test_an_update_with_an_overflow_is_skipped_as_a_whole(where: str) -> None:
    """By all processes; only the block that overflowed has its scale lowered, others rise as after good updates."""

    class Pair(Ranks):
        def mean(self, values: Tensor) -> Tensor:
            if where == "another process":
                values = values + torch.tensor([1.0, 0, 0, 0])
            return values / 2

    network = Stack()
    step = OptimizerStep(
        network, OptimizerOptions(precision="float16_scaled"), Pair(rank=0, count=2, device=CPU), blocks=network.named()
    )  # fmt: skip
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step.backward(network(torch.ones(2, 4)).sum())
    spoilt = {"a block": network.blocks[0].linear.weight, "outside": network.last.bias}.get(where)
    if spoilt is not None:
        spoilt.grad.view(-1)[0] = torch.nan
    step(0)
    for name, value in network.state_dict().items():
        assert torch.equal(before[name], value)
    assert not step.grad_norm.isfinite()
    assert all(value.grad is None for value in network.parameters())
    assert {} == step.state_dict()["optimizer"]["state"]
    rose, fell = pytest.approx(14.001), pytest.approx(13.5)  # with the factor 2 of the processes
    assert [rose if where == "outside" else fell, rose, rose] == [*step.figures().values()]


@pytest.mark.parametrize("replicas", [1, 2, 3, 1024])
def test_gradients_are_those_of_single_precision(replicas: int) -> None:
    """Divided by the overall batch, scaled, averaged (over processes that have the same), unscaled: what they were."""
    network, plain = Stack(dtype=torch.float32), Stack(dtype=torch.float32)
    scales = scales_of(network, Alike(rank=0, count=replicas, device=CPU))
    x = torch.randn(5, 4)
    scales.backward(network(x).square().mean())
    assert scales.unscale()
    plain(x).square().mean().backward()
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("way", ["recomputed", "compiled"])
def test_recomputation_and_compilation_see_operators(way: str) -> None:
    """The same bits; and a scale that changes is read anew, not baked in."""
    x, gradients = torch.randn(5, 4), []
    for kind in ("plain", way):
        network = Stack(1)
        scales = scales_of(network)
        whole = torch.compile(network, backend="aot_eager") if kind == "compiled" else network
        for thousandths in (13_000, 10_000):
            scales.load_state_dict({"thousandths": torch.tensor([thousandths]), "since_fall": torch.tensor([125])})
            if kind == "recomputed":
                checkpoint(whole, x, use_reentrant=False).square().mean().backward()
            else:
                whole(x).square().mean().backward()
        gradients.append([value.grad for value in network.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.isfinite().all()
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("precision", ["float16", "float16_scaled"])
def test_going_on_is_having_gone_on(precision: str) -> None:
    """From a state after an overflow: weights, moments, scales and windows to the bit."""
    options = OptimizerOptions(precision=precision, learning_rate=0.05, grad_clip=1.0)

    def steps(network: Stack, step: OptimizerStep, some: range) -> None:
        for index in some:
            with step.autocast():
                loss = network(torch.full((2, 4), 0.1 * index)).square().mean()
            step.backward(loss * (1e30 if index in (3, 4) else 1))
            step(index)

    whole, first, second = Stack(), Stack(), Stack()
    made = [OptimizerStep(each, options, ALONE, blocks=each.named()) for each in (whole, first, second)]
    steps(whole, made[0], range(9))
    steps(first, made[1], range(5))
    second.load_state_dict(first.state_dict())
    made[2].load_state_dict(made[1].state_dict())
    steps(second, made[2], range(5, 9))
    assert not torch.equal(first.last.weight, whole.last.weight)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True))
    assert made[0].figures() == made[2].figures()
    for name, value in made[0].state_dict()["scales"].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(made[2].state_dict()["scales"][name]))


def test_one_scale_loses_what_a_scale_of_each_block_keeps() -> None:
    """A small form of benchmarks/gradient_scales.py."""
    options, many = ScalesOptions(layers=6, steps=16, batch_size=4), 2**26
    exact = learn(options, "float32", 1)
    ours, one_scale = (learn(options, precision, many) for precision in ("float16_scaled", "float16"))
    of_ours, of_one = ([*found["zeros"][options.steps].values()] for found in (ours, one_scale))
    assert max(of_ours) < 0.1 < min(of_one)
    assert max(of_one) > 0.4
    assert exact["loss"] == pytest.approx(ours["loss"], abs=0.01)
    assert exact["loss"][-1] < exact["loss"][0] - 0.02


APART = """
import torch
from torch import nn
from dalle.training.ranks import joined
from tests.dalle.training.test_gradient_scales import Stack
from dalle.training.steps import OptimizerOptions, OptimizerStep

with joined("cpu") as ranks:
    network = Stack(dtype=torch.float32)
    parallel = ranks.parallel(network)
    step = OptimizerStep(
        network, OptimizerOptions(precision="float16_scaled", learning_rate=0.1), ranks, blocks=network.named()
    )
    batch = torch.arange(16.0).view(4, 4) / 16
    for index in range(3):
        step.backward(parallel(batch[2 * ranks.rank : 2 * ranks.rank + 2]).square().mean())
        if index == 1 and ranks.rank == 1:  # after the gradients were averaged: another process does not see it
            network.blocks[2].linear.bias.grad[0] = torch.inf
        step(index)
        print(index, bool(step.grad_norm.isfinite()), *(f"{value:.3f}" for value in step.figures().values()),
              f"{float(network.last.weight.detach().double().sum()):.5f}", flush=True)
"""


@pytest.mark.slow
def test_two_processes_skip_the_same_update(tmp_path: Path) -> None:
    """What one of them alone sees lowers the scale on both; good updates are those of one process with the whole batch."""
    outputs = together(["-c", APART], ["-c", APART], cwds=(tmp_path, tmp_path))
    assert [0, 0] == [code for code, _ in outputs], outputs
    (first, second), alone = ([line.split() for line in output.splitlines()] for _, output in outputs), []
    assert first == second
    network = Stack(dtype=torch.float32)
    step = OptimizerStep(
        network, OptimizerOptions(precision="float16_scaled", learning_rate=0.1), ALONE, blocks=network.named()
    )
    for index in (0, 2):
        step.backward(network(torch.arange(16.0).view(4, 4) / 16).square().mean())
        step(index)
        alone.append(float(network.last.weight.detach().double().sum()))
    assert ["True", "False", "True"] == [line[1] for line in first]
    assert [["14.001", "14.001", "14.001"], ["14.002", "14.002", "13.501"]] == [line[2:5] for line in first[:2]]
    assert first[0][5] == first[1][5]
    assert alone == pytest.approx([float(first[0][5]), float(first[2][5])], abs=1e-4)


def test_scales_are_for_blocks() -> None:
    """Other trainings are told what to use instead."""
    with pytest.raises(
        ValueError, match="float16_scaled is for the residual blocks of a prior; use --precision float16"
    ):
        OptimizerStep(nn.Linear(1, 1), OptimizerOptions(precision="float16_scaled"), ALONE)
    assert (13_000, 7_000, 24_000) == (gradient_scales.START, gradient_scales.LEAST, gradient_scales.MOST)
