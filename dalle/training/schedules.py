"""Quantities that change from step to step: half a cosine, and the learning rate with its warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """A quantity that goes from one value to another along half a cosine, and stays there."""

    first: float
    last: float
    steps: int
    """Steps until it has its last value; 0: from the beginning."""

    def __call__(self, step: int) -> float:
        """Its value at a step, counted from 0."""
        if step >= self.steps:
            return self.last
        return self.last + (self.first - self.last) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """A linear warm-up, times half a cosine from the peak to the least value."""

    peak: float
    least: float
    decay_steps: int
    """Steps of the cosine; 0: no decay, the rate stays at its peak."""
    warmup_steps: int

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if not self.decay_steps:
            return warm * self.peak
        return warm * Cosine(first=self.peak, last=self.least, steps=self.decay_steps)(step)
