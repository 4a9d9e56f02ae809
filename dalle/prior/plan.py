"""What a training of a prior will take, said before anything is loaded: memory by part, FLOP, days."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import torch

from dalle.prior.config import PriorConfig
from dalle.prior.flops import TRAINING, forward_flops
from dalle.prior.memory import held_by, weights_of
from dalle.prior.options import TrainPriorOptions
from dalle.training.logs import time_left
from dalle.training.products import product_flops
from dalle.training.ranks import device_of
from dalle.training.steps import precision_on

SHARE = 0.62
"""Of a machine's own matrix products that a training reaches (benchmarks/prior.py)."""


def plan(options: TrainPriorOptions, config: PriorConfig) -> Iterator[str]:
    """Lines for a person.

    Args:
        options: of the training.
        config: sizes of its network.
    """
    planned_elsewhere = options.planning.tflops is not None and options.loop.device == "cuda"
    device = torch.device("cuda") if planned_elsewhere else device_of(options.loop.device)
    dtype = precision_on(device, options.optimizer.precision)
    weights = weights_of(config)
    yield (
        f"  network: {config.layers} layers, {config.heads} heads of {config.head_size}, {config.text_length} text "
        f"positions, {config.side} x {config.side} codes\n"
        f"  weights: {weights.matrices:,} in the matrices of its blocks ({_gb(2 * weights.matrices)} in 16 bits), "
        f"{weights.gains_and_biases:,} gains and biases, {weights.embeddings:,} in embeddings, {weights.logits:,} in "
        f"the output layers"
    )
    examples = min(options.micro_batch_size, max(1, options.loop.batch_size // options.planning.gpus))
    held = held_by(config, examples, dtype, recompute=options.recompute)
    process = psutil.Process().memory_info().rss
    what = "recomputed" if options.recompute else "all kept"
    yield (
        f"  memory of each process: {_gb(held.total + process)}: weights {_gb(held.weights)}, gradients "
        f"{_gb(held.gradients)}, moments {_gb(held.moments)}, average {_gb(held.average)}, activations "
        f"{_gb(held.kept)} ({examples} examples at a time, {what}), in passing {_gb(held.passing)}, gaps "
        f"{_gb(held.gaps)}, the program {_gb(process)}"
    )
    yield from _time(options, config, SHARE * product_flops(device, dtype) if options.planning.tflops is None else 0.0)


def _time(options: TrainPriorOptions, config: PriorConfig, measured: float) -> Iterator[str]:
    """How much is computed, and for how long."""
    loop, planning = options.loop, options.planning
    flops = TRAINING * forward_flops(config) * loop.batch_size
    done = flops * ((TRAINING + 1) / TRAINING if options.recompute else 1)
    speed = planning.gpus * (measured or 1e12 * (planning.tflops or 0))
    share = f" ({100 * SHARE:.0f} % of what this machine does)" if measured else ""
    tokens = loop.batch_size * (config.text_length + config.codes)
    yield (
        f"  a step: {loop.batch_size:,} examples, {tokens:,} tokens, {flops:.2e} FLOP"
        f"{f' and {done - flops:.1e} that are recomputed' if options.recompute else ''}; {_seconds(done / speed)}"
    )
    yield (
        f"  the training: {loop.steps:,} steps, {loop.steps * loop.batch_size:,} examples, {loop.steps * flops:.2e} "
        f"FLOP; {time_left(loop.steps * done / speed)} on {planning.gpus:,} x "
        f"{speed / planning.gpus / 1e12:,.2f} teraflops{share}"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 1_000 else time_left(seconds)


def _gb(count: float) -> str:
    return f"{count / 1e9:,.2f} GB"
