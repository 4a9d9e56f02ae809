"""What a training of a prior will take, said before anything is loaded: memory by part, FLOP, days."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch

from dalle.prior.config import PriorConfig
from dalle.prior.flops import TRAINING, forward_flops
from dalle.prior.memory import GLOO_COPIES, held_by, weights_of
from dalle.prior.options import TrainPriorOptions
from dalle.prior.sent import compresses, sent_by, units
from dalle.training.logs import time_left
from dalle.training.products import product_flops
from dalle.training.ranks import device_of
from dalle.training.steps import precision_on

SHARE = 0.62
"""Of a machine's own matrix products that a training reaches (benchmarks/prior.py)."""
_KEPT = {"none": "all kept", "selective": "what products and attention make kept", "blocks": "recomputed"}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a training takes."""

    lines: Sequence[str]
    """For a person."""
    figures: Mapping[str, float]
    seconds: float
    """Of all its steps."""


def needs(options: TrainPriorOptions, config: PriorConfig) -> Needs:
    """What a training takes.

    Args:
        options: of the training.
        config: sizes of its network.
    """
    planned_elsewhere = options.planning.tflops is not None and options.loop.device == "cuda"
    device = torch.device("cuda") if planned_elsewhere else device_of(options.loop.device)
    dtype = precision_on(device, options.optimizer.precision)
    weights = weights_of(config)
    lines = [
        f"  network: {config.layers} layers, {config.heads} heads of {config.head_size}, {config.text_length} text "
        f"positions, {config.side} x {config.side} codes\n"
        f"  weights: {weights.matrices:,} in the matrices of its blocks ({_gb(2 * weights.matrices)} in 16 bits), "
        f"{weights.gains_and_biases:,} gains and biases, {weights.embeddings:,} in embeddings, {weights.logits:,} in "
        f"the output layers"
    ]
    examples = min(options.micro_batch_size, max(1, options.loop.batch_size // options.planning.gpus))
    shard = options.sharding.shard
    held = held_by(
        config,
        examples,
        dtype,
        recompute=options.recompute,
        moments=options.optimizer.moments,
        shard=shard,
        copies=GLOO_COPIES if device.type == "cpu" else 1,
        powersgd_rank=options.sharding.powersgd_rank if options.planning.gpus > shard else 0,
    )
    process = psutil.Process().memory_info().rss
    what = _KEPT[options.recompute]
    errors = f"error buffers {_gb(held.errors)}, " if held.errors else ""
    gathered = f"whole weights {_gb(held.gathered)}, " if held.gathered else ""
    if shard > 1:
        lines.append(
            f"  {shard:,} processes hold weights, gradients, moments and average together, each a part of them"
        )
    lines.append(
        f"  memory of each process: {_gb(held.total + process)}: weights {_gb(held.weights)}, gradients "
        f"{_gb(held.gradients)}, moments {_gb(held.moments)}, average {_gb(held.average)}, {errors}{gathered}"
        f"activations {_gb(held.kept)} ({examples} examples at a time, {what}), in passing {_gb(held.passing)}, gaps "
        f"{_gb(held.gaps)}, the program {_gb(process)}"
    )
    lines += _sent(options, config, dtype)
    measured = SHARE * product_flops(device, dtype) if options.planning.tflops is None else 0.0
    a_step = _step(options, config, measured)
    figures = {
        "weights": weights.matrices + weights.gains_and_biases + weights.embeddings + weights.logits,
        "bytes_of_a_process": held.total + process,
        "flop_of_a_step": a_step.flops,
        "seconds_a_step": a_step.seconds,
    }
    return Needs(
        lines=[*lines, *_time(options, config, a_step)], figures=figures, seconds=options.loop.steps * a_step.seconds
    )


def _sent(options: TrainPriorOptions, config: PriorConfig, dtype: torch.dtype) -> Iterator[str]:
    """What each process sends to others, if there are any."""
    gpus, shard, rank = options.planning.gpus, options.sharding.shard, options.sharding.powersgd_rank
    if gpus == 1:
        return
    groups = gpus // shard
    portions = max(1, math.ceil(options.loop.batch_size / gpus / options.micro_batch_size))
    plain, sent = (
        sent_by(units(config, shard, each), dtype, shard=shard, groups=groups, rank=each, portions=portions)
        for each in (0, rank)
    )
    within = f"{_gb(sent.within)} to those it holds the weights with" if shard > 1 else ""
    compressed = f", {_gb(plain.between)} if nothing was compressed" if rank else ""
    if rank and not compresses(config, rank):
        compressed = f", for no matrix is larger than its factors of --powersgd_rank {rank}"
    between = f"{_gb(sent.between)} to other groups{compressed}" if groups > 1 else ""
    yield f"  sent by each process in a step: {', '.join(filter(None, (within, between)))}"
    if options.loop.batch_size % gpus:
        yield (
            f"  --batch_size {options.loop.batch_size:,} is no multiple of {gpus:,} processes: a "
            "training would refuse it"
        )


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What a step of a training computes."""

    flops: float
    """Without what is computed again."""
    done: float
    """With it."""
    speed: float
    """FLOP a second of all processes."""
    measured: bool
    """Whether that is a share of what this machine does."""

    @property
    def seconds(self) -> float:
        return self.done / self.speed


def _step(options: TrainPriorOptions, config: PriorConfig, measured: float) -> _Step:
    flops = TRAINING * forward_flops(config) * options.loop.batch_size
    done = flops * ((TRAINING + 1) / TRAINING if options.recompute == "blocks" else 1)
    speed = options.planning.gpus * (measured or 1e12 * (options.planning.tflops or 0))
    return _Step(flops=flops, done=done, speed=speed, measured=bool(measured))


def _time(options: TrainPriorOptions, config: PriorConfig, a_step: _Step) -> Iterator[str]:
    """How much is computed, and for how long."""
    loop, planning = options.loop, options.planning
    flops, done, speed = a_step.flops, a_step.done, a_step.speed
    share = f" ({100 * SHARE:.0f} % of what this machine does)" if a_step.measured else ""
    tokens = loop.batch_size * (config.text_length + config.codes)
    yield (
        f"  a step: {loop.batch_size:,} examples, {tokens:,} tokens, {flops:.2e} FLOP"
        f"{f' and {done - flops:.1e} that are recomputed' if done > flops else ''}; {_seconds(done / speed)}"
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
