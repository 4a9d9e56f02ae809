"""Checkpoints: whole or not there, the same tree again, from a file or from bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dalle.training import checkpoint


def test_trees_come_back_bit_for_bit(tmp_path: Path) -> None:
    """From the file, from its bytes, and without tensors from its header."""
    tree = {
        "step": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.randn(2, 3, 4, 4)}, 7: {}}, "groups": [{"lr": 1e-4, "x": None}]},
        "empty": torch.zeros(0),
        "bytes": torch.arange(256, dtype=torch.uint8),
    }
    path = checkpoint.save(tmp_path, 3, tree)
    for again in (checkpoint.load(path), checkpoint.loads(path.read_bytes(), "sent")):
        assert torch.equal(tree["optimizer"]["state"][0]["exp_avg"], again["optimizer"]["state"][0]["exp_avg"])
        assert torch.equal(tree["bytes"], again["bytes"])
        assert {} == again["optimizer"]["state"][7]
        assert tree["optimizer"]["groups"] == again["optimizer"]["groups"]
        assert (again["step"], list(again)) == (3, list(tree))
    outline = checkpoint.outline(path)
    assert (3, None, tree["optimizer"]["groups"]) == (
        outline["step"], outline["bytes"], outline["optimizer"]["groups"],
    )  # fmt: skip


def test_they_are_whole_or_not_there(tmp_path: Path) -> None:
    """The newest two stay; a failed one leaves nothing."""
    for step in (9, 10, 11):
        checkpoint.save(tmp_path, step, {"step": step})
    assert ["00000010.safetensors", "00000011.safetensors"] == sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(TypeError, match="/x is a set, expected a tensor, a number"):
        checkpoint.save(tmp_path, 12, {"x": {1}})
    assert ["00000010.safetensors", "00000011.safetensors"] == sorted(file.name for file in tmp_path.iterdir())
    assert checkpoint.latest(tmp_path) == tmp_path / "00000011.safetensors"
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_the_newest_is_that_of_most_steps(tmp_path: Path) -> None:
    """By the number, however many digits it has."""
    for step in (99_999_999, 100_000_000):
        checkpoint.save(tmp_path, step, {"step": step})
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert 100_000_000 == checkpoint.load(newest)["step"]


@pytest.mark.parametrize("keep", [0, 4, 12, 200])
def test_a_damaged_one_is_one_sentence(tmp_path: Path, keep: int) -> None:
    """Whoever reads it."""
    path = checkpoint.save(tmp_path, 3, {"step": 3, "weights": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:keep])
    for read in (checkpoint.load, checkpoint.outline, lambda p: checkpoint.loads(p.read_bytes(), str(p))):
        with pytest.raises(ValueError, match=r"00000003.safetensors: is no checkpoint of ours \(.*delete it to go on"):
            read(path)
