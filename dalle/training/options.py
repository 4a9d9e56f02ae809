"""What every training is told: for how long, where to, how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dalle.training.model_folder import IncrementalMode
from schemas.options import no_change_of_bytes
from schemas.planning import SayOptions
from schemas.ranges import MOST_EXAMPLES, MOST_STEPS, Between, check_ranges

_RANGES = {
    "steps": Between(1, MOST_STEPS),
    "batch_size": Between(1, MOST_EXAMPLES),
    "seed": Between(0, 2**63 - 1),
    "log_every": Between(1, MOST_STEPS),
    "eval_every": Between(0, MOST_STEPS),
    "save_every": Between(1, MOST_STEPS),
}


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """What every training is told."""

    output_folder: Path = no_change_of_bytes(default=Path("model"))
    """Folder for checkpoints, log and weights; made if need be."""
    incremental_mode: IncrementalMode = no_change_of_bytes(default="incremental")
    """incremental: go on from the last checkpoint; overwrite: start anew, deleting what this job left there before;
    renew: start anew if what it is trained on has changed."""
    steps: int = 1_000
    """Steps of the optimizer, 1 or more."""
    batch_size: int = 32
    """Examples of a step, of all processes together, 1 or more."""
    seed: int = 0
    """Seed of the initial weights, the order of the examples and the noise, 0 to 2^63 - 1."""
    checkpoint_store: str | None = no_change_of_bytes(default=None)
    """Where checkpoints are kept as well, a folder or an fsspec URL such as s3://bucket/prior: if it has a later one
    than the output folder, the training goes on from that."""
    device: str = no_change_of_bytes(default="auto")
    """Device to compute on: cpu, cuda, or auto, which is a GPU if there is one."""
    log_every: int = no_change_of_bytes(default=100)
    """Steps between two lines of the log, 1 or more."""
    eval_every: int = no_change_of_bytes(default=0)
    """Steps between two evaluations of the averaged weights; 0 makes none."""
    save_every: int = no_change_of_bytes(default=1_000)
    """Steps between two checkpoints, 1 or more; the last step always leaves one."""
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
