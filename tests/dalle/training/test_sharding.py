"""Weights spread over processes: the numbers of one process, whatever ends one of them, in two and four gloo processes."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from dalle import train_prior
from dalle.prior.config import PriorConfig
from dalle.prior.files import load
from dalle.prior.memory import held_by, weights_of
from dalle.prior.options import FULL, PlanOptions, ShardOptions
from dalle.training.cuts import read
from dalle.training.logs import read_log
from dalle.training.ranks import joined
from dalle.training.stored_checkpoint import opened
from dalle.training.tensor_reader import read_header
from schemas.folder import RECIPE, Folder
from schemas.planning import SayOptions
from tests.conftest import ROOT
from tests.dalle.training.sharded_work import CONFIG
from tests.examples import write_dataset
from tests.object_store import ObjectStore

WIDE = {
    **{"layers": 4, "heads": 8, "head_size": 64, "text_length": 16, "codes": 16},
    **{"vocab_size": 2_000, "image_vocab_size": 1_000},
}


def flags(folder: str, out: Path, *more: object) -> list[str]:
    sizes = ("--device", "cpu", "--heads", 1, "--head_size", 8, "--layers", 2, "--steps", 4, "--log_every", 1)
    others = ("--precision", "float32", "--micro_batch_size", 1, "--save_every", 2, "--eval_every", 2)
    every = ("tiny", "--input_folder", folder, "--output_folder", out, *sizes, *others, *more)
    return [str(flag) for flag in every]


@dataclasses.dataclass(frozen=True)
class Ended:
    """What came of all worlds; one program runs them, for to begin it takes longer than most of them."""

    folder: Path
    worlds: dict[str, dict[str, Any]]
    said: str
    stored: list[str]
    """Files on the store, of a checkpoint, and of a training."""
    kept: list[str]
    weights: dict[str, torch.Tensor]
    """As one process reads them from there."""

    def __getitem__(self, name: str) -> Any:
        """What the first process returned, where all did what they were to."""
        assert not any(self.worlds[name]["codes"]), self.said[-3000:]
        return self.worlds[name]["returned"][0]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """Trainings, checkpoints and faults, in two and four processes that hold the weights in twos and in fours."""
    folder = tmp_path_factory.mktemp("worlds")
    examples, url = write_dataset(folder / "examples", (19, 14)), "s3://weights/prior/checkpoints"
    kept, twos = ("--checkpoint_store", "s3://weights/kept"), ("--shard", 2, "--log_every", 2)
    command = functools.partial(flags, examples)
    asked = {"rank": 1, "in": "backward", "call": 6, "signal": "SIGTERM"}
    killed = {"rank": 1, "in": "write", "call": 2, "signal": "SIGKILL", "after": True}
    entries: dict[str, tuple[Any, ...]] = {
        "two": ("train_as_one", 2, 2, "float64", 20),
        "twos": ("train_as_one", 4, 2, "float64", 50),
        "four": ("train_as_one", 4, 4, "float32", 5),
        "short": ("train_as_one", 2, 2, "bfloat16", 1),
        "hooks": ("hooks", 4, 2),
        "other groups": ("other_groups", 2),
        "overflow": ("overflow", 2, 2, "float16"),
        "overflow scaled": ("overflow", 2, 2, "float16_scaled"),
        "owing": ("owing", 4, 2, 4, "float16_scaled", str(folder / "owing"), 4, False),
        "owing in twos": ("owing", 2, 1, 4, "float16_scaled", str(folder / "owing"), 4, True),
        "owing alone": ("owing", 2, 2, 4, "float16_scaled", str(folder / "owing"), 2, True),
        "memory": ("memory", 2, 2, "float32", "blocks", WIDE, 1),
        "write": ("write_checkpoint", 4, 4, url, 2, str(folder / "model.safetensors")),
        "read": ("read_checkpoint", 4, 2, url, 2),
        "whole": ("command", 2, command(folder / "whole", *twos)),
        "asked": ("command", 2, command(folder / "asked", *twos), asked),
        "asked again": ("command", 2, command(folder / "asked", *twos)),
        "killed": ("command", 2, command(folder / "killed", "--shard", 2), killed),
        "killed again": ("command", 1, command(folder / "killed")),
        "kept": ("command", 2, command(folder / "kept", "--shard", 2, *kept, "--steps", 2)),
        "fetched": ("command", 2, command(folder / "fetched", "--shard", 2, *kept)),
        "in threes": ("command", 2, command(folder / "threes", "--shard", 3)),
    }
    with ObjectStore(every=10**9) as store, pytest.MonkeyPatch.context() as patch:
        for name, value in {**store.environment(), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        Folder("s3://weights").fs.mkdir("weights")
        program = [sys.executable, "-m", "tests.dalle.training.worlds", json.dumps(list(entries.values()))]
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=400)
        assert 0 == done.returncode, done.stderr[-3000:]
        worlds = dict(zip(entries, map(json.loads, done.stdout.splitlines()), strict=True))
        checkpoints, name = Folder(url), "00000002.safetensors"
        with opened(checkpoints, name, read_header(checkpoints, name).content) as tree:
            weights = read(tree["run"]["weights"], {})
        yield Ended(folder, worlds, done.stderr, checkpoints.names(), Folder("s3://weights/kept").names(), weights)


@pytest.mark.parametrize("world", ["two", "twos", "four"])
def test_they_train_as_one_process(ended: Ended, world: str) -> None:
    """The same first weights, to the bit; gradient, losses over 50 steps (20 of two), weights, average within 1e-5."""
    found = ended[world]
    assert 0 == found["start"]
    exact = 1e-5 if world == "four" else 1e-12
    assert exact > max(found["gradient"], found["loss"], found["weights"])
    assert 1e-5 > found["average"]
    assert found["norms"][0] == pytest.approx(found["norms"][1], rel=1e-4)
    assert (0.95 if world == "twos" else 1) > found["fell"], "it has learnt something by then"


def test_each_holds_its_share(ended: Ended) -> None:
    assert [1 / 2, 1 / 2, 1 / 4] == pytest.approx([ended[name]["held"] for name in ("two", "twos", "four")], rel=0.05)


def test_in_sixteen_bits_gradients_are_those_of_one_process(ended: Ended) -> None:
    """Weights are rounded before they travel, as autocast rounds them after; sums are of single precision."""
    assert 1e-5 > ended["short"]["gradient"]


def test_a_compressor_sees_every_weight_once(ended: Ended) -> None:
    """One that takes the mean changes nothing: one call for each unit, of the parts that its gradients are."""
    found = ended["hooks"]
    assert {"same": True, "calls": 6, "names": True, "copies": 2, "values": True} == found


@pytest.mark.parametrize("precision", ["float16", "float16_scaled"])
def test_an_overflow_anywhere_is_one_everywhere(ended: Ended, precision: str) -> None:
    """So all of them skip the same step, and lower the same scale; the one before it was one process's."""
    found = ended["overflow" if precision == "float16" else "overflow scaled"]
    assert [True, False] == found["moved"]
    before, after = found["scales"]
    fell = {name for name in before if after[name] < before[name]}
    assert {"loss_scale" if precision == "float16" else "log2_gradient_scale/layers.1.mlp"} == fell
    assert 1e-3 > found["apart"]


def test_what_compression_leaves_is_owed(ended: Ended) -> None:
    """Handed on and still owed are the gradients of all steps, in 16 bits with scales, and across restarts
    with other groups, of which one alone pays at once. Bytes are those of the formula."""
    four, two, one = (ended[name] for name in ("owing", "owing in twos", "owing alone"))
    assert 0 == four["owed"][0] < four["owed"][1]
    assert four["owed"][1] == pytest.approx(two["owed"][0], rel=2e-3)
    assert two["owed"][1] == pytest.approx(one["owed"][0], rel=2e-3)
    assert 0 == one["owed"][1] < one["owed"][0]
    assert 5e-3 > max(four["apart"], two["apart"], one["apart"])
    for found in (four, two, one):
        assert found["bytes"][0] == found["bytes"][1]
    assert 0 < min(four["bytes"][0])
    assert [0, 0] == [two["bytes"][0][0], one["bytes"][0][1]]


def test_the_plan_says_what_a_process_holds(ended: Ended) -> None:
    """Peak of its memory in three steps: within a tenth; and it is half of what one alone would hold, and a little."""
    found = ended["memory"]
    assert 1 == pytest.approx(found["share"], abs=0.1), found
    config = PriorConfig(**WIDE)
    alone = held_by(config, 1, torch.float32, recompute="blocks")
    assert 0.5 < found["said"] / (alone.total - alone.gaps) < 0.7


def test_parts_of_the_plan_add_up(capsys: pytest.CaptureFixture) -> None:
    """For the paper's network on the machines it had; a number of GPUs that cannot be grouped is refused."""
    said = held_by(PriorConfig(), 1, torch.bfloat16, recompute="blocks", shard=8)
    parts = dataclasses.astuple(said)
    assert said.total == sum(parts)
    assert said.weights == said.gradients == said.average == said.moments / 2
    assert 5 * 4 * weights_of(PriorConfig()).total / 8 == pytest.approx(sum(parts[:4]), rel=1e-6)
    assert 0 == train_prior.main(["full", "--plan", "--shard", "8", "--gpus", "1024", "--tflops", "30"])
    assert "8 processes hold weights, gradients, moments and average together" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--shard 8: --gpus 4 cannot be put into groups of 8; give a multiple of 8"):
        replace(
            FULL,
            loop=replace(FULL.loop, say=SayOptions(plan=True)),
            planning=PlanOptions(gpus=4),
            sharding=ShardOptions(shard=8),
        )


def test_a_signal_to_one_ends_all(ended: Ended) -> None:
    """After the same step, which is saved; the same command goes on to the bytes of one that was left alone.

    And to its log: of the losses since the last line each process had its share.
    """
    assert [143, 143] == ended.worlds["asked"]["codes"]
    assert 2 == ended.said.count("stopped after step 3, which is saved in")
    assert [0, 0] == [ended["whole"], ended["asked again"]]
    whole, again = ((ended.folder / name / "model.safetensors").read_bytes() for name in ("whole", "asked"))
    assert whole == again
    logs = [[line["loss"] for line in read_log(ended.folder / name) if "loss" in line] for name in ("whole", "asked")]
    assert 2 == len(logs[0])
    assert logs[0] == logs[1]
    assert 2 == load(ended.folder / "whole/model.safetensors").config.layers
    parts = [f"{step:08d}-a-{part}-of-2.safetensors" for step in (3, 4) for part in (1, 2)]
    left = sorted(path.name for path in (ended.folder / "asked/checkpoints").iterdir())
    assert [*parts[:2], "00000003.safetensors", *parts[2:], "00000004.safetensors"] == left


def test_one_is_killed_in_the_middle_of_a_checkpoint(ended: Ended) -> None:
    """The other ends with a sentence; the checkpoint before stands, and one process alone goes on from there."""
    assert [1, -9] == ended.worlds["killed"]["codes"]
    assert "dalle.train_prior: another process of this training ended or cannot be reached" in ended.said
    assert "killed/checkpoints/00000002.safetensors, 2 of 4 steps are done" in ended.said
    assert "Traceback" not in ended.said
    assert 0 == ended["killed again"]
    expected, found = (
        safetensors.torch.load_file(ended.folder / name / "model.safetensors") for name in ("whole", "killed")
    )
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5), name
    parts = [f"00000002-a-{part}-of-2.safetensors" for part in (1, 2)]
    left = sorted(path.name for path in (ended.folder / "killed/checkpoints").iterdir())
    assert [*parts, "00000002.safetensors", "00000004.safetensors"] == left


def test_a_training_goes_on_from_a_store(ended: Ended) -> None:
    """In another folder, as of another machine, to the bytes of one that was left alone; each writes its part."""
    assert [0, 0] == [ended["kept"], ended["fetched"]]
    assert "fetched weights/kept/00000002.safetensors" in ended.said
    whole, fetched = ((ended.folder / name / "model.safetensors").read_bytes() for name in ("whole", "fetched"))
    assert whole == fetched
    parts = [f"{step:08d}-a-{part}-of-2.safetensors" for step in (2, 4) for part in (1, 2)]
    assert {*parts, "00000002.safetensors", "00000004.safetensors", RECIPE} == {*ended.kept}


def test_checkpoints_of_a_store_are_read_by_any_number(ended: Ended) -> None:
    """Written by four processes; read by two and two, of which only the first two see the store, and by one."""
    assert ended["write"]
    parts = [f"00000002-a-{part}-of-4.safetensors" for part in (1, 2, 3, 4)]
    assert [*parts, "00000002.safetensors"] == ended.stored
    assert 1e-5 > max(ended["read"].values())
    model = ended.folder / "model.safetensors"
    whole = safetensors.torch.load_file(model)
    assert set(ended.weights) == set(whole)
    assert all(torch.equal(value, whole[name]) for name, value in ended.weights.items())
    assert CONFIG == load(model).config


def test_processes_that_are_asked_for_other_groups(ended: Ended) -> None:
    """They would wait for one another for ever."""
    first, second = ended.worlds["other groups"]["returned"]
    advice = "other processes were started with another --shard or --powersgd_rank; start every process with the same"
    assert first.startswith(f"rank 0: --shard 1: {advice}")
    assert second.startswith(f"rank 1: --shard 2: {advice}")


def test_processes_that_cannot_be_grouped(ended: Ended, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One sentence each, and nothing is written: alone, or of a number that does not go into that of all."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    assert 2 == train_prior.main(flags(folder, tmp_path / "prior", "--shard", 2))
    said = capsys.readouterr().err
    assert said.startswith("dalle.train_prior: --shard 2: this is one process alone; start 2 or a multiple of them")
    assert 1 == len(said.splitlines())
    assert not (tmp_path / "prior").exists()
    assert [2, 2] == ended.worlds["in threes"]["codes"]
    assert 2 == ended.said.count("--shard 3: the 2 processes cannot be put into groups of 3; give a divisor of 2")
    assert not (ended.folder / "threes").exists()
    with pytest.raises(ValueError, match="torchrun --nproc_per_node 4"), joined("cpu", 4):
        pass
