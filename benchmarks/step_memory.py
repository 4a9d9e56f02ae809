"""Is the memory of a training step what `--plan` says, whatever is recomputed and however moments are kept?

    python benchmarks/step_memory.py

A prior 512 wide with 256 text tokens and 32 x 32 codes takes three steps in a process of its own for each way: weights,
gradients, moments, average and what autograd keeps, in bfloat16. Its peak of resident memory, less what the program
took before the network was made, beside what `dalle.prior.memory.held_by` says; and processor seconds of a step, which
tell what recomputation costs. Moments by themselves are the bytes of their storages for each weight.

Writes `results/step_memory.json` beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

from dalle.training.machine import prepare

if __name__ == "__main__":
    prepare()  # before torch is imported, as trainings do

import resource
import time

import psutil
import torch
import tyro

from benchmarks.record import record
from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.memory import held_by
from dalle.prior.network import Prior
from dalle.prior.resblock import Recompute
from dalle.training.ema import Ema
from dalle.training.ranks import alone
from dalle.training.steps import Moments, OptimizerOptions, OptimizerStep

WAYS: tuple[tuple[Recompute, Moments], ...] = (
    ("none", "float32"), ("selective", "float32"), ("blocks", "float32"), ("blocks", "paper"),
)  # fmt: skip
STEPS = 3


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """How large the network is."""

    way: Annotated[Literal["all", "0", "1", "2", "3"], tyro.conf.Positional] = "all"
    """All of them, each in a process of its own; or the one that this process takes."""
    layers: int = 12
    """Layers of 8 heads of 64 dimensions."""
    examples: int = 2
    """Of a micro-batch."""
    name: str = "step_memory"
    """Of the file of results."""


def config_of(options: MemoryOptions) -> PriorConfig:
    """The network."""
    return PriorConfig(layers=options.layers, heads=8, head_size=64)


def take_steps(options: MemoryOptions) -> dict[str, Any]:
    """In this process: bytes at the peak beyond those before, seconds of a step, bytes of moments."""
    recompute, moments = WAYS[int(options.way)]
    config, device = config_of(options), torch.device("cpu")
    text = torch.randint(0, config.vocab_size, (options.examples, config.text_length))
    codes = torch.randint(0, config.image_vocab_size, (options.examples, config.codes))
    before = psutil.Process().memory_info().rss
    prior = Prior(config, recompute=recompute)
    adamw = OptimizerOptions(precision="bfloat16", moments=moments, betas=(0.9, 0.96), grad_clip=4.0)
    step, average = OptimizerStep(prior, adamw, alone(device), blocks=prior.resblocks()), Ema(prior, 0.99)
    seconds = []
    for index in range(STEPS):
        begun = time.process_time()
        with step.autocast():
            loss = weighted(*prior.losses(text, codes))
        step.backward(loss)
        step(index)
        average.update(index + 1)
        seconds.append(time.process_time() - begun)
    states = [value for state in step._optimizer.state.values() for value in state.values() if value.ndim]
    return {
        "bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
        "seconds": min(seconds),
        "moments": sum(value.untyped_storage().nbytes() for value in states),
        "weights": sum(value.numel() for value in prior.parameters()),
    }


def compare(options: MemoryOptions) -> dict[str, Any]:
    """All ways in turn, each beside its plan."""
    figures: dict[str, Any] = {"layers": options.layers, "examples": options.examples}
    for index, (recompute, moments) in enumerate(WAYS):
        words = [str(index), "--layers", str(options.layers), "--examples", str(options.examples)]
        run = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(run.stdout)
        held = held_by(config_of(options), options.examples, torch.bfloat16, recompute=recompute, moments=moments)
        figures[f"recompute {recompute}, moments {moments}"] = {
            "gigabytes": {"said": round(held.total / 1e9, 3), "found": round(found["bytes"] / 1e9, 3)},
            "said of found": round(held.total / found["bytes"], 3),
            "processor seconds of a step": round(found["seconds"], 2),
            "bytes of moments a weight": {
                "said": round(held.moments / found["weights"], 3),
                "found": round(found["moments"] / found["weights"], 3),
            },
        }
    return figures


if __name__ == "__main__":
    options = tyro.cli(MemoryOptions)
    if options.way == "all":
        record(options.name, compare(options), ["torch"])
    else:
        print(json.dumps(take_steps(options)))
