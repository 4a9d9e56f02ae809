"""What choosing the best of many samples is worth (Ramesh et al. 2021, Figures 6 and 9c).

Of each caption N samples were drawn and scored. The best of the first n of them is what a person would have been shown
who drew n. How good the best of n is on the whole is better told by all N: the mean over all subsets of n of them has
the same expectation and much less noise, and a closed form (the i-th smallest of N scores is the largest of
`C(i - 1, n - 1)` of the `C(N, n)` subsets).

    >>> scores = np.array([[0.1, 0.3, 0.2, 0.0], [0.5, 0.1, 0.6, 0.4]])
    >>> best = best_of(scores, sizes=(1, 2, 4))
    >>> best.picks
    array([[0, 1, 1],
           [0, 0, 2]])
    >>> best.means.round(3)
    array([0.275, 0.383, 0.45 ])
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dalle.pictures.plots import empty_figure, png

SIZES = (1, 8, 64, 512)
"""The paper's, in Figure 6."""


@dataclass(frozen=True)
class BestOf:
    """The best of the first n samples of each caption, and how good the best of n is."""

    sizes: tuple[int, ...]
    """n, ascending; K of them."""
    samples: int
    """N, of each caption."""
    picks: np.ndarray
    """[captions, K] int64: the sample with the highest score among the first n; of equal ones the first."""
    scores: np.ndarray
    """[captions, K] float64: its score."""
    means: np.ndarray
    """[K] float64: mean over captions of the expected highest score of n samples, over all subsets of the N."""
    errors: np.ndarray
    """[K] float64: standard errors of these means, from captions to captions; 0 of a single one."""

    def to_json(self) -> dict[str, Any]:
        """For a file of figures: a row for each n; no picks."""
        return {
            "captions": len(self.picks),
            "samples": self.samples,
            "best_of": [
                {"n": n, "score": float(mean), "standard_error": float(error), "score_of_first": float(first)}
                for n, mean, error, first in zip(self.sizes, self.means, self.errors, self.scores.mean(0), strict=True)
            ],
        }


def best_of(scores: np.ndarray, sizes: Sequence[int] = SIZES) -> BestOf:
    """The best of the first n samples for several n.

    Args:
        scores: [captions, N] finite; the higher the better.
        sizes: n; those above N are left out.

    Raises:
        ValueError: if scores are not finite or none, or no n is from 1 to N.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"the scores are {list(scores.shape)}, expected a row of one or more for each caption")
    if not np.isfinite(scores).all():
        caption, sample = np.argwhere(~np.isfinite(scores))[0].tolist()
        raise ValueError(
            f"caption {caption}, sample {sample}: has the score {scores[caption, sample]}, expected a number"
        )
    samples = scores.shape[1]
    chosen = tuple(sorted({int(n) for n in sizes if 1 <= n <= samples}))
    if not chosen:
        raise ValueError(f"best of {', '.join(map(str, sizes)) or 'nothing'}: expected from 1 to {samples} samples")
    picks = np.stack([scores[:, :n].argmax(1) for n in chosen], axis=1)
    expected = expected_best(scores, chosen)
    spread = expected.std(0, ddof=1) if len(scores) > 1 else np.zeros(len(chosen))
    return BestOf(
        sizes=chosen,
        samples=samples,
        picks=picks,
        scores=np.take_along_axis(scores, picks, axis=1),
        means=expected.mean(0),
        errors=spread / len(scores) ** 0.5,
    )


def expected_best(scores: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The highest score of n samples on the mean, over all subsets of n of them.

    Args:
        scores: [..., N] finite.
        sizes: n, each from 1 to N; K of them.

    Returns:
        [..., K] float64.
    """
    chances = np.stack([chances_of_largest(scores.shape[-1], n) for n in sizes], axis=1)
    return np.sort(np.asarray(scores, np.float64), axis=-1) @ chances


@functools.lru_cache(maxsize=256)
def chances_of_largest(samples: int, n: int) -> np.ndarray:
    """[samples] float64: how likely each score, in ascending order, is the largest of n that are drawn without return.

    From the largest down, each a simple multiple of the one before, so nothing overflows.

    >>> chances_of_largest(4, 2) * 6
    array([0., 1., 2., 3.])
    """
    chances = np.zeros(samples)
    chance = n / samples
    for i in range(samples, n - 1, -1):
        chances[i - 1] = chance
        chance *= (i - n) / (i - 1) if i > 1 else 0.0
    chances.setflags(write=False)  # it is kept for the next call
    return chances


def draw_plot(best: BestOf) -> bytes:
    """How the score of the best grows with the number of samples, as Figure 9c does: a PNG, the same bytes each time.

    Args:
        best: of the captions.
    """
    figure = empty_figure(5, 3.5)
    axes = figure.subplots()
    axes.errorbar(best.sizes, best.means, yerr=best.errors, marker="o", capsize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks(best.sizes, [f"{n:,}" for n in best.sizes])
    axes.set_xlabel("samples of which the best is taken")
    axes.set_ylabel("score of the best")
    axes.grid(alpha=0.3)
    return png(figure)
