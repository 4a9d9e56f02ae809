"""What would each preset take on 1, 8, 64 and 1,024 GPUs? The table of docs/training_at_scale.md, as `--plan` counts.

    python benchmarks/training_at_scale.py

Eight GPUs are a machine and hold the weights together; machines compress gradients at a rank of about a quarter of the
width, the paper's for its three networks. float16 with a scale for each residual block, moments in the paper's formats,
residual blocks recomputed, one example at a time. Prints the table; nothing is trained.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import tyro

from benchmarks.step_times.scale import GPUS, config_of, rank_of
from dalle.prior.flops import TRAINING, forward_flops
from dalle.prior.memory import held_by
from dalle.prior.options import PRESETS
from dalle.prior.sent import sent_by, units

OF_A_MACHINE = 8
HEAD = (
    "| preset | GPUs | memory of each | unsharded | sent within a machine | between machines | as it is | days |",
    "|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What is planned."""

    presets: tuple[str, ...] = tuple(PRESETS)
    """Presets of dalle.train_prior."""
    gpus: tuple[int, ...] = GPUS
    """Numbers of GPUs."""
    tflops: float = 50.0
    """Teraflops that a GPU reaches in training."""


def row(preset: str, gpus: int, tflops: float) -> str:
    """One line of the table.

    Args:
        preset: of `dalle.train_prior`.
        gpus: all of them; eight to a machine, if they are so many.
        tflops: that each reaches.
    """
    options, half = PRESETS[preset][1], torch.float16
    config, batch = config_of(options), options.loop.batch_size
    if gpus > batch:
        return f"| `{preset}` | {gpus:,} | fewer examples a step ({batch}) than GPUs | | | | | |"
    shard = min(gpus, OF_A_MACHINE)
    groups, portions = gpus // shard, math.ceil(batch / gpus)
    rank = rank_of(config) if groups > 1 else 0
    held = held_by(config, 1, half, recompute="blocks", moments="paper", shard=shard, powersgd_rank=rank)
    alone = held_by(config, 1, half, recompute="blocks")
    sent, plain = (
        sent_by(units(config, shard, each), half, shard=shard, groups=groups, rank=each, portions=portions)
        for each in (rank, 0)
    )
    flops = (TRAINING + 1) * forward_flops(config) * batch * options.loop.steps
    cells = [
        f"`{preset}`",
        f"{gpus:,}",
        _gb(held.total),
        _gb(alone.total),
        _gb(sent.within) if shard > 1 else "",
        _gb(sent.between) if groups > 1 else "",
        _gb(plain.between) if groups > 1 else "",
        _days(flops / (gpus * 1e12 * tflops) / 86_400),
    ]
    return f"| {' | '.join(cells)} |"


def _gb(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def _days(days: float) -> str:
    return f"{days:,.0f}" if days >= 100 else f"{days:.3g}" if days >= 0.001 else "below 0.001"


def main() -> None:
    """Print the table."""
    options = tyro.cli(TableOptions, description=__doc__)
    print("\n".join(HEAD))
    for preset in options.presets:
        for gpus in options.gpus:
            print(row(preset, gpus, options.tflops), flush=True)


if __name__ == "__main__":
    main()
