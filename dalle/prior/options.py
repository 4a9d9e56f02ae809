"""How the transformer is trained: what there is of it so far, at a size that runs anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dalle.training.steps import Precision


@dataclass(frozen=True, kw_only=True)
class TrainPriorOptions:
    """How a prior is trained; the paper's figures (App. B) where they do not depend on the size."""

    input_folder: str | None = None
    """A dataset of examples that pipelines.encode left: a path or an fsspec URL."""
    output_folder: Path = Path("prior")
    """Where everything goes that is left behind."""
    allow_undeduplicated: bool = False
    """Train on examples whose pairs were never cleaned of near-duplicates."""
    layers: int = 2
    """Blocks of attention and two linear layers."""
    heads: int = 2
    """Heads of attention."""
    head_size: int = 32
    """Numbers of a head."""
    updates: int = 50
    """Steps of the optimiser."""
    batch_size: int = 4
    """Examples of an update."""
    step_size: float = 3e-3
    """At its highest; the paper's 4.5e-4 is for its own size."""
    warm_up: int = 10
    """Updates over which the step size rises from nothing."""
    weight_decay: float = 4.5e-2
    """Multiplier of AdamW."""
    clip: float = 4.0
    """The longest that all gradients together may be."""
    precision: Precision = "auto"
    """auto: float16 with loss scaling on CUDA, bfloat16 elsewhere."""
    workers: int = 0
    """Processes that read ahead; 0 reads in the training's own."""
    seed: int = 0
    """Of the initial weights and the order of the examples."""
    device: str = "auto"
    """cuda, cpu, or auto."""
    log_every: int = 10
    """Updates between two lines of the log."""

    def __post_init__(self) -> None:
        if self.updates < 2:
            raise ValueError(f"--updates {self.updates}: expected 2 or more, or nothing can be said to fall")
        for name in ("layers", "heads", "head_size", "batch_size", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: expected 1 or more")


SIZES = {"tiny": ("two layers, trains in a minute: to see that examples can be learnt from", TrainPriorOptions())}
