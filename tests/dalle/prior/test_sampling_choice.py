"""Codes are chosen with the probabilities that the model, and the options, give them; every number from its seed."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from dalle.prior.choosing import ChoosingOptions, choose, uniforms
from dalle.prior.config import PriorConfig
from dalle.prior.network import Prior
from dalle.prior.sampling import Given, Sampler
from tests.dalle.prior.test_sampling import some_prior

TINY = PriorConfig(vocab_size=5, image_vocab_size=3, text_length=2, codes=4, layers=3, heads=2, head_size=4)
SAMPLES = 4_096
SEQUENCES = torch.tensor(list(itertools.product(range(3), repeat=4)))


def exact(logits: np.ndarray, options: ChoosingOptions) -> np.ndarray:
    """[K] float64: the probability of each code, by the definition, one code after the other in Python."""
    if options.temperature == 0:
        return (np.arange(len(logits)) == logits.argmax()).astype(np.float64)
    weights = np.exp((logits - logits.max()) / options.temperature)
    if options.top_k is not None:
        weights = np.where(weights >= sorted(weights)[-min(options.top_k, len(weights))], weights, 0)
    weights = weights / weights.sum()
    if options.top_p is not None:
        total, least = 0.0, 0.0
        for weight in sorted(weights, reverse=True):
            if total >= options.top_p:
                break
            total, least = total + weight, weight
        weights = np.where(weights >= least, weights, 0)
    return weights / weights.sum()


@given(
    codes=st.integers(1, 1_500),
    seed=st.integers(0, 99),
    spread=st.sampled_from([0.01, 1.0, 5.0]),
    temperature=st.sampled_from([1.0, 0.7, 2.0, 1e-12, 1e38]),
    top_k=st.none() | st.integers(1, 2_000),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_shares_of_the_unit_interval_are_the_probabilities(
    codes: int, seed: int, spread: float, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    """A number just inside of a code's share gives this code; codes that are not to be chosen have no share."""
    logits = spread * np.random.default_rng(seed).standard_normal(codes)
    logits = logits.astype(np.float32)
    options = ChoosingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    expected = exact(logits.astype(np.float64), options)
    if top_p is not None:  # whether a code is of the nucleus is to be beyond rounding
        ends = [
            exact(logits.astype(np.float64), replace(options, top_p=p))
            for p in (top_p * 0.99999, min(1, top_p * 1.00001))
        ]
        assume(all(np.array_equal(expected > 0, end > 0) for end in ends))
    up_to = np.concatenate([[0], expected.cumsum()])
    large = np.flatnonzero(expected > 1e-5)
    for inside in (0.05, 0.95):
        numbers = torch.from_numpy(up_to[large] + inside * expected[large])
        lines = torch.from_numpy(logits).repeat(len(large), 1)
        chosen, nats = choose(lines, numbers, options)
        allowed = np.abs(chosen.numpy() - large) <= (
            0 if top_p is None else codes
        )  # the border of a nucleus is rounded
        assert allowed.all()
        assert (expected[chosen.numpy()] > 0).mean() > 0.99
        log_probabilities = torch.from_numpy(logits).double().log_softmax(0)
        torch.testing.assert_close(nats, log_probabilities[chosen], rtol=0, atol=1e-5)


def test_the_greatest_and_least_numbers_give_codes_that_may_be_chosen() -> None:
    """None of weight 0 at either end."""
    logits = torch.full((2, 300), -200.0)
    logits[:, 100:200] = torch.randn(100, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    assert [100, 199] == choose(logits, ends, ChoosingOptions())[0].tolist()


def distribution(prior: Prior, text: torch.Tensor, options: ChoosingOptions, given: Given | None) -> np.ndarray:
    """[81] float64: the exact probability of every sequence of 4 codes out of 3."""
    with torch.no_grad():
        logits = prior(text.expand(len(SEQUENCES), -1), SEQUENCES)[1].double().numpy()
    shares = np.ones(len(SEQUENCES))
    for i, sequence in enumerate(SEQUENCES.tolist()):
        for position, code in enumerate(sequence):
            if given is not None and given.mask[position]:
                shares[i] *= given.codes[position] == code
            else:
                shares[i] *= exact(logits[i, position], options)[code]
    return shares


@pytest.mark.parametrize(
    ("options", "mask"),
    [
        (ChoosingOptions(), "0000"),
        (ChoosingOptions(temperature=0.6), "0000"),
        (ChoosingOptions(temperature=1.7, top_k=2), "0000"),
        (ChoosingOptions(top_p=0.8), "0000"),
        (ChoosingOptions(temperature=1.3, top_k=2, top_p=0.9), "0000"),
        (ChoosingOptions(), "1100"),
        (ChoosingOptions(), "0101"),
        (ChoosingOptions(temperature=0), "0010"),
    ],
)
def test_sequences_are_as_frequent_as_the_model_says(options: ChoosingOptions, mask: str) -> None:
    """Chi-squared over all 81 sequences, drawn with the cache by layers of three kinds, 4,096 seeds."""
    prior, text = some_prior(TINY), torch.tensor([[3, 6]])
    fixed = Given(np.array([each == "1" for each in mask]), np.array([2, 0, 1, 1]))
    drawn = Sampler(prior, samples=SAMPLES, precision="float32").draw(text, [range(SAMPLES)], options, given=fixed)
    counts = np.bincount(drawn.codes @ np.array([27, 9, 3, 1]), minlength=81)
    shares = distribution(prior, text, options, fixed)
    assert SAMPLES == counts[shares > 0].sum()
    rare = shares * SAMPLES < 5
    common = np.append(shares[~rare], shares[rare].sum()), np.append(counts[~rare], counts[rare].sum())
    expected, found = (each[common[0] > 0] for each in common)
    if len(expected) > 1:
        assert stats.chisquare(found, expected * SAMPLES).pvalue > 0.01


def test_numbers_of_seeds() -> None:
    """A function of seed and position alone, uniform, of any seed; kept from version to version."""
    many = uniforms([*range(300), 10**40], 50)
    assert (301, 50) == many.shape
    assert ((many > 0) & (many < 1)).all()
    assert len(np.unique(many)) == many.size
    assert stats.kstest(many.ravel(), "uniform").pvalue > 0.01
    assert np.array_equal(many[[7, 300], :20], uniforms([7, 10**40], 20))
    assert [0.46881748695593284, 0.42614583623918467] == uniforms([7], 2)[0].tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -0.1}, "--temperature -0.1: expected 0 or more"),
        ({"temperature": math.nan}, "--temperature nan: expected 0 or more"),
        ({"top_k": 0}, "--top_k 0: expected 1 or more"),
        ({"top_p": 0.0}, "--top_p 0.0: expected more than 0"),
        ({"top_p": 1.01}, "--top_p 1.01: expected more than 0, at most 1"),
    ],
)
def test_options_that_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        ChoosingOptions(**wrong)
