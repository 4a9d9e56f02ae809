"""The optimizer's step: what is decayed, what is clipped, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from dalle.detectors.network import Detector, DetectorConfig
from dalle.dvae.network import DVAE, DVAEConfig
from dalle.prior.config import PriorConfig
from dalle.prior.network import Prior
from dalle.training.ranks import alone
from dalle.training.steps import OptimizerOptions, OptimizerStep, adamw

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "dvae": lambda: DVAE(DVAEConfig(vocab_size=16, encoder_n_hid=8, decoder_n_hid=8, n_init=8, n_blk_per_group=1)),
    "prior": lambda: Prior(
        PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=2, heads=2, head_size=8)
    ),
    "detector": lambda: Detector(DetectorConfig(side=32, widths=(8, 16), depths=(1, 1), neck=16, dimension=8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_only_matrices_and_kernels_are_decayed(name: str) -> None:
    """With gradients of zero a step moves a weight only by its decay; norms, gains and biases stay."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for value in network.parameters():
        nn.init.constant_(value, 1.0)
        value.grad = torch.zeros_like(value)
    adamw(dict(network.named_parameters()), OptimizerOptions(learning_rate=0.1, weight_decay=0.5)).step()
    moved = {key for key, value in network.named_parameters() if not torch.equal(value, torch.ones_like(value))}
    one_a_channel = ("bias", "gain", "norm.weight", ".b", "power", "start")
    expected = {key for key, _ in network.named_parameters() if not key.endswith(one_a_channel)}
    assert expected == moved
    assert moved
    assert len(moved) < len(list(network.parameters()))


def test_float16_computes_on_a_processor() -> None:
    """With one scale, whose overflows are skipped and lower it; the norm is said of gradients without it."""
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    step = OptimizerStep(network, OptimizerOptions(precision="float16"), alone())
    before, figures, norms = network.weight.clone(), [step.figures()], []
    for factor in (0.1, 1e6):
        with step.autocast():
            made = network(torch.ones(2, 3))
        assert torch.float16 == made.dtype
        step.backward(factor * made.float().sum())
        step(0)
        figures.append(step.figures())
        norms.append(float(step.grad_norm))
        before, changed = network.weight.clone(), not torch.equal(before, network.weight)
        assert changed == (factor == 0.1)
    assert [65_536, 65_536, 32_768] == [each["loss_scale"] for each in figures]
    assert 0.4 == pytest.approx(norms[0], rel=1e-3)
    assert not torch.tensor(norms[1]).isfinite()


@pytest.mark.parametrize("clip", [0.0, 0.5, 4.0])
def test_long_gradients_are_shortened_to_the_clip(clip: float) -> None:
    """Against plain SGD-like arithmetic: AdamW's first step is the sign; so the moments tell what it was given."""
    network = nn.Linear(4, 1, bias=False)
    step = OptimizerStep(network, OptimizerOptions(grad_clip=clip, precision="float32"), alone())
    step.backward(3 * network.weight.sum())
    step(0)
    (moments,) = step.state_dict()["optimizer"]["state"].values()
    norm = float(moments["exp_avg"].norm()) / (1 - 0.9)
    assert (6 if not clip else min(clip, 6)) == pytest.approx(norm, rel=1e-4)


def test_going_on_is_having_gone_on() -> None:
    """Weights and moments after a state was kept and given to another."""
    torch.manual_seed(0)
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    options = OptimizerOptions(learning_rate=0.1, warmup_steps=4, weight_decay=0.1, precision="float32")
    ours = OptimizerStep(one, options, alone())
    for index in range(2):
        ours.backward(one(torch.ones(1, 3)).square().sum())
        ours(index)
    other.load_state_dict(one.state_dict())
    theirs = OptimizerStep(other, options, alone())
    state = copy.deepcopy(ours.state_dict())
    assert {} == state.pop("scales") == state.pop("owed")  # as checkpoints of before were
    theirs.load_state_dict(state)
    for network, step in ((one, ours), (other, theirs)):
        step.backward(network(torch.ones(1, 3)).square().sum())
        assert 0.075 == pytest.approx(step(2))
    assert torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 0.0}, "--learning_rate 0.0: expected more than 0"),
        ({"warmup_steps": -1}, "--warmup_steps -1: expected 0 or more"),
        ({"betas": (0.9, 1.0)}, "--betas 1.0: expected 0 to below 1"),
    ],
)
def test_bad_options_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerOptions(**wrong)
