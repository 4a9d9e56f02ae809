"""How a dVAE is trained: the paper's figures, and scaled ones for small machines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from dalle.dvae.network import SHRINK, DVAEConfig
from dalle.training.steps import Cosine, Precision


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """What changes while it trains; the defaults are the paper's (App. A.2)."""

    updates: int = 3_000_000
    """Steps of the optimiser."""
    beta: float = 6.6
    """Final weight of the divergence from the uniform prior."""
    beta_updates: int = 5_000
    """How long it takes to rise from 0."""
    tau: float = 1 / 16
    """Final temperature of the relaxation."""
    tau_updates: int = 150_000
    """How long it takes to fall from 1."""
    step_size: float = 1e-4
    """At the beginning."""
    last_step_size: float = 1.25e-6
    """Where it ends."""
    step_size_updates: int = 1_200_000
    """How long it takes to fall."""
    warm_up: int = 0
    """Updates over which the step size rises from nothing first; the paper names none."""

    def at(self, update: int) -> tuple[float, float, float]:
        """Beta, tau and the step size of an update, counted from 0."""
        beta = Cosine(first=0.0, last=self.beta, updates=self.beta_updates)
        tau = Cosine(first=1.0, last=self.tau, updates=self.tau_updates)
        size = Cosine(first=self.step_size, last=self.last_step_size, updates=self.step_size_updates)
        warm = min(1.0, (update + 1) / self.warm_up) if self.warm_up else 1.0
        return beta(update), tau(update), warm * size(update)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a dVAE is trained; the defaults are the paper's."""

    output_folder: Path = Path("dvae")
    """Where everything goes that is left behind."""
    input_folder: str | None = None
    """A dataset of pairs, cleaned of near-duplicates; its pictures are trained on."""
    images: tuple[Path, ...] = ()
    """Folders of pictures to train on instead."""
    drawn_share: float = 0.0
    """Share of each batch that is drawn on the spot (with --images), 0 to 1."""
    allow_undeduplicated: bool = False
    """Train on pairs that were never cleaned of near-duplicates."""
    workers: int = 2
    """Processes that read pairs ahead; 0 reads them in the training's own."""
    validation_images: Path | None = None
    """A folder of pictures that are not trained on, to measure the averaged weights on."""
    resolution: int = 256
    """Side of the pictures it sees, a multiple of 8."""
    batch_size: int = 512
    """Pictures of an update, of all processes together."""
    pictures_at_once: int = 8
    """Pictures that a process has in memory at a time; it adds up their gradients."""
    network: DVAEConfig = field(default_factory=DVAEConfig)
    """Its size."""
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    """What changes while it trains."""
    start_from: Path | None = None
    """Weights to begin with, such as `dalle.warm_start_dvae` leaves; fresh ones otherwise, as in the paper."""
    least_b: float = 0.0
    """Added to every pixel's scale, to keep flat areas from counting without bound; 0 in the paper."""
    weight_decay: float = 1e-4
    """Multiplier of AdamW."""
    average: float = 0.999
    """Decay of the running average of the weights."""
    precision: Precision = "auto"
    """auto: float16 with loss scaling on CUDA, bfloat16 elsewhere."""
    full_precision_codes: bool = True
    """Keep the two layers on either side of the codes in float32, as the release does."""
    seed: int = 0
    """Of the initial weights, the pictures and the noise."""
    device: str = "auto"
    """cuda, cpu, or auto."""
    log_every: int = 100
    """Updates between two lines of the log."""
    watch_every: int = 2_000
    """Updates between two looks at reconstructions."""
    checkpoint_every: int = 2_000
    """Updates between two checkpoints."""

    def __post_init__(self) -> None:
        if self.resolution < SHRINK or self.resolution % SHRINK:
            raise ValueError(f"--resolution is {self.resolution}, expected a multiple of {SHRINK}")
        if not 0 <= self.drawn_share <= 1:
            raise ValueError(f"--drawn_share is {self.drawn_share}, expected 0 to 1")


SMALL = TrainOptions(
    resolution=128,
    batch_size=32,
    pictures_at_once=16,
    network=DVAEConfig(encoder_n_hid=64, decoder_n_hid=64, n_init=64, n_blk_per_group=1),
    schedule=ScheduleOptions(
        updates=30_000,
        beta_updates=1_000,
        tau_updates=10_000,
        step_size=1e-3,
        last_step_size=1e-5,
        step_size_updates=30_000,
        warm_up=200,
    ),
    full_precision_codes=False,
    log_every=50,
    watch_every=500,
    checkpoint_every=500,
)
TINY = replace(
    SMALL,
    resolution=64,
    batch_size=8,
    pictures_at_once=8,
    network=DVAEConfig(vocab_size=512, encoder_n_hid=16, decoder_n_hid=16, n_init=16, n_blk_per_group=1),
    schedule=replace(SMALL.schedule, updates=200, beta_updates=20, tau_updates=100, step_size_updates=200, warm_up=10),
    average=0.95,
    workers=0,
    log_every=20,
    watch_every=100,
    checkpoint_every=100,
)
SIZES = {
    "full": ("the paper's network and figures, 97.6 million weights", TrainOptions()),
    "small": ("7.2 million weights, for a processor or a small GPU: the dVAE that comes with the package", SMALL),
    "tiny": ("512 codes, trains in a minute: to try things out", TINY),
}
