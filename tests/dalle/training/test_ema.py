"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dalle.training.ema import Ema


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(0, 0.999))
def test_the_average_is_the_sum_of_its_definition(values: list[float], decay: float) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    ema = Ema(network, decay)
    for step, value in enumerate(values):
        nn.init.constant_(network.weight, value)
        ema.update(step + 1)
    expected = sum((1 - decay) * decay ** (len(values) - 1 - i) * value for i, value in enumerate(values))
    assert expected == pytest.approx(float(ema.state_dict()["weight"]), abs=1e-4)
    with ema.in_place():
        assert expected == pytest.approx(float(network.weight.detach()), abs=1e-4)
    assert values[-1] == pytest.approx(float(network.weight.detach()))


@given(st.floats(0, 0.999), st.integers(1, 100), st.integers(1, 10_000))
def test_with_a_warm_up_the_decay_is_never_more_than_without(decay: float, warmup: int, steps: int) -> None:
    """And after enough steps the same."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    ema = Ema(network, decay, warmup=warmup)
    nn.init.constant_(network.weight, 1.0)
    ema.update(steps)
    moved = float(ema.state_dict()["weight"])
    assert moved >= 1 - decay - 1e-6
    assert 1 - min(decay, steps / (steps + warmup)) == pytest.approx(moved, abs=1e-6)


def test_it_goes_on_from_its_state() -> None:
    network = nn.Linear(3, 2)
    ema, again = Ema(network, 0.5), Ema(network, 0.5)
    with torch.no_grad():
        network.weight.add_(1)
    ema.update(1)
    again.load_state_dict({name: value.clone() for name, value in ema.state_dict().items()})
    for each in (ema, again):
        each.update(2)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in ema.state_dict().items())


def test_in_place_and_back_again() -> None:
    """Of whole numbers too, and when the block fails: the network, and the average, are what they were, bit for bit."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = Ema(network, 0.5)
    for step in range(3):
        network(torch.randn(5, 3))
        with torch.no_grad():
            network[0].weight.add_(torch.randn(4, 3))
        ema.update(step + 1)
    own, average = ({k: v.clone() for k, v in each.items()} for each in (network.state_dict(), ema.state_dict()))
    with pytest.raises(ValueError, match="in the block"), ema.in_place():
        for name, value in network.state_dict().items():
            assert torch.equal(average[name].to(value.dtype), value)
        raise ValueError("in the block")
    for before, after in ((own, network.state_dict()), (average, ema.state_dict())):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
