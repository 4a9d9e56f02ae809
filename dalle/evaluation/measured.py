"""What an evaluation found, and what a reader of its numbers should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dalle.evaluation.extrapolation import ENOUGH, Extrapolation
from dalle.evaluation.inception_score import InceptionScore
from dalle.evaluation.kid import KernelDistance
from dalle.evaluation.scales import Scale
from dalle.evaluation.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Samples against one set of references."""

    without_overlap: bool
    references: int | None
    """How many, where it is known."""
    distance: float
    kernel: KernelDistance | None = None
    extrapolation: Extrapolation | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found on one scale at one radius."""

    scale: Scale
    radius: float
    best_of: int | None = None
    """N, where each picture is the best of the first N samples of its caption."""
    samples: int
    comparisons: Sequence[Comparison]
    scores: Mapping[str, InceptionScore]
    """By the name of the form."""
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    """By the side, of what was compared."""


def warnings_of(measured: Sequence[Measured]) -> list[str]:
    """What a reader of the numbers should know, a sentence each."""
    found = []
    for one in measured:
        if one.radius or not one.comparisons or one.samples >= ENOUGH:
            continue
        sentence = f"{one.samples:,} samples are few for {one.scale.metric}"
        if one.samples <= one.scale.extractor.dimension:
            sentence += f" (with no more than {one.scale.extractor.dimension:,} the covariance is singular)"
        first = one.comparisons[0]
        if first.extrapolation and first.distance > first.extrapolation.value:
            bias = first.distance - first.extrapolation.value
            sentence += f": about {bias:.2f} of {first.distance:.2f} is there for want of pictures"
        found.append(f"{sentence}; compare it only with numbers of as many, and the kernel distance with any")
    return found
