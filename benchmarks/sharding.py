"""What does each of several processes hold that hold the weights together, and what does it cost on one machine?

    python benchmarks/sharding.py

For `small` with two and four processes, in groups that share the weights, with and without recomputation and PowerSGD:
the peak of a process's resident memory in `dalle.train_prior`, beside what `--plan` says; and seconds a step beside
those of processes that hold all weights, in the same run. On a processor over gloo: of the time only the ratio means
something.

Writes `results/sharding.json` beside this file.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import tyro

from benchmarks.record import record
from benchmarks.step_times.runs import Lengths, write_examples
from dalle.training.logs import read_log

ROOT = Path(__file__).parent.parent
LENGTHS = Lengths(text_length=256, side=32)


@dataclass(frozen=True, kw_only=True)
class ShardingOptions:
    """How much is measured."""

    processes: tuple[int, ...] = (2, 4)
    """Numbers of processes; cases with others are left out."""
    steps: int = 4
    """Steps of each training."""
    name: str = "sharding"
    """Of the file in `results/`."""


def train(examples: str, out: Path, processes: int, options: ShardingOptions, *more: object) -> dict[str, float]:
    """Peak gigabytes of a process and seconds a step."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    words += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "dalle.train_prior"]
    words += flags(examples, processes, *more, "--output_folder", out, "--steps", options.steps)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)  # of the largest of its processes
    assert os.waitstatus_to_exitcode(status) in (0, 1)  # four steps need not have lowered the loss
    speeds = [line["tokens_per_second"] for line in read_log(out) if "loss" in line]
    seconds = processes * (LENGTHS.text_length + LENGTHS.side**2) / statistics.median(speeds[1:])
    return {"gigabytes": 1024 * usage.ru_maxrss / 1e9, "seconds_a_step": seconds}


def flags(examples: str, processes: int, *more: object) -> list[str]:
    """Of a training and its plan."""
    sizes = ("--batch_size", processes, "--micro_batch_size", 1, "--precision", "bfloat16", "--device", "cpu")
    others = ("--workers", 0, "--log_every", 1, "--eval_every", 0, "--validation_share", 0)
    return [str(word) for word in ("small", "--input_folder", examples, *sizes, *others, *more)]


def planned(examples: str, processes: int, *more: object) -> float:
    """Gigabytes of a process, as they are said before."""
    words = flags(examples, processes, *more, "--plan", "--gpus", processes, "--tflops", 1)
    plan = subprocess.run(
        [sys.executable, "-m", "dalle.train_prior", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = re.search(r"memory of each process: ([\d.,]+) GB", plan.stdout)
    assert found
    return float(found[1])


CASES = {
    "2 processes, recomputed": (2, ("--shard", 2, "--recompute", "blocks")),
    "2 processes, all kept": (2, ("--shard", 2, "--recompute", "none")),
    "4 processes, recomputed": (4, ("--shard", 4, "--recompute", "blocks")),
    "4 processes, all kept": (4, ("--shard", 4, "--recompute", "none")),
    "2 groups of 1, compressed": (2, ("--shard", 1, "--powersgd_rank", 128, "--recompute", "blocks")),
    "2 groups of 2, compressed, moments in two bytes": (
        4,
        ("--shard", 2, "--powersgd_rank", 128, "--recompute", "blocks", "--moments", "paper"),
    ),
}
"""Processes, and how they share the weights."""


def main(options: ShardingOptions) -> None:
    """Measure, print and write."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        examples = write_examples(Path(made) / "examples", LENGTHS, times=30)
        for name, (processes, more) in CASES.items():
            if processes not in options.processes:
                continue
            said = planned(examples, processes, *more)
            out = Path(made) / name.replace(" ", "_")
            found = train(examples, out, processes, options, *more)
            recompute = more[more.index("--recompute") :][:2]
            alone = train(examples, out.with_name(out.name + "_alone"), processes, options, *recompute)
            figures[name] = {
                "said_gigabytes": said, "found_gigabytes": round(found["gigabytes"], 3),
                "said_of_found": round(said / found["gigabytes"], 3),
                "gigabytes_unsharded": round(alone["gigabytes"], 3),
                "seconds_of_unsharded": round(found["seconds_a_step"] / alone["seconds_a_step"], 2),
            }  # fmt: skip
            print(name, figures[name], flush=True)
    record(options.name, figures, ["torch"])


if __name__ == "__main__":
    main(tyro.cli(ShardingOptions))
