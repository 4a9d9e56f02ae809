"""The models that a prior has to beat: chances that add up to 1, and figures that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.prior.ngrams import NGrams, baselines


@given(st.integers(1, 6), st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=5), st.integers(0, 5))
def test_chances_add_up_to_one(size: int, texts: list[list[int]], before: int) -> None:
    """After any token, seen or not, and at the beginning."""
    grams, before = NGrams(size), before % size
    for text in texts:
        if text:
            grams.add(np.array([text]) % size)
    for start in ([], [before]):
        unigrams, bigrams = [], []
        for token in range(size):
            both = [n * (len(start) + 1) for n in grams.nats(np.array([[*start, token]]))]
            alone = grams.nats(np.array([start])) if start else (0.0, 0.0)
            unigrams.append(math.exp(alone[0] - both[0]))
            bigrams.append(math.exp(alone[1] - both[1]))
        assert sum(unigrams) == pytest.approx(1)
        assert sum(bigrams) == pytest.approx(1)


def test_figures_that_are_known() -> None:
    """Nothing known of V tokens costs ln V; what always follows costs nearly nothing; random tokens their entropy."""
    assert pytest.approx((math.log(7), math.log(7))) == NGrams(7).nats(np.array([[1, 2]]))
    cycle, chance = NGrams(4), NGrams(4)
    cycle.add(np.tile(np.arange(4), (50, 20)))
    unigram, bigram = cycle.nats(np.tile(np.arange(4), (2, 20)))
    assert unigram == pytest.approx(math.log(4), abs=1e-3)
    assert bigram < 0.05
    rng = np.random.default_rng(0)
    chance.add(rng.integers(0, 4, (100, 200)))
    assert chance.nats(rng.integers(0, 4, (10, 200))) == pytest.approx((math.log(4), math.log(4)), abs=0.02)


def test_of_batches_without_padding() -> None:
    """Padding is not foretold, as it is not in the loss of a prior."""
    import torch

    text = torch.tensor([[1, 2, 12, 13], [1, 2, 3, 13]])
    batch = {"text_tokens": text, "image_codes": torch.tensor([[0, 1, 2], [0, 1, 2]])}
    found = baselines([batch], [batch], vocab_size=10, image_vocab_size=5)
    grams = NGrams(10)
    grams.add(np.array([[1, 2, -1], [1, 2, 3]]))
    assert found.text == grams.nats(np.array([[1, 2, -1], [1, 2, 3]]))
    assert found.image[1] < found.image[0] < math.log(5)
