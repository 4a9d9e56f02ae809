"""A step of every preset on few and many GPUs, with PowerSGD and without, and from which network on it pays."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from benchmarks.step_times.machines import Machine
from benchmarks.step_times.schedule import Simulated, simulate
from benchmarks.step_times.times import times_of
from benchmarks.step_times.units import Layout, Work
from dalle.prior.config import PriorConfig
from dalle.prior.memory import held_by
from dalle.prior.options import PRESETS, TrainPriorOptions
from dalle.training.bandwidth import PAPER

GPUS = (1, 8, 64, 1_024)
LEAST, MOST = 0.01, 100_000.0
"""GB a second of a machine, between which is looked for where PowerSGD begins to pay."""


def config_of(options: TrainPriorOptions) -> PriorConfig:
    """The paper's pictures and texts."""
    size = options.size
    return PriorConfig(layers=size.layers, heads=size.heads, head_size=size.head_size)


def rank_of(config: PriorConfig) -> int:
    """The paper's for its widths; a quarter of others, a multiple of 8."""
    return dict(PAPER).get(config.width, max(8, config.width // 32 * 8))


def work_of(options: TrainPriorOptions, gpus: int) -> Work:
    """The preset's batch, shared out; one example for each GPU where there are more GPUs than examples."""
    own = max(1, options.loop.batch_size // gpus)
    examples = min(options.micro_batch_size, own)
    return Work(examples=examples, portions=-(-own // examples), recompute=options.recompute)


def step(options: TrainPriorOptions, machine: Machine, gpus: int, rank: int) -> Simulated:
    """Of one preset; all of a machine's GPUs hold the weights together, and all that is sent overlaps."""
    config, layout = config_of(options), Layout(processes=gpus, shard=min(gpus, machine.gpus), rank=rank)
    return simulate(times_of(config, work_of(options, gpus), layout, machine.rates), "all")


def pays_below(options: TrainPriorOptions, machine: Machine, gpus: int) -> float | None:
    """GB a second between machines at which a step takes as long with PowerSGD as without; None if it never pays."""
    rank = rank_of(config_of(options))

    def gains(between: float) -> bool:
        other = dataclasses.replace(machine, between=between)
        return step(options, other, gpus, rank).seconds < step(options, other, gpus, 0).seconds

    if not gains(LEAST):
        return None
    least, most = LEAST, MOST
    while most > 1.02 * least:
        middle = (least * most) ** 0.5
        least, most = (middle, most) if gains(middle) else (least, middle)
    return least


def rows(machines: dict[str, Machine], presets: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each machine, preset and number of GPUs."""
    for name, machine in machines.items():
        for preset in presets:
            options = PRESETS[preset][1]
            config = config_of(options)
            for gpus in GPUS:
                work, groups = work_of(options, gpus), gpus // min(gpus, machine.gpus)
                plain = step(options, machine, gpus, 0)
                row: dict[str, Any] = {
                    "machines": name, "preset": preset, "gpus": gpus,
                    "examples": gpus * work.examples * work.portions, "portions": work.portions,
                    "gigabytes": round(gigabytes(config, work, min(gpus, machine.gpus)), 1),
                    "seconds": plain.seconds, "share_of_communication": plain.share_of_communication,
                }  # fmt: skip
                if groups > 1:
                    rank = rank_of(config)
                    less = step(options, machine, gpus, rank)
                    row["powersgd"] = {
                        "rank": rank, "seconds": less.seconds, "share_of_communication": less.share_of_communication,
                        "pays_below_gb_a_second": pays_below(options, machine, gpus),
                    }  # fmt: skip
                yield row


@functools.lru_cache(maxsize=64)
def gigabytes(config: PriorConfig, work: Work, shard: int) -> float:
    """Of a GPU, as `--plan` says it, with moments as the paper's."""
    held = held_by(config, work.examples, torch.float16, recompute=work.recompute, moments="paper", shard=shard)
    return held.total / 1e9


def table(some: Sequence[dict[str, Any]]) -> str:
    """For a page."""
    lines = [
        "| preset | GPUs | examples a step | GB a GPU | step, s | in communication | with PowerSGD, s | "
        "in communication | PowerSGD pays below, GB/s a machine |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in some:
        less = row.get("powersgd")
        end = "| | | |"
        if less:
            below = less["pays_below_gb_a_second"]
            share = 100 * less["share_of_communication"]
            end = f"| {less['seconds']:.3g} | {share:.0f} % | {'never' if below is None else f'{below:.2g}'} |"
        lines.append(
            f"| {row['preset']} | {row['gpus']:,} | {row['examples']:,} | {row['gigabytes']:.0f} | "
            f"{row['seconds']:.3g} | {100 * row['share_of_communication']:.0f} % {end}"
        )
    return "\n".join(lines)
