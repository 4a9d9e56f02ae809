"""How our own contrastive model is trained: CLIP's figures (Radford et al. 2021, App. F), and scaled ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from dalle.contrastive.config import SizeOptions
from dalle.training.options import LoopOptions
from dalle.training.steps import OptimizerOptions
from schemas.options import no_change_of_bytes
from schemas.ranges import MOST_PROCESSES, MOST_STEPS, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Which pairs it sees, and how."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """Dataset of pairs that pipelines.ingest or pipelines.dedup left: a path or an fsspec URL."""
    allow_undeduplicated: bool = no_change_of_bytes(default=False)
    """Train on pairs that were never cleaned of near-duplicates."""
    vocabulary: str = no_change_of_bytes(default="builtin")
    """The vocabulary that captions are made into tokens with: what pipelines.vocab left, a folder or its file, or
    builtin or drawings, which come with the package."""
    crop_area: float = 0.9
    """Area of the smallest square that is drawn of a picture, as a share of its largest, 0 to 1; 1 draws only where the
    largest lies."""
    validation_share: float = 0.01
    """Share of the pairs that are held out, by a hash of their uid, 0 to 1: at least 100, at most a quarter of them; 0
    holds out none."""
    eval_pairs: int = no_change_of_bytes(default=1_000)
    """Held-out pairs that an evaluation looks at, at most, 2 to 10^12; in groups of 100."""
    workers: int = no_change_of_bytes(default=1)
    """Processes that read pairs ahead, 0 to 4,096; 0 reads them in the training's own."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(
            self,
            {
                "crop_area": Between(0, 1),
                "validation_share": Between(0, 1),
                "eval_pairs": Between(2, MOST_STEPS),
                "workers": Between(0, MOST_PROCESSES),
            },
        )


@dataclass(frozen=True, kw_only=True)
class TrainContrastiveOptions:
    """How a contrastive model is trained; the defaults are CLIP's."""

    pairs: PairOptions = field(default_factory=PairOptions)
    loop: LoopOptions = LoopOptions(
        output_folder=Path("contrastive"),
        steps=400_000,
        batch_size=32_768,
        log_every=50,
        eval_every=1_000,
        save_every=1_000,
    )
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=5e-4,
        decay_steps=400_000,
        warmup_steps=2_000,
        weight_decay=0.2,
        betas=(0.9, 0.98),
        grad_clip=1.0,
    )
    size: SizeOptions = field(default_factory=SizeOptions)
    ema_decay: float = 0.99
    """Decay of the exponential moving average of the weights, from 0 to below 1."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"--ema_decay {self.ema_decay:g}: expected 0 to below 1")
        if self.loop.batch_size < 2:
            raise ValueError(f"--batch_size {self.loop.batch_size}: expected 2 or more, to tell pairs apart")


FULL = TrainContrastiveOptions()
BASE = replace(
    FULL,
    loop=replace(FULL.loop, steps=50_000, batch_size=1_024),
    optimizer=replace(FULL.optimizer, decay_steps=50_000),
    size=SizeOptions(
        image_size=128, patch_size=16, image_width=512, image_heads=8, text_layers=6, text_width=512, text_heads=8
    ),
)
SMALL = replace(
    FULL,
    loop=replace(FULL.loop, steps=10_000, batch_size=128, log_every=20, eval_every=250, save_every=250),
    optimizer=replace(FULL.optimizer, learning_rate=1e-3, decay_steps=10_000, warmup_steps=200, weight_decay=0.1),
    size=SizeOptions(
        dimension=256, image_size=112, patch_size=16, image_layers=6, image_width=256, image_heads=4,
        text_layers=4, text_width=256, text_heads=4, text_length=48,
    ),
)  # fmt: skip
TINY = replace(
    SMALL,
    loop=replace(SMALL.loop, steps=300, batch_size=32, log_every=20, eval_every=100, save_every=100),
    optimizer=replace(SMALL.optimizer, decay_steps=300, warmup_steps=20),
    pairs=PairOptions(workers=0),
    size=SizeOptions(
        dimension=128, image_size=64, patch_size=16, image_layers=3, image_width=128, image_heads=2,
        text_layers=2, text_width=128, text_heads=2, text_length=32,
    ),
)  # fmt: skip
PRESETS = {
    "full": ("CLIP's ViT-B/32, 134 million weights with our vocabulary, and its batches", FULL),
    "base": ("66 million weights, for a GPU or a few", BASE),
    "small": ("12 million weights, for a processor", SMALL),
    "tiny": ("three layers, trains in a minute: to try things out", TINY),
}
