"""How a prior is trained: the paper's figures (Ramesh et al. 2021, App. B.4), and scaled ones for small machines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from dalle.prior.resblock import Recompute
from dalle.training.options import LoopOptions
from dalle.training.plateau import PlateauOptions
from dalle.training.steps import OptimizerOptions
from schemas.examples import TEXT_LENGTH
from schemas.options import no_change_of_bytes, unless_default
from schemas.ranges import MOST_EXAMPLES, MOST_PROCESSES, MOST_SIZE, MOST_STEPS, Above, Below, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class ExampleOptions:
    """Which examples it sees, and how."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """Dataset of examples that pipelines.encode left: a path or an fsspec URL."""
    allow_undeduplicated: bool = no_change_of_bytes(default=False)
    """Train on examples whose pairs were never cleaned of near-duplicates."""
    text_length: int = TEXT_LENGTH
    """Positions of the text, 1 to 256; longer captions are cut."""
    bpe_dropout: float = 0.1
    """Probability with which a merge is passed over when a caption is made into tokens, anew each epoch, 0 to 1; 0
    takes the tokens of the dataset."""
    vocabulary: str = no_change_of_bytes(default="builtin")
    """The vocabulary of the examples, for --bpe_dropout: what pipelines.vocab left, a folder or its file, or
    builtin or drawings, which come with the package."""
    validation_share: float = 0.0024
    """Share of the examples that are held out, by a hash of their uid, 0 to 1: at least 64, at most a quarter of them;
    0 holds out none."""
    eval_examples: int = 1_024
    """Held-out examples that an evaluation looks at, at most, 1 to 10^12."""
    workers: int = no_change_of_bytes(default=1)
    """Processes that read examples ahead, 0 to 4,096; 0 reads them in the training's own."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(
            self,
            {
                "text_length": Between(1, TEXT_LENGTH),
                "bpe_dropout": Between(0, 1),
                "validation_share": Between(0, 1),
                "eval_examples": Between(1, MOST_STEPS),
                "workers": Between(0, MOST_PROCESSES),
            },
        )


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """The size of the network; the grid and the vocabularies are those of the examples."""

    layers: int = 64
    """Layers of attention and two linear maps, 1 or more."""
    heads: int = 62
    """Heads of attention in a layer, 1 or more."""
    head_size: int = 64
    """Dimensions of a head, 1 or more."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, dict.fromkeys(("layers", "heads", "head_size"), Between(1, MOST_SIZE)))
        if self.heads * self.head_size > MOST_SIZE:
            raise ValueError(
                f"--heads {self.heads} of --head_size {self.head_size}: expected at most {MOST_SIZE:,} dimensions "
                "in all"
            )


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What --plan counts with."""

    gpus: int = no_change_of_bytes(default=1)
    """GPUs, or processes, that --plan counts with, 1 to 10^6."""
    tflops: float | None = no_change_of_bytes(default=None)
    """Teraflops a second that each of them reaches in training; by default what this machine does."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"gpus": Between(1, 10**6), "tflops": Above(0, 10**6)})


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How the weights are spread over processes, and what these send to one another."""

    shard: int = no_change_of_bytes(default=1)
    """Processes that hold the weights together, each a part of them, as the GPUs of one machine do; 1 to 4,096, a
    divisor of all processes. 1: each holds all of them."""
    powersgd_rank: int = 0
    """Rank of the factors that are sent between those groups of processes in place of a gradient matrix (PowerSGD), 1
    to 1,048,576 and a multiple of --shard; a quarter of the network's width in the paper. 0 sends gradients as they
    are."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"shard": Between(1, MOST_PROCESSES), "powersgd_rank": Between(0, MOST_SIZE)})
        if self.powersgd_rank % self.shard:
            raise ValueError(
                f"--powersgd_rank {self.powersgd_rank}: cannot be shared out among the {self.shard} processes of "
                f"--shard {self.shard}; give a multiple of {self.shard}"
            )

    @property
    def together(self) -> int:
        """Processes of a group, for `dalle.training.ranks.joined`; 0 where each holds all and sends what it has."""
        return self.shard if self.shard > 1 or self.powersgd_rank else 0


@dataclass(frozen=True, kw_only=True)
class TrainPriorOptions:
    """How a prior is trained; the defaults are the paper's."""

    examples: ExampleOptions = field(default_factory=ExampleOptions)
    loop: LoopOptions = LoopOptions(
        output_folder=Path("prior"), steps=430_000, batch_size=1024, log_every=50, eval_every=1_000, save_every=1_000
    )
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=4.5e-4, warmup_steps=5_000, weight_decay=4.5e-2, betas=(0.9, 0.96), grad_clip=4.0
    )
    plateau: PlateauOptions = field(default_factory=PlateauOptions)
    size: SizeOptions = field(default_factory=SizeOptions)
    codebook: str | None = unless_default(default=None)
    """The dVAE of the examples, a name or a path as pipelines.encode takes it: embeddings of codes and weights of their
    logits begin near what its codes stand for, so that codes that look alike begin alike; by default they begin at
    random, as the paper's."""
    planning: PlanOptions = field(default_factory=PlanOptions)
    sharding: ShardOptions = field(default_factory=ShardOptions)
    micro_batch_size: int = 1
    """Examples that a process has in memory at a time, 1 to 16,777,216; it adds up their gradients."""
    recompute: Recompute = no_change_of_bytes(default="blocks")
    """What is computed again for the gradient instead of being kept: blocks, all inside each residual block, keeps less
    than a tenth and computes a third more; selective, all but matrix products and attention, keeps two thirds and
    computes hardly more."""
    ema_decay: float = 0.99
    """Decay of the exponential moving average of the weights, from 0 to below 1."""
    ema_every: int = 25
    """Steps between two updates of the average, 1 to 10^12."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        ranges = {"micro_batch_size": Between(1, MOST_EXAMPLES), "ema_every": Between(1, MOST_STEPS)}
        check_ranges(self, {**ranges, "ema_decay": Below(0, 1)})
        if self.loop.say.plan and self.planning.gpus % self.sharding.shard:
            raise ValueError(
                f"--shard {self.sharding.shard}: --gpus {self.planning.gpus} cannot be put into groups of "
                f"{self.sharding.shard}; give a multiple of {self.sharding.shard}"
            )
        if self.plateau.plateau_on == "validation" and not (self.loop.eval_every and self.examples.validation_share):
            raise ValueError(
                "--plateau_on validation: there are no evaluations to go by; give --eval_every and --validation_share"
            )
        if self.plateau.plateau_on == "validation" and self.optimizer.decay_steps:
            raise ValueError(
                f"--plateau_on validation: with --decay_steps {self.optimizer.decay_steps} the learning rate falls "
                "along a cosine, whatever the loss does; give --decay_steps 0 to have it halved instead"
            )


FULL = TrainPriorOptions()
LARGE = replace(FULL, size=SizeOptions(heads=42))
MEDIUM = replace(FULL, size=SizeOptions(heads=30))
BASE = replace(
    FULL,
    loop=replace(FULL.loop, steps=200_000, batch_size=256),
    optimizer=replace(FULL.optimizer, warmup_steps=2_000),
    size=SizeOptions(layers=24, heads=16),
    micro_batch_size=8,
)
SMALL = replace(
    FULL,
    loop=replace(FULL.loop, steps=20_000, batch_size=32, log_every=20, eval_every=500, save_every=500),
    optimizer=replace(FULL.optimizer, learning_rate=1e-3, min_learning_rate=1e-5, decay_steps=20_000, warmup_steps=200),
    size=SizeOptions(layers=12, heads=8),
    micro_batch_size=2,
    recompute="none",
)
TINY = replace(
    SMALL,
    loop=replace(SMALL.loop, steps=100, batch_size=4, log_every=10, eval_every=50, save_every=50),
    optimizer=replace(SMALL.optimizer, learning_rate=3e-3, min_learning_rate=3e-4, decay_steps=100, warmup_steps=10),
    examples=ExampleOptions(workers=0),
    size=SizeOptions(layers=4, heads=2, head_size=32),
    micro_batch_size=4,
    ema_every=1,
)
PRESETS = {
    "full": ("the paper's network and figures, 12.1 billion weights in its blocks", FULL),
    "large": ("the second of the paper's networks, 5.5 billion weights", LARGE),
    "medium": ("the first of the paper's networks, 2.8 billion weights", MEDIUM),
    "base": ("0.3 billion weights, for a few GPUs", BASE),
    "small": ("38 million weights in 12 layers, for a processor", SMALL),
    "tiny": ("four layers, trains in a minute: to try things out", TINY),
}
