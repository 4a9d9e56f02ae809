"""What `dalle.generate` is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dalle.prior.choosing import ChoosingOptions
from dalle.prior.sampling import Precision, PrecisionOrAuto, number_format
from schemas.options import no_change_of_bytes
from schemas.planning import SayOptions
from schemas.ranges import MOST_EXAMPLES, Between, check_ranges

IncrementalMode = Literal["incremental", "renew", "overwrite"]


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """What is drawn, by what, and what is kept of it."""

    captions: Annotated[tuple[str, ...], tyro.conf.Positional] = no_change_of_bytes(default=())
    """Captions, each in quotes."""
    captions_file: str | None = no_change_of_bytes(default=None)
    """File with a caption in each line, or JSON lines with `caption` and `id`; - is standard input."""
    prior: str = no_change_of_bytes(default="prior")
    """What dalle.train_prior left, a folder or its file."""
    vocabulary: str | None = no_change_of_bytes(default=None)
    """Vocabulary that the prior was trained for; looked for in the package and beside the prior if not given."""
    dvae: str | None = no_change_of_bytes(default=None)
    """DVAE that the prior was trained for, as pipelines.encode takes it; looked for likewise."""
    reranker: str | None = no_change_of_bytes(default=None)
    """Contrastive model that scores pictures: open_clip:MODEL//FILE, or what dalle.train_contrastive left."""
    output_folder: Path = no_change_of_bytes(default=Path("drawn"))
    """Folder for pictures, samples.parquet and index.html; made if need be."""
    incremental_mode: IncrementalMode = no_change_of_bytes(default="incremental")
    """incremental: go on where it was stopped; overwrite: draw anew, and replace what is there when all is drawn;
    renew: draw anew if models or captions have changed."""
    samples: int = 16
    """Samples of each caption, 1 or more; the paper draws 512."""
    keep: int | None = None
    """Pictures kept of each caption, the best by --reranker or, without one, by likelihood; all if not given."""
    best_of: tuple[int, ...] = ()
    """Kept, too: of each caption the best of its first N samples for these N; the paper's Figure 6 has 1 8 64 512."""
    choosing: ChoosingOptions = field(default_factory=ChoosingOptions)
    seed: int = 0
    """Seed of all samples, 0 to 2^63 - 1."""
    image: str | None = no_change_of_bytes(default=None)
    """Picture part of which stays, in image-to-image."""
    keep_rows: int | None = None
    """Upper rows of codes that stay of --image; the paper's top half, 15 of 32, if not given."""
    keep_mask: str | None = no_change_of_bytes(default=None)
    """Picture of which codes of --image stay, in place of --keep_rows: light where they do, one pixel for each."""
    batch_size: int = 32
    """Samples that are drawn at a time, 1 or more; another size rounds in another way, and so draws other pictures."""
    precision: PrecisionOrAuto = "auto"
    """Number format of the products of prior and dVAE; auto: bfloat16 where the processor has it."""
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        ranges = {"samples": Between(1, MOST_EXAMPLES), "keep": Between(1, MOST_EXAMPLES)}
        ranges |= {
            "best_of": Between(1, MOST_EXAMPLES),
            "seed": Between(0, 2**63 - 1),
            "batch_size": Between(1, MOST_EXAMPLES),
        }
        check_ranges(self, {**ranges, "keep_rows": Between(0, 1 << 12)})
        if self.keep is not None and self.keep > self.samples:
            raise ValueError(f"--keep {self.keep}: there are {self.samples} --samples; keep as many or fewer")
        if self.best_of and self.reranker is None:
            raise ValueError("--best_of: there is no --reranker, whose best could be kept; give one")
        most = max(self.best_of, default=1)
        if most > self.samples:
            raise ValueError(f"--best_of {most}: there are {self.samples} --samples; give as many or fewer")
        given = {"keep_mask": self.keep_mask, "keep_rows": self.keep_rows}
        named = [f"--{name}" for name, value in given.items() if value is not None]
        if named and self.image is None:
            raise ValueError(f"{named[0]}: there is no --image of which something could stay; give one")
        if len(named) > 1:
            raise ValueError("--keep_mask and --keep_rows both say what stays of --image; give one of them")

    @property
    def number_format(self) -> Precision:
        """What is meant by --precision on this machine."""
        return number_format(self.precision)

    @property
    def samples_at_once(self) -> int:
        """Of each caption in a batch."""
        return min(self.samples, self.batch_size)

    @property
    def captions_at_once(self) -> int:
        """In a batch, whatever their number."""
        return self.batch_size // self.samples_at_once
