"""Two runs in one folder of a store never lose each other's work (`tests.two_runs`; all of it in benchmarks/torture.py)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.two_runs import Runs, change, make, modelled, play, requests_alone, schedules

MOST = 700
"""Schedules of each number of pauses."""
FULL = 20_000
"""The same, in benchmarks/torture.py: all of one and two pauses."""


@pytest.mark.parametrize("runs", [(make, make), (change, change), (make, change)], ids=["make", "change", "mixed"])
def test_no_schedule_of_two_runs_loses_anything(
    runs: Runs, full: bool, record_property: Callable[[str, object], None]
) -> None:
    """With one pause all of them, with two and three some."""
    draw, played, most = random.Random(0), 0, FULL if full else MOST
    with modelled():
        before, requests = requests_alone(runs)
        for pauses in (1, 2, 3):
            every = list(schedules(requests, pauses))
            for schedule in every if len(every) < most else draw.sample(every, most):
                play(runs, before, schedule)
                played += 1
    record_property("interleavings", played)
    assert played > 1000
