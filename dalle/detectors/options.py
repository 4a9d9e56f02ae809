"""How the built-in detector of near-duplicates is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from dalle.detectors.network import DetectorConfig
from dalle.training.model_file import weights_of
from dalle.training.options import LoopOptions
from dalle.training.steps import OptimizerOptions
from schemas.options import no_change_of_bytes
from schemas.ranges import MOST_PROCESSES, MOST_STEPS, Above, Below, Between, check_ranges

_RANGES = {
    "hold_out_every": Between(0, 10**9),
    "drawn": Between(1, 10**9),
    "sides": Between(1, 1 << 16),
    "side_steps": Between(1, MOST_STEPS),
    "temperature": Above(0, 1_000),
    "entropy_weight": Between(0, 1e9),
    "workers": Between(0, MOST_PROCESSES),
    "threads": Between(1, MOST_PROCESSES),
    "ema_decay": Below(0, 1),
}


@dataclass(frozen=True, kw_only=True)
class TrainDetectorOptions:
    """How a detector is trained; the defaults are those of the one that comes with the package."""

    images: tuple[Path, ...] = no_change_of_bytes(default=())
    """Folders of photographs, of which no two may be copies of one another."""
    hold_out_every: int = 0
    """Leave out one photograph of so many, to measure on, 2 or more; 0 trains on all."""
    drawn: int = 2000
    """Drawn pictures beside the photographs, 1 or more."""
    loop: LoopOptions = LoopOptions(
        output_folder=Path("detector"), steps=7_000, batch_size=192, log_every=50, save_every=250
    )
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=2e-3,
        min_learning_rate=2e-5,
        decay_steps=7_000,
        warmup_steps=100,
        weight_decay=0.02,
        betas=(0.9, 0.98),
        grad_clip=10.0,
    )
    sides: tuple[int, ...] = (64, 96, 128)
    """Sides of the pictures in pixels, one after the other; the last is the one that the detector will use."""
    side_steps: tuple[int, ...] = (4_000, 2_000)
    """Steps on each side but the last, which takes the rest of --steps."""
    temperature: float = 0.05
    """Temperature of the InfoNCE loss, above 0."""
    entropy_weight: float = 5.0
    """Weight of the term that pushes each vector away from its nearest neighbour, 0 or more."""
    ema_decay: float = 0.998
    """Decay of the exponential moving average of the weights, from 0 to below 1."""
    workers: int = no_change_of_bytes(default=1)
    """Processes that make pictures; 0 makes them in the training's own."""
    threads: int = no_change_of_bytes(default=1)
    """Threads of the network on a processor, 1 or more."""
    init_from: Path | None = no_change_of_bytes(default=None)
    """Weights to begin with, as an earlier training left them."""
    network: DetectorConfig = field(default_factory=DetectorConfig)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
        if len(self.side_steps) != len(self.sides) - 1:
            raise ValueError(
                f"--sides has {len(self.sides)} values, --side_steps {len(self.side_steps)}; give steps for each side "
                "but the last, which takes the rest"
            )
        if sum(self.side_steps) >= self.loop.steps:
            raise ValueError(
                f"--side_steps are {sum(self.side_steps):,} in all, expected less than the {self.loop.steps:,} of "
                "--steps, or none are left for the last side"
            )
        if self.loop.batch_size < 2:
            raise ValueError(f"--batch_size {self.loop.batch_size}: expected 2 or more, to tell pictures apart")

    @property
    def begins_with(self) -> Path | None:
        """The file of weights to begin with.

        Raises:
            ValueError: if what --init_from names has none.
        """
        return None if self.init_from is None else weights_of(self.init_from, "train_detector", "--init_from")

    def side_of(self, step: int) -> int:
        """Side of the pictures in a step, counted from 0."""
        ends = [*accumulate(self.side_steps)]
        return next((side for side, end in zip(self.sides, ends, strict=False) if step < end), self.sides[-1])


SMALL = TrainDetectorOptions()
TINY = replace(
    SMALL,
    drawn=64,
    loop=replace(SMALL.loop, steps=60, batch_size=16, log_every=10, save_every=30),
    optimizer=replace(SMALL.optimizer, decay_steps=60, warmup_steps=5),
    sides=(32,),
    side_steps=(),
    network=DetectorConfig(side=32, widths=(16, 32), depths=(1, 1), neck=32, dimension=32),
    ema_decay=0.9,
    workers=0,
)
PRESETS = {
    "small": ("the detector that comes with the package, on pictures of 128 x 128", SMALL),
    "tiny": ("on pictures of 32 x 32, trains in a minute: to try things out", TINY),
}
