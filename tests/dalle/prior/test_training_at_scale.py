"""docs/training_at_scale.md says what the plan counts; what is counted follows from the paper's figures."""

from __future__ import annotations

import pytest
import torch

from benchmarks.training_at_scale import row
from dalle.prior.config import PriorConfig
from dalle.prior.memory import held_by, weights_of
from dalle.prior.sent import error_bytes, sent_by, units
from dalle.training.bandwidth import saving
from tests.conftest import ROOT

PAGE = ROOT / "docs/training_at_scale.md"


@pytest.mark.parametrize(("preset", "gpus"), [("tiny", 1), ("tiny", 8), ("small", 8), ("base", 64), ("full", 1024)])
def test_the_page_has_the_plans_lines(preset: str, gpus: int) -> None:
    """`python benchmarks/training_at_scale.py` prints them all."""
    assert row(preset, gpus, 50.0) in PAGE.read_text().splitlines()


def test_what_the_papers_machines_would_send() -> None:
    """128 machines of 8: matrices in 16 bits save what Table 1 says and a half; all else goes as it is."""
    config, half = PriorConfig(), torch.float16
    weights, groups = weights_of(config), 128
    compressed, plain = (
        sent_by(units(config, 8, rank), half, shard=8, groups=groups, rank=rank, portions=1) for rank in (896, 0)
    )
    ring = 2 * (groups - 1) / groups
    assert plain.between == pytest.approx(ring * 4 * weights.total / 8, rel=1e-3)
    others = ring * 4 * (weights.total - weights.matrices) / 8
    of_matrices = (compressed.between - others) / (ring * 2 * weights.matrices / 8)
    assert of_matrices == pytest.approx(1 - saving(3968, 896, 8), rel=1e-3)
    assert compressed.within == plain.within
    # every block's matrices twice in 16 bits, gradients in 32; a process has an eighth, and sends it to seven
    within = 7 / 8 * (2 * 2 * weights.matrices + 4 * weights.total + 4 * (weights.embeddings + weights.logits))
    assert compressed.within == pytest.approx(within, rel=1e-3)


def test_error_buffers_are_planned() -> None:
    """Two bytes for each number of a matrix that is compressed, and for the factors; none without compression."""
    config = PriorConfig()
    kept = error_bytes(units(config, 8, 896), 896, 8)
    assert 2 * weights_of(config).matrices / 8 < kept < 1.2 * 2 * weights_of(config).matrices / 8
    assert 0 == error_bytes(units(config, 8, 0), 0, 8)
    small = PriorConfig(layers=2, heads=2, head_size=8)
    held = [held_by(small, 1, torch.float32, recompute="none", shard=2, powersgd_rank=rank) for rank in (0, 4)]
    assert held[1].total - held[0].total == held[1].errors == error_bytes(units(small, 2, 4), 4, 2) > 0
