"""Bytes that a training step of a prior holds, counted before anything is made.

What autograd keeps for the gradients is not guessed but counted: a layer of each kind runs on tensors that have shapes
and no numbers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from dalle.prior.config import PriorConfig
from dalle.prior.losses import VECTORS
from dalle.prior.masks import Kind, kinds_of
from dalle.prior.network import Prior
from dalle.training.one_thread import one_thread

SINGLE = 4
"""Bytes of a number in single precision."""
GAPS = 0.12
"""Share of all blocks that lies free between them: found for `small` on a processor (benchmarks/prior_proof.py)."""


@dataclass(frozen=True)
class Weights:
    """How many numbers a network has."""

    matrices: int
    """Of the residual blocks."""
    gains_and_biases: int
    embeddings: int
    logits: int
    """Of the two output layers."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.gains_and_biases + self.embeddings + self.logits


@functools.lru_cache(maxsize=8)
def weights_of(config: PriorConfig) -> Weights:
    """Counted on the meta device."""
    with torch.device("meta"):
        prior = Prior(config)
    counts: Counter[str] = Counter()
    for name, value in prior.named_parameters():
        part = name.partition(".")[0]
        if part == "layers":
            part = "matrices" if value.ndim > 1 else "gains_and_biases"
        counts[{"norm": "gains_and_biases", "to_text": "logits", "to_codes": "logits"}.get(part, part)] += value.numel()
    return Weights(**counts)


@dataclass(frozen=True)
class Held:
    """Bytes that a process holds at the peak of a step."""

    weights: int
    gradients: int
    moments: int
    """Both of Adam's."""
    average: int
    kept: int
    """What autograd keeps of a micro-batch."""
    passing: int
    """Copies of the weights in 16 bits, gradients that are not yet added up, and what else is dropped on the way."""
    gaps: int
    """What is free between blocks and too small for others."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.moments + self.average + self.kept + self.passing + self.gaps


def held_by(config: PriorConfig, examples: int, dtype: torch.dtype, *, recompute: bool) -> Held:
    """What a process holds.

    Args:
        config: sizes of the network.
        examples: of a micro-batch.
        dtype: of the layers under autocast.
        recompute: whether only what enters each residual block is kept.
    """
    weights = weights_of(config)
    single = SINGLE * weights.total
    copies = 0 if dtype == torch.float32 else dtype.itemsize * weights.matrices
    kept = kept_for_gradients(config, examples, dtype, recompute=recompute)
    large = SINGLE * (weights.embeddings + weights.logits)
    passing = copies + large + _passing(config, examples, dtype)
    return Held(
        weights=single,
        gradients=single,
        moments=2 * single,
        average=single,
        kept=kept,
        passing=passing,
        gaps=round(GAPS * (5 * single + kept + passing)),
    )


def _passing(config: PriorConfig, examples: int, dtype: torch.dtype) -> int:
    """Of the widest place of a layer's way back: what the MLP holds and its gradient, and some logits."""
    inside = 2 * 4 * config.width * examples * (config.text_length + config.codes) * dtype.itemsize
    return inside + 3 * SINGLE * VECTORS * max(config.vocab_size, config.image_vocab_size)


def kept_for_gradients(config: PriorConfig, examples: int, dtype: torch.dtype, *, recompute: bool) -> int:
    """Bytes that autograd keeps of a forward pass, weights not counted.

    Args: see `held_by`.
    """
    without = _kept(config, (), examples, dtype, recompute=recompute)
    kinds = Counter(kinds_of(config.layers))
    return without + sum(
        count * (_kept(config, (kind,), examples, dtype, recompute=recompute) - without)
        for kind, count in kinds.items()
    )


def _kept(config: PriorConfig, kinds: tuple[Kind, ...], examples: int, dtype: torch.dtype, *, recompute: bool) -> int:
    """Of a network with one layer of a kind, or without any."""
    held: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        base = value if value._base is None else value._base
        held[id(base)] = base  # kept, so that no other gets its number
        return value

    one = dataclasses.replace(config, layers=1)
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    with one_thread(), FakeTensorMode(allow_non_fake_inputs=True):  # tensors without numbers are for one thread only
        prior = Prior(one, recompute=recompute, kinds=kinds or None)
        tokens = (torch.zeros(examples, n, dtype=torch.int64) for n in (config.text_length, config.codes))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value), autocast:
            x = prior.embed(*tokens)
            for layer in prior.layers if kinds else ():
                x = layer(x)
            prior.norm(x).sum()
        own = {id(value) for value in prior.parameters()}
        return sum(value.nbytes for value in held.values() if id(value) not in own)
