"""What was drawn, as the page shows it: captions, and the samples of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from schemas.shapes import INSIDE


@dataclass(frozen=True, eq=False, kw_only=True)
class DrawnCaption:
    """A caption and its N samples, in the order in which they were drawn."""

    text: str
    id: str
    """A short name of it, such as its number."""
    seeds: np.ndarray
    """[N] uint64."""
    log_likelihood: np.ndarray
    """[N] float64, nats."""
    scores: np.ndarray | None
    """[N] float32, the greater the better; None without a re-ranker."""
    files: Sequence[str | None]
    """Of each sample its picture, as seen from the page; None if it was not kept."""

    def __post_init__(self) -> None:
        """What does not fit together fails here, not in a browser."""
        lengths = {len(self.seeds), len(self.log_likelihood), len(self.files)}
        lengths |= set() if self.scores is None else {len(self.scores)}
        if len(lengths) > 1:
            raise ValueError(f"caption {self.id}: has {sorted(lengths)} samples in its columns, expected one number")
        for name, values in (("log-likelihood", self.log_likelihood), ("score", self.scores)):
            if values is not None and np.isnan(values).any():
                raise ValueError(f"caption {self.id}: the {name} of sample {np.isnan(values).argmax()} is no number")
        for file in self.files:
            if file is not None and not INSIDE.fits(file):
                raise ValueError(f"caption {self.id}: has the file {file!r}, expected {INSIDE.expected}")

    def values(self, *, by_score: bool) -> np.ndarray:
        """[N] float64: what is the better the greater it is."""
        scored = by_score and self.scores is not None
        return np.asarray(self.scores if scored else self.log_likelihood, np.float64)

    def order(self, *, by_score: bool) -> np.ndarray:
        """[N]: the samples from the best to the worst, the first of equals first."""
        return np.argsort(-self.values(by_score=by_score), kind="stable")


@dataclass(frozen=True)
class Named:
    """A model or a file, by its name and fingerprint."""

    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it was drawn, as the page says it."""

    prior: Named
    dvae: Named
    reranker: Named | None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """What else is to be said, in the order in which it is given: an image that was gone on with, a seed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """All of a page."""

    captions: Sequence[DrawnCaption]
    picture: Callable[[str], bytes]
    """Bytes of the picture of a name in `files`; asked at most once for each, in their order, one after the other."""
    settings: Settings


def captions_of_table(table: pa.Table) -> list[DrawnCaption]:
    """Captions of a table of samples, in its order: rows of one caption stand one after the other, from sample 0 on.

    Args:
        table: with the columns caption, caption_id, sample, seed, log_likelihood, score and file.
    """
    columns = {name: table[name].to_pylist() for name in ("caption", "caption_id", "file")}
    numbers = {name: table[name].to_numpy(zero_copy_only=False) for name in ("seed", "log_likelihood", "score")}
    starts = np.flatnonzero(table["sample"].to_numpy() == 0).tolist()
    captions = []
    for first, end in itertools.pairwise([*starts, len(table)]):
        scores = table["score"].slice(first, end - first)
        captions.append(
            DrawnCaption(
                text=columns["caption"][first],
                id=columns["caption_id"][first],
                seeds=numbers["seed"][first:end].astype(np.uint64),
                log_likelihood=numbers["log_likelihood"][first:end].astype(np.float64),
                scores=None if scores.null_count else numbers["score"][first:end].astype(np.float32),
                files=columns["file"][first:end],
            )
        )
    return captions
