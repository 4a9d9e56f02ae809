"""How a judge of drawn scenes is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from dalle.scene_judge.network import JudgeConfig
from dalle.training.options import LoopOptions
from dalle.training.steps import OptimizerOptions
from schemas.options import no_change_of_bytes
from schemas.ranges import MOST_PROCESSES, MOST_STEPS, Below, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class TrainJudgeOptions:
    """How a judge is trained."""

    loop: LoopOptions = LoopOptions(
        output_folder=Path("judge"), steps=1_500, batch_size=64, log_every=50, eval_every=500, save_every=250
    )
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=3e-3,
        min_learning_rate=1e-5,
        decay_steps=1_500,
        warmup_steps=100,
        weight_decay=1e-2,
        betas=(0.9, 0.98),
        grad_clip=10.0,
    )
    network: JudgeConfig = field(default_factory=JudgeConfig)
    eval_drawings: int = no_change_of_bytes(default=1_000)
    """Drawings that are not trained on, that an evaluation looks at, 1 to 10^12."""
    ema_decay: float = 0.99
    """Decay of the exponential moving average of the weights, from 0 to below 1."""
    workers: int = no_change_of_bytes(default=1)
    """Processes that draw ahead, 0 to 4,096; 0 draws in the training's own."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(
            self,
            {
                "eval_drawings": Between(1, MOST_STEPS),
                "ema_decay": Below(0, 1),
                "workers": Between(0, MOST_PROCESSES),
            },
        )


SMALL = TrainJudgeOptions()
TINY = replace(
    SMALL,
    loop=replace(SMALL.loop, steps=60, batch_size=16, log_every=10, eval_every=30, save_every=30),
    optimizer=replace(SMALL.optimizer, decay_steps=60, warmup_steps=10),
    network=JudgeConfig(side=32, width=32),
    eval_drawings=64,
    ema_decay=0.9,
    workers=0,
)
PRESETS = {
    "small": ("tells the dialect's scenes at 64 x 64 pixels, trains in some ten minutes on two cores", SMALL),
    "tiny": ("at 32 x 32, trains in half a minute: to try things out", TINY),
}
