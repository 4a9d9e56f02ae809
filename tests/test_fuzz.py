"""A small form of `benchmarks/fuzz.py`: other inputs than it draws, the same bar."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.fuzzing.kinds import KINDS, LIMITS, drawn
from dalle.sandbox import one_by_one
from pipelines.stages.decode import PictureOptions
from pipelines.stages.filter import FilterOptions
from pipelines.work.decoding import Decoding
from schemas.reasons import UNEXPECTED

SEED = 77
"""Not one of those that the benchmark begins with."""
WAYS = (
    PictureOptions(image_size=64),
    PictureOptions(image_size=64, resize_mode="keep_ratio", encode_format="webp"),
    PictureOptions(resize_mode="no", encode_format="png", encode_quality=1),
)


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_damaged_pictures_end_no_process(way: int) -> None:
    """Of 1,200 of every format: kept, or refused in words that were foreseen."""
    seen: Counter[str] = Counter()
    with Decoding[int](WAYS[way], FilterOptions(filters="none").thresholds()) as decoding:
        for number in range(400 * way, 400 * way + 400):
            for _, stored, _ in decoding.push(number, drawn("pictures", SEED, number)):
                seen[stored.problem.reason if stored.problem else "kept"] += 1
        for number, stored, _ in decoding.flush():
            seen[stored.problem.reason if stored.problem else "kept"] += 1
            assert stored.problem is None or stored.problem.reason != UNEXPECTED, (number, stored.problem)
    assert 400 == seen.total()
    assert not {UNEXPECTED, "decoder-crashed", "decoder-time"} & set(seen), seen
    assert seen["kept"] > 50, "damage is small enough that some of it gets past the headers"


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.done_to])
def test_other_damaged_input_ends_no_process(kind: str) -> None:
    """Read, or refused in a sentence."""
    function = KINDS[kind].done_to
    assert function is not None
    items = [(number, drawn(kind, SEED, number)) for number in range(400)]
    for number, answer in one_by_one(function, LIMITS, items):
        assert (None, None) == (answer.fault, answer.raised), f"drawn({kind!r}, {SEED}, {number}): {answer}"
        assert "badly" not in str(answer.value)


def test_what_is_drawn_depends_on_seed_and_number_alone() -> None:
    """So that a finding can be drawn again; damage is damage, and not always the same."""
    for kind in KINDS:
        twice = [[drawn(kind, 3, number) for number in order] for order in (range(50), range(49, -1, -1))]
        assert twice[0] == twice[1][::-1]
        assert len(set(twice[0])) > 40
        assert twice[0] != [drawn(kind, 4, number) for number in range(50)]
