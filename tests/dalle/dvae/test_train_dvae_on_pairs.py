"""A dVAE trains on a dataset of pairs through the reader, goes on exactly, and refuses what was never deduplicated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dalle import train_dvae
from dalle.dvae.files import load
from tests.examples import write_pictures

TINY = [
    "tiny", "--resolution", "16", "--batch_size", "4", "--micro_batch_size", "4", "--workers", "0", "--device", "cpu",
    "--vocab_size", "32",
    "--save_every", "3", "--eval_every", "0", "--log_every", "1",
]  # fmt: skip


def trained(folder: str, out: Path, *steps: int) -> dict[str, torch.Tensor]:
    for count in steps:
        flags = [*TINY, "--steps", str(count), "--input_folder", folder, "--output_folder", str(out)]
        assert 0 == train_dvae.main(flags)
    return load(out / "model.safetensors").state_dict()


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    """Over the end of an epoch (10 pictures, 2 batches), from a checkpoint in the middle of one."""
    folder = write_pictures(tmp_path / "pairs", (6, 4))
    whole, resumed = trained(folder, tmp_path / "whole", 4), trained(folder, tmp_path / "resumed", 3, 4)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_undeduplicated_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In one sentence, unless it is allowed."""
    folder = write_pictures(tmp_path / "pairs", (6,), lineage=())
    flags = [*TINY, "--steps", "1", "--input_folder", folder, "--output_folder", str(tmp_path / "out")]
    assert 2 == train_dvae.main(flags)
    assert "was never cleaned of near-duplicates" in capsys.readouterr().err
    assert 0 == train_dvae.main([*flags, "--allow_undeduplicated"])
