"""AdamW with moments of two bytes: against torch's, its words, its memory, going on from a state."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.memory import held_by, weights_of
from dalle.prior.network import Prior
from dalle.training import adam, checkpoint
from dalle.training.adam import ShortAdamW
from dalle.training.formats import ONE_SIX_NINE, ZERO_SIX_TEN
from dalle.training.ranks import alone
from dalle.training.steps import OptimizerOptions, OptimizerStep, adamw

CPU = torch.device("cpu")
CONFIG = PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=2, heads=2, head_size=8)
PAPER = OptimizerOptions(
    moments="paper", precision="float32", betas=(0.9, 0.96), weight_decay=0.045, grad_clip=4.0, learning_rate=1e-2
)
TEXT, CODES = torch.zeros(2, 6, dtype=torch.int64), torch.arange(32).remainder(30).view(2, 16)


def a_prior() -> Prior:
    torch.manual_seed(0)
    return Prior(CONFIG)


def step_of(prior: Prior, options: OptimizerOptions = PAPER) -> OptimizerStep:
    return OptimizerStep(prior, options, alone(), blocks=prior.resblocks())


def take(prior: Prior, step: OptimizerStep, some: range) -> list[float]:
    losses = []
    for index in some:
        loss = weighted(*prior.losses(TEXT, CODES))
        step.backward(loss)
        step(index)
        losses.append(float(loss.detach()))
    return losses


sizes = st.floats(-60, 6).map(lambda exponent: 2.0**exponent)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31), sizes, sizes, st.integers(1, 1000), st.sampled_from([(0.9, 0.96), (0.9, 0.999), (0.0, 0.5)])
)
def test_a_step_is_that_of_exact_arithmetic(seed: int, size: float, before: float, step: int, betas: tuple) -> None:
    """Of moments as their words say: what is kept is off by a place at most, or the largest, or 5; and the weights."""
    rng = torch.Generator().manual_seed(seed)
    weight, gradient, noise = torch.randn(3, 50, generator=rng).unbind()
    gradient = gradient * size
    first = ONE_SIX_NINE.encode((noise * before).clamp(-15, 15))
    second = ZERO_SIX_TEN.encode((noise * before).square().clamp(max=5))
    mean, square = ONE_SIX_NINE.decode(first).double(), ZERO_SIX_TEN.decode(second).double()
    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient
    optimizer = ShortAdamW([{"params": [parameter], "short": True, "weight_decay": 0.1}], 0.01, betas)
    optimizer.state[parameter] = {"step": torch.tensor(step - 1.0), "exp_avg": first, "exp_avg_sq": second}
    optimizer.step()
    mean = (betas[0] * mean + (1 - betas[0]) * gradient.double()).clamp(-ONE_SIX_NINE.largest, ONE_SIX_NINE.largest)
    square = (betas[1] * square + (1 - betas[1]) * gradient.double().square()).clamp(max=5)
    root = (square / (1 - betas[1] ** step)).sqrt() + 1e-8
    expected = weight.double() * (1 - 0.001) - 0.01 * mean / (1 - betas[0] ** step) / root
    torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)
    kept = optimizer.state[parameter]
    assert {torch.int16} == {kept[name].dtype for name in ("exp_avg", "exp_avg_sq")}
    torch.testing.assert_close(
        ONE_SIX_NINE.decode(kept["exp_avg"]).double(), mean, rtol=2**-9, atol=ONE_SIX_NINE.smallest
    )
    torch.testing.assert_close(
        ZERO_SIX_TEN.decode(kept["exp_avg_sq"]).double(), square, rtol=2**-10, atol=ZERO_SIX_TEN.smallest
    )


def test_what_has_32_bits_has_torchs_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gains, biases, embeddings, output layers: as torch's AdamW; matrices of blocks: words. Whatever the pieces."""
    prior, theirs = a_prior(), a_prior()
    monkeypatch.setattr(adam, "PIECE", 100)
    ours, exact = (
        adamw(dict(prior.named_parameters()), PAPER, prior.resblocks()),
        adamw(dict(theirs.named_parameters()), dataclasses.replace(PAPER, moments="float32")),
    )
    for _ in range(3):
        for network, optimizer in ((prior, ours), (theirs, exact)):
            torch.manual_seed(1)
            for value in network.parameters():
                value.grad = torch.randn_like(value)
            optimizer.step()
    for (name, value), same in zip(prior.named_parameters(), theirs.parameters(), strict=True):
        short = name.startswith("layers.") and value.ndim == 2
        assert (torch.int16 if short else torch.float32) == ours.state[value]["exp_avg"].dtype, name
        torch.testing.assert_close(value, same, rtol=1e-3 if short else 1e-6, atol=2e-4 if short else 1e-6)


def test_it_learns_as_with_moments_of_32_bits() -> None:
    prior, other = a_prior(), a_prior()
    short = take(prior, step_of(prior), range(40))
    exact = take(other, step_of(other, dataclasses.replace(PAPER, moments="float32")), range(40))
    assert short[-1] < 0.5 * short[0]
    assert exact[-1] == pytest.approx(short[-1], abs=0.02)


def test_bytes_a_weight_are_those_of_the_plan() -> None:
    """4 for a weight of the blocks' matrices instead of 8; 8 for others; counted by storages."""
    prior = a_prior()
    step = step_of(prior)
    take(prior, step, range(1))
    held = {
        value: sum(moment.untyped_storage().nbytes() for moment in state.values() if moment.ndim)
        for value, state in step._optimizer.state.items()
    }
    weights = weights_of(CONFIG)
    matrices = [bytes_ for value, bytes_ in held.items() if bytes_ == 4 * value.numel()]
    assert 4 * weights.matrices == sum(matrices)
    assert 4 * weights.matrices + 8 * (weights.total - weights.matrices) == sum(held.values())
    planned = held_by(CONFIG, 1, torch.float32, recompute="none", moments="paper")
    assert planned.moments == sum(held.values())


def test_a_checkpoint_holds_words_and_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole, first, second = a_prior(), a_prior(), a_prior()
    ours = take(whole, step_of(whole), range(7))
    step = step_of(first)
    before = take(first, step, range(3))
    path = checkpoint.save(tmp_path, 3, {"step": step.state_dict(), "weights": first.state_dict()})
    tree = checkpoint.load(path)
    formats = [state["exp_avg_sq"].dtype for state in tree["step"]["optimizer"]["state"].values()]
    assert 4 * CONFIG.layers == formats.count(torch.int16)
    second.load_state_dict(tree["weights"])
    again = step_of(second)
    again.load_state_dict(tree["step"])
    assert ours == before + take(second, again, range(3, 7))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), second.parameters(), strict=True))


def test_moments_of_another_format_are_refused() -> None:
    """Words are no numbers of torch's, and its numbers no words."""
    prior = a_prior()
    options = [PAPER, dataclasses.replace(PAPER, moments="float32")]
    steps = [step_of(prior, each) for each in options]
    for step in steps:
        take(prior, step, range(1))
    states = [copy.deepcopy(step.state_dict()) for step in steps]
    with pytest.raises(ValueError, match=r"exp_avg of weight 0 is of torch.float32, expected torch.int16"):
        step_of(prior, options[0]).load_state_dict(
            {
                **states[1],
                "optimizer": {**states[1]["optimizer"], "param_groups": states[0]["optimizer"]["param_groups"]},
            }
        )
    with pytest.raises(ValueError):
        step_of(prior, options[1]).load_state_dict(states[0])


@pytest.mark.parametrize(
    ("betas", "refused"),
    [((0.9, 0.999), False), ((0.9, 0.9999), True), ((0.9995, 0.9), True), ((0.999, 0.9995), False)],
)
def test_moments_that_would_stand_still_are_refused(betas: tuple[float, float], refused: bool) -> None:
    """And those that are not do decay, from every word."""
    if refused:
        with pytest.raises(ValueError, match=r"with --moments paper expected at most 0\.999023 and 0\.999512"):
            OptimizerOptions(moments="paper", betas=betas)
        return
    OptimizerOptions(moments="paper", betas=betas)
    for form, beta in zip((ONE_SIX_NINE, ZERO_SIX_TEN), betas, strict=True):
        words = torch.arange(1 << form.fraction, 62 << form.fraction, dtype=torch.int32).to(torch.int16)
        values = form.decode(words)
        assert (form.round(values * beta) < values).all()


def test_they_are_for_blocks() -> None:
    with pytest.raises(
        ValueError, match="--moments paper is for the residual blocks of a prior; use --moments float32"
    ):
        OptimizerStep(nn.Linear(1, 1), OptimizerOptions(moments="paper"), alone())
