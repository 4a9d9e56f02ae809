"""What a training is said to take: counted another way, the paper's own figures, and what a step then holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensor

from dalle import train_prior
from dalle.prior.config import PriorConfig
from dalle.prior.flops import forward_flops, keys_seen
from dalle.prior.masks import Kind, dense_mask, kinds_of
from dalle.prior.memory import held_by, kept_for_gradients, weights_of
from dalle.prior.network import Prior
from dalle.prior.resblock import Recompute
from dalle.prior.windowed import forget
from dalle.training.gradient_scales import GradientScales
from dalle.training.products import product_flops
from dalle.training.ranks import alone
from tests.conftest import ROOT
from tests.examples import write_dataset

SMALL = PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=5, heads=2, head_size=8)


@given(
    kind=st.sampled_from(["row", "column", "convolution", "dense"]), side=st.integers(1, 13), text=st.integers(1, 20)
)
def test_keys_are_those_of_the_mask(kind: Kind, side: int, text: int) -> None:
    config = PriorConfig(text_length=text, codes=side * side, layers=1)
    mask = dense_mask(kind, text_length=text, side=side)[:-1, :-1]
    assert int(mask.sum()) == keys_seen(kind, config)


@settings(max_examples=30)
@given(layers=st.integers(1, 6), heads=st.integers(1, 3), side=st.integers(1, 6), text=st.integers(1, 9))
def test_flop_are_those_of_the_products(layers: int, heads: int, side: int, text: int) -> None:
    """As torch counts the linear maps; attention by the pairs that its masks have."""
    config = PriorConfig(
        vocab_size=11, image_vocab_size=13, text_length=text, codes=side**2, layers=layers, heads=heads, head_size=4
    )
    prior, counted = Prior(config), 0

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        nonlocal counted
        assert isinstance(layer, torch.nn.Linear)
        counted += 2 * layer.weight.numel() * (inputs[0].numel() // layer.in_features)

    for module in prior.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(count)
    prior(torch.zeros(1, text, dtype=torch.int64), torch.zeros(1, side**2, dtype=torch.int64))
    masks = [dense_mask(kind, text_length=text, side=side)[:-1, :-1] for kind in kinds_of(layers)]
    attention = sum(2 * 2 * config.width * int(mask.sum()) for mask in masks)
    assert counted + attention == forward_flops(config)


def test_weights_are_all_there_are() -> None:
    counted = weights_of(SMALL)
    assert sum(value.numel() for value in Prior(SMALL).parameters()) == counted.total
    assert SMALL.block_weights == counted.matrices


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recompute", ["none", "selective", "blocks"])
def test_what_is_kept_is_what_autograd_keeps(dtype: torch.dtype, recompute: Recompute) -> None:
    """Of a whole network with numbers, by its storages; weights apart, and what the losses hold."""
    prior, held = Prior(SMALL, recompute=recompute), dict[int, int]()
    if dtype == torch.float16:
        GradientScales(dict(prior.named_parameters()), prior.resblocks(), alone())

    def pack(value: torch.Tensor) -> torch.Tensor:
        held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    codes = torch.zeros(3, SMALL.codes, dtype=torch.int64)
    text = torch.zeros(3, SMALL.text_length, dtype=torch.int64)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value),
        torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
    ):
        kept = prior.transform(prior.embed(text, codes)).sum()
    for value in prior.parameters():
        held.pop(value.untyped_storage().data_ptr(), None)
    assert kept.requires_grad
    counted = kept_for_gradients(SMALL, 3, dtype, recompute=recompute)
    assert sum(held.values()) == pytest.approx(counted, rel=0.1)


def test_what_is_counted_leaves_nothing_behind() -> None:
    """What is remembered of attention's masks has numbers after a plan, as before it."""
    tokens = torch.zeros(1, SMALL.text_length, dtype=torch.int64), torch.zeros(1, SMALL.codes, dtype=torch.int64)
    forget()
    kept_for_gradients(SMALL, 1, torch.float32, recompute="blocks")
    torch.manual_seed(0)
    prior = Prior(SMALL)
    after = prior(*tokens)
    forget()
    assert all(torch.equal(one, other) for one, other in zip(after, prior(*tokens), strict=True))
    assert not any(isinstance(one, FakeTensor) for one in after)


def test_less_is_held_when_layers_are_recomputed() -> None:
    """By the paper's network a fifth of what is kept otherwise, or two thirds; and parts add up."""
    config = PriorConfig()
    ways: tuple[Recompute, ...] = ("none", "selective", "blocks")
    some = [held_by(config, 1, torch.bfloat16, recompute=recompute) for recompute in ways]
    assert some[1].kept < 0.7 * some[0].kept
    assert some[2].kept < some[0].kept / 10
    for each in some:
        parts = (each.weights, each.gradients, each.moments, each.average, each.kept, each.passing, each.gaps)
        assert sum(parts) == each.total
        assert each.moments == 2 * each.weights


def test_the_papers_network(capsys: pytest.CaptureFixture) -> None:
    """Its 24 GB of weights in 16 bits, its steps and examples; without a dataset, a folder or minutes."""
    assert 0 == train_prior.main(["full", "--plan", "--gpus", "1024", "--tflops", "30"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "12,092,178,432 in the matrices of its blocks (24.18 GB in 16 bits)" in printed
    assert "a step: 1,024 examples, 1,310,720 tokens" in printed
    assert "the training: 430,000 steps, 440,320,000 examples" in printed
    days = float(re.search(r"([\d.]+) days on 1,024 x 30.00 teraflops", printed)[1])
    flops = 4 * 1024 * forward_flops(PriorConfig())  # forward, twice backward, forward again
    assert pytest.approx(430_000 * flops / (1024 * 30e12) / 86_400, rel=0.01) == days


def test_what_does_not_fit_is_said(capsys: pytest.CaptureFixture) -> None:
    """A batch that processes cannot share, and factors that are no smaller than what they stand for."""
    flags = ("tiny", "--plan", "--tflops", "1", "--device", "cpu", "--gpus")
    for gpus, rank, shares, compresses in ((4, 4, True, True), (8, 64, False, False)):
        assert 0 == train_prior.main([*flags, str(gpus), "--powersgd_rank", str(rank)])
        printed = capsys.readouterr().out
        assert shares == (f"--batch_size 4 is no multiple of {gpus} processes" not in printed)
        assert compresses == ("if nothing was compressed" in printed)
        assert compresses == ("no matrix is larger than its factors of --powersgd_rank 64" not in printed)


def test_it_follows_the_examples_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_dataset(tmp_path / "examples", (19, 14))
    flags = ["tiny", "--plan", "--input_folder", folder, "--output_folder", str(tmp_path / "prior")]
    assert 0 == train_prior.main(flags)
    assert "256 text positions, 4 x 4 codes" in capsys.readouterr().out
    assert not (tmp_path / "prior").exists()


def test_a_product_is_timed() -> None:
    assert 1e8 < product_flops(torch.device("cpu"), torch.float32, repeats=3, side=256) < 1e14


def test_a_process_is_set_up_before_torch_is_there() -> None:
    """And what a person has set stays."""
    script = (
        "import os, sys; from dalle.training.machine import prepare; prepare(); assert 'torch' not in sys.modules; "
        "print(os.environ['GOMP_SPINCOUNT'], os.environ['THP_MEM_ALLOC_ENABLE'])"
    )
    for own, expected in (({}, "10000 1"), ({"GOMP_SPINCOUNT": "7", "MALLOC_ARENA_MAX": "2"}, "7 1")):
        environment = {"PATH": "/usr/bin:/bin", **own}
        run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert (0, expected) == (run.returncode, run.stdout.strip()), run.stderr
