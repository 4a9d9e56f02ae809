"""One network that takes a training step whenever it is asked, for benchmarks/prior.py: a process of its own.

    python benchmarks/prior_steps.py NETWORK [--prepared] [--dalle_pytorch FOLDER]

For each line on its standard input it writes one: seconds of a step. The first line it writes says how many weights the
network has. With `--prepared` the process is set up as the trainings of this project are (`dalle.training.machine`),
otherwise torch is as it comes.
"""

import sys

from dalle.training.machine import prepare

if __name__ == "__main__" and "--prepared" in sys.argv:
    prepare()  # before torch is imported

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import prior_rivals
import torch
import tyro
from torch import Tensor

from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.network import Prior
from dalle.training.ranks import alone
from dalle.training.steps import OptimizerOptions, OptimizerStep

NETWORK = PriorConfig(layers=12, heads=8, head_size=64)
EXAMPLES = 2
NetworkName = Literal["ours", "nanoGPT", "DALLE-pytorch, row and column", "DALLE-pytorch"]


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What takes the steps."""

    network: Annotated[NetworkName, tyro.conf.Positional]
    """Which network."""
    prepared: bool = False
    """Set the process up as our trainings do."""
    dalle_pytorch: Path | None = None
    """Folder that DALLE-pytorch is installed in."""
    threads: int = 2
    """Threads of torch."""


def network_and_loss(options: StepOptions) -> tuple[torch.nn.Module, Callable[[], Tensor]]:
    """A network, and what makes its loss of random examples."""
    size = {"layers": NETWORK.layers, "width": NETWORK.width, "heads": NETWORK.heads}
    text = torch.randint(1, NETWORK.vocab_size, (EXAMPLES, NETWORK.text_length))
    codes = torch.randint(0, NETWORK.image_vocab_size, (EXAMPLES, NETWORK.codes))
    if options.network == "ours":
        prior = Prior(NETWORK)
        return prior, lambda: weighted(*prior.losses(text, codes))
    if options.network == "nanoGPT":
        dense = prior_rivals.Dense(**size)
        return dense, lambda: dense(text, codes)
    assert options.dalle_pytorch is not None
    kinds = ("axial_row", "axial_col") if options.network == "DALLE-pytorch, row and column" else None
    theirs = prior_rivals.dalle_pytorch(options.dalle_pytorch, kinds, **size)
    return theirs, lambda: theirs(text, codes, return_loss=True)


def main(options: StepOptions) -> None:
    """Take a step for each line that is read: loss and gradients in bfloat16, clipping, AdamW."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network, loss = network_and_loss(options)
    optimizer = OptimizerStep(network, OptimizerOptions(precision="bfloat16", grad_clip=4.0), alone())
    print(sum(value.numel() for value in network.parameters() if value.requires_grad), flush=True)
    for index, _ in enumerate(sys.stdin):
        since = time.perf_counter()
        with optimizer.autocast():
            value = loss()
        optimizer.backward(value)
        optimizer(index)
        print(time.perf_counter() - since, flush=True)


if __name__ == "__main__":
    main(tyro.cli(StepOptions))
