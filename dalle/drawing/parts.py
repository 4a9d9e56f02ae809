"""What is drawn so far, while a folder is not finished: killed at any moment, all that was drawn is still there.

_next/_parts/000012/000064.parquet   codes of a batch: of the captions from number 12 on, samples from 64 on
_next/_parts/000012.parquet          all samples of those captions, scored; their pictures lie in _next/images
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PARTS = "_parts"


@dataclass(frozen=True)
class Batch:
    """Captions and samples that are drawn at a time."""

    captions: range
    """Their numbers."""
    samples: range

    @property
    def size(self) -> int:
        """Samples of all captions."""
        return len(self.captions) * len(self.samples)

    @property
    def file(self) -> str:
        """Where its codes are kept."""
        return f"{PARTS}/{self.captions.start:06d}/{self.samples.start:06d}.parquet"


@dataclass(frozen=True)
class Unit:
    """Captions whose samples are judged together, and drawn in one or more batches."""

    captions: range
    batches: Sequence[Batch]

    @property
    def file(self) -> str:
        """Where its samples are kept."""
        return f"{PARTS}/{self.captions.start:06d}.parquet"


def units(captions: int, samples: int, captions_at_once: int, samples_at_once: int) -> Iterator[Unit]:
    """All there is to draw."""
    for first in range(0, captions, captions_at_once):
        some = range(first, min(first + captions_at_once, captions))
        starts = range(0, samples, samples_at_once)
        yield Unit(some, [Batch(some, range(start, min(start + samples_at_once, samples))) for start in starts])
