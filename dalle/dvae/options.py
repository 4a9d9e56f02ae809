"""How a dVAE is trained: the paper's figures, and scaled ones for small machines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from dalle.dvae.convolution import SIDES
from dalle.dvae.network import DVAEConfig
from dalle.training.options import LoopOptions
from dalle.training.schedules import Cosine
from dalle.training.steps import OptimizerOptions
from schemas.options import no_change_of_bytes, unless_default
from schemas.ranges import MOST_EXAMPLES, MOST_PROCESSES, MOST_STEPS, Above, Below, Between, check_ranges

HeadStart = Literal["auto", "always", "never"]
SMALL_BUDGET = 150_000
"""Steps below which the paper's codes have not told themselves apart yet: it takes so many to lower tau (App. A.2)."""


@dataclass(frozen=True, kw_only=True)
class RelaxationOptions:
    """How the relaxation tightens; the defaults are the paper's (App. A.2)."""

    beta: float = 6.6
    """Final weight of the divergence from the uniform prior, 0 or more."""
    beta_steps: int = 5_000
    """Steps over which beta rises from 0."""
    tau: float = 1 / 16
    """Final temperature of the relaxation, above 0."""
    tau_steps: int = 150_000
    """Steps over which tau falls from 1."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        steps = Between(0, MOST_STEPS)
        check_ranges(self, {"beta": Between(0, 1e9), "beta_steps": steps, "tau": Above(0, 1e9), "tau_steps": steps})

    def at(self, step: int) -> tuple[float, float]:
        """Beta and tau of a step, counted from 0."""
        beta = Cosine(first=0.0, last=self.beta, steps=self.beta_steps)
        tau = Cosine(first=1.0, last=self.tau, steps=self.tau_steps)
        return beta(step), tau(step)


@dataclass(frozen=True, kw_only=True)
class TrainingPictureOptions:
    """Which pictures it sees."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """Dataset of pairs to train on, cleaned of near-duplicates: a path or an fsspec URL."""
    images: tuple[Path, ...] = no_change_of_bytes(default=())
    """Folders of pictures to train on instead."""
    drawn_share: float = 0.0
    """Share of the pictures that are drawn on the spot, beside --images, from 0 to 1."""
    allow_undeduplicated: bool = no_change_of_bytes(default=False)
    """Train on pairs that were never cleaned of near-duplicates."""
    workers: int = no_change_of_bytes(default=2)
    """Processes that read pictures ahead; 0 reads them in the training's own."""
    validation_images: Path | None = no_change_of_bytes(default=None)
    """Folder of pictures that are not trained on, for the evaluations."""
    resolution: int = 256
    """Side of the pictures in pixels, a multiple of 8."""
    mirrored: bool = unless_default(default=True)
    """Mirror half of the pictures, as the paper does."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"resolution": SIDES, "drawn_share": Between(0, 1), "workers": Between(0, MOST_PROCESSES)})


@dataclass(frozen=True, kw_only=True)
class TrainDVAEOptions:
    """How a dVAE is trained; the defaults are the paper's."""

    loop: LoopOptions = LoopOptions(
        output_folder=Path("dvae"), steps=3_000_000, batch_size=512, log_every=100, eval_every=2_000, save_every=2_000
    )
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=1e-4, min_learning_rate=1.25e-6, decay_steps=1_200_000, weight_decay=1e-4
    )
    relaxation: RelaxationOptions = field(default_factory=RelaxationOptions)
    pictures: TrainingPictureOptions = field(default_factory=TrainingPictureOptions)
    network: DVAEConfig = field(default_factory=DVAEConfig)
    init_from: Path | None = no_change_of_bytes(default=None)
    """Weights to begin with, as an earlier training left them; fresh ones otherwise, as in the paper."""
    head_start: HeadStart = "never"
    """Begin with continuous numbers, and choose the codes among them (`dalle.dvae.head_start`): always, never, or auto,
    which is always if --steps is below 150,000 and --init_from gives no codes. The paper does without, but takes
    150,000 steps to lower tau alone; in fewer, most codes are never used."""
    head_start_steps: int = 10_000
    """Steps of the head start, 1 or more, the first of --steps; the schedules of beta, tau and the learning rate begin
    after it. If --steps is not more, the codes are chosen at the end."""
    micro_batch_size: int = 8
    """Pictures that a process has in memory at a time, 1 or more; it adds up their gradients."""
    min_scale: float = 0.0
    """Added to the scale b of every pixel's distribution, so that flat areas do not count without bound; 0 in the
    paper."""
    ema_decay: float = 0.999
    """Decay of the exponential moving average of the weights, from 0 to below 1."""
    full_precision_codes: bool = True
    """Keep the two layers on either side of the codes in float32, as the release does."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        ranges = {"micro_batch_size": Between(1, MOST_EXAMPLES), "min_scale": Between(0, 1_000)}
        check_ranges(self, {**ranges, "head_start_steps": Between(1, MOST_STEPS), "ema_decay": Below(0, 1)})
        if self.head_start == "always" and self.init_from is not None:
            raise ValueError(
                f"--head_start always: the weights of --init_from {self.init_from} have codes already, which it would "
                "choose anew; leave out one of the two"
            )
        if self.head_start == "always" and self.network.patches:
            raise ValueError(
                "--head_start always: a patch network chooses its codes before its first step; leave out the flag"
            )

    def decided(self, before: str = "") -> TrainDVAEOptions:
        """The same with `always` or `never` in place of `auto`, as the recipe has it.

        Args:
            before: what a training that is gone on with decided; it does not change its mind when it gets more steps.
        """
        if self.head_start != "auto":
            return self
        if before in ("always", "never"):
            return replace(self, head_start=cast(HeadStart, before))
        small = self.loop.steps < SMALL_BUDGET and self.init_from is None and not self.network.patches
        return replace(self, head_start="always" if small else "never")


FULL = TrainDVAEOptions(head_start="auto")
SMALL = replace(
    FULL,
    loop=replace(FULL.loop, steps=30_000, batch_size=32, log_every=50, eval_every=500, save_every=500),
    optimizer=replace(
        FULL.optimizer,
        learning_rate=1e-3,
        min_learning_rate=1e-5,
        decay_steps=30_000,
        warmup_steps=200,
        grad_clip=1.0,  # without it one in eight trainings of `tiny` lost channels for good at the peak of its rate
    ),
    relaxation=RelaxationOptions(beta_steps=1_000, tau_steps=10_000),
    pictures=TrainingPictureOptions(resolution=128),
    network=DVAEConfig(encoder_n_hid=64, decoder_n_hid=64, n_init=64, n_blk_per_group=1),
    head_start_steps=2_000,
    micro_batch_size=16,
    full_precision_codes=False,
)
TINY = replace(
    SMALL,
    loop=replace(SMALL.loop, steps=800, batch_size=8, log_every=50, eval_every=200, save_every=200),
    optimizer=replace(SMALL.optimizer, learning_rate=3e-3, decay_steps=300, warmup_steps=100),
    relaxation=RelaxationOptions(beta_steps=20, tau_steps=100),
    pictures=TrainingPictureOptions(resolution=64, workers=0),
    network=DVAEConfig(vocab_size=512, encoder_n_hid=16, decoder_n_hid=16, n_init=16, n_blk_per_group=1),
    head_start_steps=500,
    micro_batch_size=8,
    ema_decay=0.95,
)
DRAWINGS = replace(
    SMALL,
    loop=replace(SMALL.loop, steps=1_000, batch_size=32, log_every=50, eval_every=500, save_every=250),
    optimizer=replace(SMALL.optimizer, betas=(0.9, 0.98), decay_steps=1_000, warmup_steps=100),
    pictures=TrainingPictureOptions(resolution=128, mirrored=False),
    network=DVAEConfig(vocab_size=2048, encoder_n_hid=192, decoder_n_hid=192, n_init=48, n_blk_per_group=3, patches=1),
    micro_batch_size=32,
    ema_decay=0.99,
)
PRESETS = {
    "full": ("the paper's network and figures, 97.6 million weights", FULL),
    "small": ("7.2 million weights, for a processor or a small GPU: the dVAE that comes with the package", SMALL),
    "drawings": ("2,048 codes over patches, for drawn pictures of 128 pixels, in ten minutes on two cores", DRAWINGS),
    "tiny": ("512 codes, trains in a minute or two: to try things out", TINY),
}
