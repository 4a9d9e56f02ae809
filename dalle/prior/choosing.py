"""One code of each line of logits: by temperature, top-k and top-p, with a number that is drawn before.

A code is chosen by the inverse of the distribution function, so that it takes one uniform number a position, and the
number depends on the sample's seed and the position alone (`uniforms`). Sums are of 64 bits.

Shapes: B samples, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from schemas.ranges import MOST_FLOAT, MOST_SIZE, Above, Between, check_ranges

GREEDY_BELOW = 1e-30
"""Temperatures that are taken for 0: differences of logits over smaller ones have no number."""
_HEAD = 1_024
"""Codes that are looked at first for top-p: most often they hold it, and to sort all takes five times as long."""
_BITS = 52


@dataclass(frozen=True, kw_only=True)
class ChoosingOptions:
    """How codes are chosen; the defaults are the paper's, which draws from what the model says (§2.6)."""

    temperature: float = 1.0
    """What logits are divided by, 0 or more; 0 takes the most likely code, the first of several."""
    top_k: int | None = None
    """Choose among the so many most likely codes, 1 or more, and those that are as likely as the last of them."""
    top_p: float | None = None
    """Choose among the most likely codes that make up so much probability, above 0 to 1, of those that top_k leaves
    and at this temperature, and those that are as likely as the last of them."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(
            self, {"temperature": Between(0, MOST_FLOAT), "top_k": Between(1, MOST_SIZE), "top_p": Above(0, 1)}
        )


def uniforms(seeds: Sequence[int], positions: int) -> np.ndarray:
    """[len(seeds), positions] float64 in (0, 1): the numbers that samples are drawn with.

    Each is a function of its seed and position: of the Philox generator of 64 bits, whose raw output numpy keeps from
    version to version, the upper 52 bits, and a half, so that none is 0 or 1.

    Args:
        seeds: of the samples, each 0 or more, however large.
        positions: of a sample.

    Raises:
        ValueError: if a seed is negative.
    """
    for seed in seeds:
        if seed < 0:
            raise ValueError(f"seed {seed}: expected 0 or more")
    raw = np.array([np.random.Philox(int(seed)).random_raw(positions) for seed in seeds], np.uint64)
    return ((raw.reshape(len(seeds), positions) >> np.uint64(64 - _BITS)) + 0.5) * 2.0**-_BITS


def choose(logits: Tensor, uniform: Tensor, options: ChoosingOptions) -> tuple[Tensor, Tensor]:
    """A code for each line, [B] int64, and its nats at temperature 1, [B] float64.

    Args:
        logits: [B, K] float32, finite.
        uniform: [B] float64 in (0, 1).
        options: temperature, top_k, top_p.
    """
    probabilities = torch.softmax(logits, 1)
    if options.temperature < GREEDY_BELOW:
        codes = logits.argmax(1)
    else:
        same = options.temperature == 1
        weights = _narrowed(probabilities if same else torch.softmax(logits / options.temperature, 1), options)
        up_to = weights.cumsum(1, dtype=torch.float64)
        codes = torch.searchsorted(up_to, uniform[:, None] * up_to[:, -1:], right=True)[:, 0]
    return codes, _nats(logits, probabilities, codes)


def _nats(logits: Tensor, probabilities: Tensor, codes: Tensor) -> Tensor:
    """[B] float64: logarithms of the codes' probabilities, also of those that are 0 in 32 bits."""
    below = logits.gather(1, codes[:, None])[:, 0].double() - logits.amax(1)
    return below + probabilities.amax(1).double().log()


def _narrowed(weights: Tensor, options: ChoosingOptions) -> Tensor:
    """[B, K]: probabilities, with 0 for codes that are not to be chosen."""
    if options.top_k is not None and options.top_k < weights.shape[1]:
        least = weights.topk(options.top_k, 1).values[:, -1:]
        weights = weights.masked_fill(weights < least, 0)
    if options.top_p is not None and options.top_p < 1:
        weights = weights.masked_fill(weights < _least_of_nucleus(weights, options.top_p), 0)
    return weights


def _least_of_nucleus(weights: Tensor, share: float) -> Tensor:
    """[B, 1]: the least of the fewest greatest weights, of [B, K], that make up a share of all."""
    wanted = share * weights.sum(1, keepdim=True, dtype=torch.float64)
    greatest = weights.topk(min(_HEAD, weights.shape[1]), 1).values
    if bool((greatest.sum(1, keepdim=True, dtype=torch.float64) <= wanted).any()):
        greatest = weights.sort(1, descending=True).values
    before = greatest.cumsum(1, dtype=torch.float64) - greatest
    return greatest.gather(1, (before < wanted).sum(1, keepdim=True) - 1)
