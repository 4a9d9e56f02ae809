"""The best of the first N samples, as the paper's Figure 6 has it, for the N that a person can choose on the page."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from dalle.contrastive.best_of import expected_best
from dalle.drawing.drawn import DrawnCaption


def stops(samples: int) -> list[int]:
    """N that can be chosen: powers of two below the number of samples, and that number.

    >>> stops(20)
    [1, 2, 4, 8, 16, 20]
    """
    powers = (1 << power for power in range(max(1, samples).bit_length()))
    return [*(n for n in powers if n < samples), max(1, samples)]


def mean_scores(captions: Iterable[DrawnCaption], sizes: Sequence[int]) -> list[float]:
    """Mean over captions of the expected greatest score of N samples, for each N; empty where there are no scores.

    A caption of fewer samples has its best of those it has.
    """
    totals, count = np.zeros(len(sizes)), 0
    for caption in captions:
        if caption.scores is not None and len(caption.scores):
            totals += expected_best(caption.scores, [min(n, len(caption.scores)) for n in sizes])
            count += 1
    return (totals / count).tolist() if count else []


def pictures_to_show(captions: Sequence[DrawnCaption], sizes: Sequence[int], most: int) -> set[tuple[int, int]]:
    """Which samples have their pictures on the page if not all can: first what is the best of the first N for some N.

    Args:
        captions: all.
        sizes: the N that can be chosen.
        most: how many.

    Returns:
        number of the caption and of its sample, from 0.
    """
    ranked = []
    for number, caption in enumerate(captions):
        rank = np.empty(len(caption.files), np.int64)
        rank[caption.order(by_score=True)] = np.arange(len(rank))
        winners = {int(rank[:n].argmin()) for n in sizes if len(rank)}
        for sample, file in enumerate(caption.files):
            if file is not None:
                ranked.append((0 if sample in winners else int(rank[sample]), number, sample))
    return {(number, sample) for _, number, sample in heapq.nsmallest(most, ranked)}
