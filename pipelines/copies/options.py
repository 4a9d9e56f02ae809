"""The options of `pipelines.dedup`, and what follows from them and the detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from dalle.detectors import Embedder
from pipelines.copies.references import ReferenceArgument
from schemas.folder import Folder
from schemas.matches import Decisions, Linkage, read_decisions
from schemas.options import no_change_of_bytes
from schemas.planning import SayOptions
from schemas.ranges import MOST_PROCESSES, Between, check_ranges

_BELOW_THRESHOLD = 0.2
_COSINE = Between(-1, 1)
_RANGES = {
    "floor": _COSINE,
    "within_threshold": _COSINE,
    "within_cells": Between(0, 1 << 24),
    "processes_count": Between(0, MOST_PROCESSES),
}


@dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """All options of the job."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """A pairs dataset."""
    reference: tuple[str, ...] = ()
    """NAME=PATH of one or more reference sets: a folder of pictures, pictures, a .txt list of them, a dataset, tars,
    COCO's captions.json,FOLDER, or vectors that an earlier run left (clean/dedup/references/NAME, clean/img_emb)."""
    output_folder: str | None = no_change_of_bytes(default=None)
    """Where the clean dataset goes: a path or an fsspec URL."""
    allow_self_reference: bool = no_change_of_bytes(default=False)
    """Take out also what a reference set has byte for byte where that is most of the dataset, as if it were the dataset
    itself."""
    detector: str = "builtin"
    """What finds copies: builtin, open_clip:MODEL/PRETRAINED-or-path, torchscript:PATH or phash."""
    threshold: tuple[str, ...] = ()
    """The cosine from which a picture counts as a copy, -1 to 1: one for all sets, or NAME=VALUE; by default the
    detector's."""
    floor: float | None = None
    """The least cosine that matches.parquet holds, -1 to 1; by default 0.2 below the threshold."""
    decisions: str | None = None
    """A file of a person's decisions, as report.html exports it; they count above the threshold."""
    within: bool = False
    """Also take out near-copies of other pictures of the same dataset; one of each group is kept."""
    within_threshold: float | None = None
    """The cosine from which two pictures of the dataset are copies, -1 to 1; by default the detector's."""
    within_linkage: Linkage = "star"
    """Which copies --within takes out. star: pictures that are like one that stays, at or above the threshold; single:
    also copies of copies, however little they are like the one that stays."""
    within_cells: int = 0
    """Cells that --within searches alone, 1 to 16,777,216: more are faster and miss more; 0 is by the number of
    pictures."""
    incremental_mode: Literal["incremental", "renew", "overwrite"] = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew; renew: start anew if its input has changed."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine, 1 to 4,096; 0 is one for each core."""
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name.startswith("within_") and value != one.default and not self.within:
                raise ValueError(f"--{one.name} {value}: is for --within, which is not given")


def thresholds_of(options: DedupOptions, embedder: Embedder) -> dict[str, float]:
    """By reference set, in the order of their names, so that it does not matter how they were given.

    Raises:
        ValueError: if two sets have one name, or a threshold is none or of no set.
    """
    names = [ReferenceArgument.parse(text).name for text in options.reference]
    if len(set(names)) < len(names):
        raise ValueError(f"--reference: {', '.join(names)}: the same name twice; give each set one of its own")
    thresholds = dict.fromkeys(sorted(names), float(embedder.threshold))
    for text in options.threshold:
        name, equals, value = text.rpartition("=")
        try:
            cosine = float(value)
        except ValueError:
            raise ValueError(f"--threshold {text}: expected a number or NAME=NUMBER") from None
        if not -1 <= cosine <= 1:
            raise ValueError(f"--threshold {text}: expected a cosine between -1 and 1")
        if equals and name not in thresholds:
            raise ValueError(f"--threshold {text}: there is no --reference {name}; there are {', '.join(names)}")
        thresholds |= {name: cosine} if equals else dict.fromkeys(thresholds, cosine)
    return thresholds


def floors_of(options: DedupOptions, thresholds: Mapping[str, float]) -> dict[str, float]:
    """The least similarity that is stored, by reference set."""
    return {
        name: value - _BELOW_THRESHOLD if options.floor is None else options.floor for name, value in thresholds.items()
    }


def within_threshold_of(options: DedupOptions, embedder: Embedder) -> float | None:
    """The cosine of copies inside the dataset; None if they are not looked for."""
    if not options.within:
        return None
    return float(embedder.threshold) if options.within_threshold is None else options.within_threshold


def decisions_of(options: DedupOptions, embedder: Embedder) -> Decisions:
    """A person's decisions, if there is a file of them."""
    if options.decisions is None:
        return Decisions({})
    folder, _, name = options.decisions.rpartition("/")
    return read_decisions(Folder(folder or "."), name, embedder.fingerprint)
