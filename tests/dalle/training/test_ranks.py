"""Processes that train together: what they send to one another, and that they need share no disk."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from dalle.dvae.files import load
from dalle.training.ranks import Ranks, _naming_lost_processes, backends, device_of, is_broken_line
from schemas.commands.ending import CommandFailed
from tests.conftest import ROOT
from tests.examples import write_image_folder

ALONE = Ranks(rank=0, count=1, device=torch.device("cpu"))

TALK = """
import torch
from dalle.training import ranks
ranks.PORTION = 1000
with ranks.joined("cpu") as group:
    mean = group.mean(torch.tensor([1.0 + 2 * group.rank], dtype=torch.float64))
    sent = [group.from_first(bytes(range(250)) * 13 if group.first else None) == bytes(range(250)) * 13]
    sent += [group.from_first(None if group.first else b"not looked at") is None, group.from_first(b"") == b""]
    group.check_same("same", "the options")
    print(group.rank, group.count, mean.item(), sent)
    try:
        group.check_same(f"mine is {group.rank}", "the options")
    except ValueError as error:
        print(error)
    group.check_same("same again", "the options")
"""


TRAIN = """
import json, os, sys
from dalle.train_dvae import main
for port, flags in zip(sys.argv[1].split(","), json.loads(sys.argv[2]), strict=True):
    os.environ["MASTER_PORT"] = port
    if code := main(flags):
        sys.exit(code)
threads = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print("threads:", *sorted({name for name in threads if "gloo" in name}))
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def together(*commands: Sequence[str], cwds: Sequence[Path]) -> list[tuple[int, str]]:
    """Start processes as ranks of one group, each in a folder of its own; their exit codes and output."""
    (port,) = free_ports(1)
    running = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env={
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(commands)),
                "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank, (command, cwd) in enumerate(zip(commands, cwds, strict=True))
    ]  # fmt: skip
    outputs = [process.communicate(timeout=240)[0] for process in running]
    return [(process.returncode, output) for process, output in zip(running, outputs, strict=True)]


def test_they_share_means_and_bytes(tmp_path: Path) -> None:
    """Of any length, in portions, also nothing and the empty one; who has other options is told."""
    first, second = together(["-c", TALK], ["-c", TALK], cwds=(tmp_path, tmp_path))
    assert (0, 0) == (first[0], second[0]), first[1] + second[1]
    lines = first[1].strip().splitlines()
    assert "0 2 2.0 [True, True, True]" == lines[0]
    assert lines[1].startswith("rank 0: the options of another rank are not those of rank 0; start every process")
    lines = second[1].strip().splitlines()
    assert "1 2 2.0 [True, True, True]" == lines[0]
    assert lines[1].startswith("rank 1: the options are not those of rank 0 (mine is 1, there mine is 0); start every")


def flags(steps: int, out: str = "out") -> list[str]:
    return [
        "tiny", "--images", "pictures", "--output_folder", out, "--device", "cpu", "--resolution", "16",
        "--batch_size", "4", "--micro_batch_size", "2", "--vocab_size", "32", "--steps", str(steps),
        "--log_every", "2", "--save_every", "3", "--precision", "float32",
    ]  # fmt: skip


def train_together(runs: Sequence[list[str]], cwds: Sequence[Path]) -> list[tuple[int, str]]:
    """Train with two ranks, one run after the other in the same processes."""
    ports = ",".join(map(str, free_ports(len(runs))))
    command = ["-c", TRAIN, ports, json.dumps(runs)]
    return together(command, command, cwds=cwds)


@pytest.mark.slow
def test_going_on_without_a_shared_disk(tmp_path: Path) -> None:
    """Only rank 0 has the checkpoint: the other is sent it, and the weights are those of an undisturbed run."""
    folders = (tmp_path / "one", tmp_path / "two")
    for folder in folders:
        write_image_folder(folder / "pictures", 10)
    ended = train_together([flags(3), flags(6), flags(6, "whole")], folders)
    assert [0, 0] == [code for code, _ in ended], ended
    assert "goes on from out/checkpoints/00000003.safetensors, 3 of 6 steps are done" in ended[0][1]
    for _, output in ended:  # one that outlives the group ends its process with SIGABRT now and then
        assert "threads:" == output.splitlines()[-1].strip()
    assert ["pictures"] == [path.name for path in folders[1].iterdir()]
    whole, resumed = (load(folders[0] / name / "model.safetensors").state_dict() for name in ("whole", "out"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_ranks_with_other_pictures_are_told(tmp_path: Path) -> None:
    """Before a step is taken: their gradients would be of two trainings."""
    folders = (tmp_path / "one", tmp_path / "two")
    for folder, count in zip(folders, (10, 11), strict=True):
        write_image_folder(folder / "pictures", count)
    first, second = train_together([flags(3)], folders)
    assert (2, 2) == (first[0], second[0])
    assert "rank 1: the options or the data are not those of rank 0" in second[1]
    assert "rank 0: the options or the data of another rank" in first[1]
    assert "Traceback" not in first[1] + second[1]
    assert not (folders[0] / "out/model.safetensors").exists()


def test_figures_of_the_processor_have_someone_to_carry_them() -> None:
    """NCCL takes tensors of GPUs alone: under it the sums of a log's line would have died."""
    assert "cpu:gloo" == backends(torch.device("cpu"))
    assert {"cpu:gloo", "cuda:nccl"} == set(backends(torch.device("cuda", 0)).split(","))


def test_alone_it_talks_to_itself() -> None:
    values = torch.tensor([1.0, 3.0])
    assert torch.equal(values, ALONE.mean(values))
    assert (b"x", None) == (ALONE.from_first(b"x"), ALONE.from_first(None))
    ALONE.check_same("anything", "the options")


def test_a_lost_process_is_told_from_other_errors() -> None:
    """In one sentence, without what gloo advises its own programmers."""
    with pytest.raises(CommandFailed, match=r"cannot be reached \(Connection closed by peer \[127.0.0.1\]:80\); look"):
        with _naming_lost_processes():
            raise RuntimeError(
                "[/__w/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:80. This is typically "
                "caused by a remote worker crashing. Check the logs."
            )
    for error in (CommandFailed("NCCL"), ValueError("gloo"), RuntimeError("shapes do not match")):
        assert not is_broken_line(error)
        with pytest.raises(type(error), match=str(error)), _naming_lost_processes():
            raise error


def test_what_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ValueError, match="--batch_size is 9, expected a multiple of the 2 processes"):
        Ranks(rank=0, count=2, device=torch.device("cpu")).share(9, "--batch_size")
    with pytest.raises(ValueError, match="--device abacus: nothing computes there"):
        device_of("abacus")
