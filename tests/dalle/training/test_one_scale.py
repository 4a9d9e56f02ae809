"""One scale for all gradients: torch's rule; gradients that are what they would be without it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dalle.training.one_scale import LEAST, MOST, OneScale
from dalle.training.ranks import alone


def scale_of(network: nn.Module) -> OneScale:
    return OneScale(dict(network.named_parameters()), alone())


bad = st.tuples(st.just(True), st.integers(1, 40))
good = st.tuples(st.just(False), st.sampled_from([1, 3, 1_999, 2_000, 2_001]))


@settings(max_examples=10, deadline=None)
@given(st.lists(bad | good, max_size=4), st.integers(0, 3))
def test_the_rule_is_torchs(some: list, kept_at: int) -> None:
    """Against the update that `torch.amp.GradScaler` makes, after runs of good and bad ones, and gone on with."""
    network = nn.Linear(1, 1)
    ours = scale_of(network)
    scale, tracker = torch.tensor([2.0**16]), torch.zeros(1, dtype=torch.int32)
    for index, (is_bad, times) in enumerate(some):
        if index == kept_at:
            state, ours = ours.state_dict(), scale_of(network)
            ours.load_state_dict(state)
        found = torch.tensor([float(is_bad)])
        for _ in range(times):
            ours.update(torch.tensor([is_bad]))
            torch._amp_update_scale_(scale, tracker, found, 2.0, 0.5, 2_000)
        assert ours.scale == max(float(scale), 2.0**LEAST)  # below it torch's inverse is infinite


def test_gradients_are_those_without_it() -> None:
    """To the bit: it is a power of two."""
    torch.manual_seed(0)
    network, x = nn.Linear(4, 3), torch.randn(5, 4)
    expected = torch.autograd.grad(network(x).square().mean(), list(network.parameters()))
    ours = scale_of(network)
    ours.backward(network(x).square().mean())
    assert not torch.equal(network.weight.grad, expected[0])  # type: ignore[arg-type]
    assert [1 / 65_536] * 2 == [float(ours.factor(name)) for name in ("weight", "bias")]
    assert ours.unscale()
    for value, gradient in zip(network.parameters(), expected, strict=True):
        assert torch.equal(value.grad, gradient)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["found", "told"])
def test_it_falls_whoever_unscales(way: str) -> None:
    """Whether it finds what is not finite, or is told by those who averaged the gradients."""
    network = nn.Linear(2, 2)
    ours = scale_of(network)
    ours.backward(network(torch.ones(1, 2)).sum())
    assert network.bias.grad is not None
    network.bias.grad[1] = torch.nan
    if way == "found":
        assert not ours.unscale()
    else:
        ours.follow(["bias"])
    assert {"loss_scale": 32_768.0} == ours.figures()
    ours.load_state_dict({"log2": 10**9, "good": 0})
    assert 2.0**MOST == ours.scale
