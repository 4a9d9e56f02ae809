"""How the transformer is trained: what there is of it so far, at a size that runs anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dalle.training.options import LoopOptions
from dalle.training.steps import OptimizerOptions
from schemas.options import no_change_of_bytes
from schemas.ranges import MOST_PROCESSES, MOST_SIZE, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class TrainPriorOptions:
    """How a prior is trained; the paper's figures (App. B) where they do not depend on the size."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """Dataset of examples that pipelines.encode left: a path or an fsspec URL."""
    allow_undeduplicated: bool = no_change_of_bytes(default=False)
    """Train on examples whose pairs were never cleaned of near-duplicates."""
    loop: LoopOptions = LoopOptions(output_folder=Path("prior"), steps=50, batch_size=4, log_every=10, save_every=50)
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=3e-3, warmup_steps=10, weight_decay=4.5e-2, betas=(0.9, 0.96), grad_clip=4.0
    )
    layers: int = 2
    """Layers of attention and two linear maps, 1 or more."""
    heads: int = 2
    """Heads of attention in a layer, 1 or more."""
    head_size: int = 32
    """Dimensions of a head, 1 or more."""
    workers: int = no_change_of_bytes(default=0)
    """Processes that read examples ahead; 0 reads them in the training's own."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        sizes = dict.fromkeys(("layers", "heads", "head_size"), Between(1, MOST_SIZE))
        check_ranges(self, {**sizes, "workers": Between(0, MOST_PROCESSES)})
        if self.loop.steps < 2 * self.loop.log_every:
            raise ValueError(
                f"--steps {self.loop.steps}: expected twice --log_every {self.loop.log_every} or more, "
                "or nothing can be said to fall"
            )


PRESETS = {"tiny": ("two layers, trains in a minute: to see that examples can be learnt from", TrainPriorOptions())}
