"""Quantities that change from step to step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.training.schedules import Cosine, LearningRate


@given(st.floats(-10, 10), st.floats(-10, 10), st.integers(1, 1000), st.integers(0, 2000))
def test_a_cosine_never_leaves_its_ends_and_never_turns(first: float, last: float, steps: int, step: int) -> None:
    schedule = Cosine(first=first, last=last, steps=steps)
    low, high = min(first, last) - 1e-9, max(first, last) + 1e-9
    assert low <= schedule(step) <= high
    assert (schedule(step + 1) - schedule(step)) * (last - first) >= -1e-12
    assert (first, last) == pytest.approx((schedule(0), schedule(steps)))


@given(st.integers(0, 50), st.integers(0, 200), st.integers(0, 300))
def test_a_learning_rate_rises_to_its_cosine_and_stays_within(warmup: int, decay: int, step: int) -> None:
    """Warm-up times cosine; without decay the peak."""
    rate = LearningRate(peak=1e-3, least=1e-5, decay_steps=decay, warmup_steps=warmup)
    without = LearningRate(peak=1e-3, least=1e-5, decay_steps=decay, warmup_steps=0)
    assert 0 < rate(step) <= 1e-3 + 1e-12
    assert rate(step) == pytest.approx(without(step) * (min(1, (step + 1) / warmup) if warmup else 1))
    assert without(step) >= 1e-5 - 1e-12
    if not decay:
        assert 1e-3 == without(step)
