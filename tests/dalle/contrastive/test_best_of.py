"""The best of many: picks, and expectations over all subsets by counting them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.contrastive.best_of import best_of, chances_of_largest, draw_plot

SCORES = st.lists(st.lists(st.integers(-3, 9), min_size=6, max_size=6), min_size=1, max_size=4)


@given(SCORES, st.sets(st.integers(1, 6), min_size=1))
def test_it_is_the_mean_over_all_subsets(rows: list[list[int]], sizes: set[int]) -> None:
    """An oracle that lists them; picks are the first best of the first n."""
    best = best_of(np.array(rows), sizes=tuple(sizes))
    assert tuple(sorted(sizes)) == best.sizes
    for column, n in enumerate(best.sizes):
        expected = [np.mean([max(some) for some in itertools.combinations(row, n)]) for row in rows]
        assert np.mean(expected) == pytest.approx(best.means[column])
        assert [row.index(max(row[:n])) for row in rows] == best.picks[:, column].tolist()
        assert [max(row[:n]) for row in rows] == best.scores[:, column].tolist()
        if len(rows) > 1:
            assert np.std(expected, ddof=1) / len(rows) ** 0.5 == pytest.approx(best.errors[column])
    assert (np.diff(best.means) >= -1e-12).all()


@pytest.mark.parametrize("n", [1, 8, 64, 511, 512])
def test_chances_are_a_distribution(n: int) -> None:
    """Also for the paper's 512, whose binomials are beyond any float."""
    chances = chances_of_largest(512, n)
    assert 1 == pytest.approx(chances.sum())
    assert n - 1 == (chances == 0).sum()
    assert (np.diff(chances) >= 0).all()


def test_sizes_above_the_samples_are_left_out() -> None:
    """The paper's sizes for fewer samples than the paper's."""
    best = best_of(np.random.default_rng(0).normal(size=(3, 70)))
    assert (1, 8, 64) == best.sizes
    figures = best.to_json()
    assert (3, 70) == (figures["captions"], figures["samples"])
    assert [1, 8, 64] == [row["n"] for row in figures["best_of"]]


@pytest.mark.parametrize(
    ("scores", "sizes", "message"),
    [
        (np.zeros((0, 4)), (1,), r"the scores are \[0, 4\]"),
        (np.zeros(4), (1,), r"the scores are \[4\]"),
        (np.array([[1.0, np.nan]]), (1,), "caption 0, sample 1: has the score nan"),
        (np.zeros((2, 4)), (8, 64), "best of 8, 64: expected from 1 to 4 samples"),
    ],
)
def test_what_has_no_best(scores: np.ndarray, sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_of(scores, sizes)


def test_a_plot_is_a_png() -> None:
    """The same one from the same figures."""
    best = best_of(np.random.default_rng(0).normal(size=(5, 64)))
    plot = draw_plot(best)
    assert b"PNG" == plot[1:4]
    assert plot == draw_plot(best)
    assert plot != draw_plot(best_of(np.random.default_rng(1).normal(size=(5, 64))))
