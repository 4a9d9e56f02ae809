"""The simulation of a step's time (`benchmarks/step_time.py`): its laws, and that its work is the real one's."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.step_times.machines import MACHINES, V100
from benchmarks.step_times.schedule import BETWEEN, COMPUTE, WITHIN, Stage, StepTimes, UnitTimes, simulate
from benchmarks.step_times.times import times_of
from benchmarks.step_times.units import Layout, Work, exchanged_bytes, sent_bytes, shards_of, units_of
from dalle.prior.config import PriorConfig
from dalle.prior.flops import forward_flops
from dalle.prior.sent import sent_by, units
from dalle.training.bandwidth import resblock

CONFIG = PriorConfig(layers=4, heads=2, head_size=32, vocab_size=64, image_vocab_size=32, text_length=8, codes=16)
OVERLAPS = ("none", "gathers", "all")

seconds = st.floats(0, 10, allow_nan=False).map(lambda value: round(value, 3))
times_of_units = st.builds(
    UnitTimes,
    **dict.fromkeys(("gather", "unpack", "stolen", "forward", "backward", "pack", "reduce"), seconds),
    exchange=st.lists(st.builds(Stage, seconds, seconds), max_size=3).map(tuple),
)
steps = st.builds(
    StepTimes,
    blocks=st.lists(times_of_units, min_size=1, max_size=5),
    embeddings=times_of_units,
    outputs=times_of_units,
    optimizer=seconds,
    portions=st.integers(1, 3),
)
overlaps = st.sampled_from(OVERLAPS)


def changed(times: StepTimes, unit) -> StepTimes:
    """The same with every unit changed."""
    blocks = [unit(each) for each in times.blocks]
    return dataclasses.replace(times, blocks=blocks, embeddings=unit(times.embeddings), outputs=unit(times.outputs))


def without_networks(times: StepTimes) -> StepTimes:
    return changed(
        times,
        lambda unit: dataclasses.replace(
            unit, gather=0.0, reduce=0.0, exchange=tuple(Stage(stage.compute, 0.0) for stage in unit.exchange)
        ),
    )


def without_computing(times: StepTimes) -> StepTimes:
    none = dict.fromkeys(("unpack", "stolen", "forward", "backward", "pack"), 0.0)
    return dataclasses.replace(
        changed(
            times,
            lambda unit: dataclasses.replace(
                unit, **none, exchange=tuple(Stage(0.0, stage.send) for stage in unit.exchange)
            ),
        ),
        optimizer=0.0,
    )


@given(steps, overlaps)
def test_step_is_between_the_longest_and_the_sum(times, overlap) -> None:
    """No shorter than what any one thing does, no longer than all of it one after the other."""
    found = simulate(times, overlap)
    assert max(found.busy.values()) <= found.seconds + 1e-9
    assert found.seconds <= sum(found.busy.values()) + 1e-9


@given(steps, overlaps)
def test_with_infinite_bandwidth_it_is_the_time_of_computing(times, overlap) -> None:
    found = simulate(without_networks(times), overlap)
    assert found.busy[COMPUTE] == pytest.approx(found.seconds, abs=1e-9)
    assert 0 == pytest.approx(found.share_of_communication, abs=1e-9)


@given(steps)
def test_with_infinite_computing_it_is_the_time_of_networks(times) -> None:
    """Of both where one waits for the other; with overlap at least the longer one's."""
    silent = without_computing(times)
    found, meanwhile = simulate(silent, "none"), simulate(silent, "all")
    assert found.busy[WITHIN] + found.busy[BETWEEN] == pytest.approx(found.seconds, abs=1e-9)
    assert max(meanwhile.busy.values()) <= meanwhile.seconds + 1e-9
    one_network = changed(silent, lambda unit: dataclasses.replace(unit, exchange=()))
    assert simulate(one_network, "all").busy[WITHIN] == pytest.approx(simulate(one_network, "all").seconds, abs=1e-9)


@given(steps, overlaps, st.floats(0.1, 1), st.sampled_from(["gather", "reduce", "forward", "backward", "exchange"]))
@settings(max_examples=200)
def test_faster_is_never_slower(times, overlap, factor, what) -> None:
    """Any one rate may grow: the step takes as long or less."""

    def faster(unit: UnitTimes) -> UnitTimes:
        if what == "exchange":
            return dataclasses.replace(
                unit, exchange=tuple(Stage(factor * stage.compute, factor * stage.send) for stage in unit.exchange)
            )
        return dataclasses.replace(unit, **{what: factor * getattr(unit, what)})

    assert simulate(changed(times, faster), overlap).seconds <= simulate(times, overlap).seconds + 1e-9


@given(steps)
def test_overlap_only_where_it_is_asked_for(times) -> None:
    """Without any the step is the sum of all; what overlaps more is no longer, where sending takes no processor."""
    alone = simulate(times, "none")
    assert sum(alone.busy.values()) == pytest.approx(alone.seconds, abs=1e-9)
    free = changed(times, lambda unit: dataclasses.replace(unit, stolen=0.0))
    none, gathers, everything = (simulate(free, overlap).seconds for overlap in OVERLAPS)
    assert gathers <= none + 1e-9
    assert everything <= gathers + 1e-9
    no_gathers = changed(free, lambda unit: dataclasses.replace(unit, gather=0.0))
    assert simulate(no_gathers, "none").seconds == pytest.approx(simulate(no_gathers, "gathers").seconds, abs=1e-9)


@given(steps, overlaps)
@settings(max_examples=30)
def test_each_more_portion_takes_as_long(times, overlap) -> None:
    """So that many of them need not be gone through."""
    took = [simulate(dataclasses.replace(times, portions=many), overlap) for many in (2, 3, 4, 5, 9)]
    one = took[1].seconds - took[0].seconds
    assert [took[0].seconds + more * one for more in (2, 3, 7)] == pytest.approx([s.seconds for s in took[2:]])
    for what in took[0].busy:
        assert took[0].busy[what] + 7 * (took[1].busy[what] - took[0].busy[what]) == pytest.approx(took[4].busy[what])


def test_a_schedule_by_hand() -> None:
    """Two blocks, of one second there and two back, whose weights and gradients are a second under way."""
    block = UnitTimes(gather=1.0, forward=1.0, backward=2.0, reduce=1.0)
    times = StepTimes(blocks=[block, block])
    # 0-1 first gathered; 1-2 computed, second gathered; 2-3 computed; 3-4 second gathered; 4-6 its way back, first
    # gathered meanwhile; then its gradient, 6-7; 6-8 or 7-9 the first's way back, and its gradient
    assert 9.0 == simulate(times, "all").seconds
    assert 10.0 == simulate(times, "gathers").seconds
    assert 12.0 == simulate(times, "none").seconds


def test_flop_of_the_units_are_those_of_the_network() -> None:
    embeddings, blocks, outputs = units_of(CONFIG, 2)
    assert forward_flops(CONFIG) == pytest.approx(sum(unit.flops for unit in (embeddings, *blocks, outputs)))


def test_bytes_between_groups_are_the_papers() -> None:
    """Table 2: P and Q of a layer at the paper's width and rank, in two bytes, twice to every other machine."""
    config = PriorConfig(layers=1, heads=62)
    layout = Layout(processes=1_024, shard=8, rank=896)
    embeddings, (attention, mlp), outputs = units_of(config, 2)
    said, twice = resblock(3968, 896, 8), 2 * 127 / 128 * 2
    first, second, others = exchanged_bytes(mlp, layout)
    assert twice * (said["first MLP"].compressed + said["second MLP"].compressed) == pytest.approx(first + second)
    assert 4 * 127 * 2 * -(-sum(part.numel for part in shards_of(mlp, layout) if len(part.shape) == 1) // 128) == others
    first, second, _ = exchanged_bytes(attention, layout)
    four = sum(said[name].compressed for name in ("query", "key", "value", "post-attention"))
    assert twice * four == pytest.approx(first + second)
    _, plain = sent_bytes(config, Work(examples=1, portions=1, recompute="none"), dataclasses.replace(layout, rank=0))
    parts = (part for unit in (embeddings, attention, mlp, outputs) for part in shards_of(unit, layout))
    weights = sum(part.numel for part in parts)
    assert 2 * 127 * 4 * weights / 128 == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize(("processes", "shard", "rank"), [(4, 2, 4), (4, 4, 0), (2, 1, 4), (1_024, 8, 8), (8, 8, 0)])
def test_bytes_are_the_plans(processes: int, shard: int, rank: int) -> None:
    layout = Layout(processes=processes, shard=shard, rank=rank)
    within, between = sent_bytes(CONFIG, Work(examples=1, portions=3, recompute="none"), layout)
    sizes = {"shard": shard, "groups": layout.groups, "rank": rank, "portions": 3}
    plan = sent_by(units(CONFIG, shard, rank), torch.bfloat16, **sizes)
    assert (plan.within, plan.between) == pytest.approx((within, between), rel=1e-9, abs=10)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_powersgd_pays_where_the_network_is_slow(machine) -> None:
    """A wide network on many machines: with a slow network between them, not with an endless one."""
    config, layout = PriorConfig(layers=2, heads=62), Layout(processes=1_024, shard=8)
    work = Work(examples=1, portions=1, recompute="blocks")

    def step(between: float, rank: int) -> float:
        rates = dataclasses.replace(machine, between=between).rates
        return simulate(times_of(config, work, dataclasses.replace(layout, rank=rank), rates), "all").seconds

    assert step(1.0, 896) < step(1.0, 0) / 2
    assert step(1e6, 896) > step(1e6, 0)


def test_one_gpu_sends_nothing() -> None:
    work = Work(examples=1, portions=3, recompute="none")
    found = simulate(times_of(CONFIG, work, Layout(processes=1), V100.rates), "all")
    assert 0 == found.busy[WITHIN] == found.busy[BETWEEN]
    assert found.seconds == pytest.approx(found.busy[COMPUTE])
