"""Bytes that a training step of a prior holds, counted before anything is made.

What autograd keeps for the gradients is not guessed but counted: a layer of each kind runs on tensors that have shapes
and no numbers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dalle.prior.config import PriorConfig
from dalle.prior.losses import VECTORS
from dalle.prior.masks import Kind, kinds_of
from dalle.prior.network import Prior
from dalle.prior.resblock import Recompute
from dalle.prior.sent import error_bytes, units
from dalle.prior.windowed import forget
from dalle.training.one_thread import one_thread
from dalle.training.steps import Moments

SINGLE, SHORT = 4, 2
"""Bytes of a number in single precision, and of a word of the paper's formats."""
GLOO_COPIES = 3
"""Of what is reduced and scattered: what is given to gloo, a clone of it, and where it receives."""
GAPS = 0.12
"""Share of all blocks that lies free between them: found for `small` on a processor (benchmarks/prior_proof.py)."""
SHARD_GAPS = 0.03
"""Likewise where processes hold the weights together: on a processor they then give large blocks back (`machine`)."""


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
    """Its part of them, where several hold them together; likewise gradients, moments and average."""
    gradients: int
    moments: int
    """Both of Adam's."""
    average: int
    errors: int
    """Error buffers of PowerSGD, and the factors that it keeps."""
    gathered: int
    """Whole weights, where several processes hold them: of two residual blocks, and of what is in none."""
    kept: int
    """What autograd keeps of a micro-batch."""
    passing: int
    """Copies of the weights in 16 bits, gradients that are not yet added up, and what else is dropped on the way."""
    gaps: int
    """What is free between blocks and too small for others."""

    @property
    def total(self) -> int:
        """All of it."""
        own = self.weights + self.gradients + self.moments + self.average + self.errors
        return own + self.gathered + self.kept + self.passing + self.gaps


def held_by(
    config: PriorConfig,
    examples: int,
    dtype: torch.dtype,
    *,
    recompute: Recompute,
    moments: Moments = "float32",
    shard: int = 1,
    copies: int = 1,
    powersgd_rank: int = 0,
) -> Held:
    """What a process holds.

    Args:
        config: sizes of the network.
        examples: of a micro-batch.
        dtype: of the layers under autocast.
        recompute: what is computed again for the gradient (`resblock`).
        moments: number format of Adam's.
        shard: how many processes hold the weights together (`dalle.training.sharding`).
        copies: of a gradient on its way to other processes: 1 with NCCL, `GLOO_COPIES` with gloo.
        powersgd_rank: of the factors of a whole matrix's gradient; 0 compresses nothing.
    """
    weights = weights_of(config)
    if shard > 1 or powersgd_rank:
        held = _held_together(config, examples, dtype, recompute=recompute, moments=moments, shard=shard, copies=copies)
        return replace(held, errors=error_bytes(units(config, shard, powersgd_rank), powersgd_rank, shard))
    single = SINGLE * weights.total
    copies = 0 if dtype == torch.float32 else dtype.itemsize * weights.matrices
    kept = kept_for_gradients(config, examples, dtype, recompute=recompute)
    large = SINGLE * (weights.embeddings + weights.logits)
    passing = copies + large + _passing(config, examples, dtype)
    of_moments = _moments(weights, moments)
    return Held(
        weights=single,
        gradients=single,
        moments=of_moments,
        average=single,
        errors=0,
        gathered=0,
        kept=kept,
        passing=passing,
        gaps=round(GAPS * (3 * single + of_moments + kept + passing)),
    )


def _held_together(
    config: PriorConfig,
    examples: int,
    dtype: torch.dtype,
    *,
    recompute: Recompute,
    moments: Moments,
    shard: int,
    copies: int,
) -> Held:
    """What one of several processes holds that hold the weights together.

    Linear maps travel in the shorter format, so that autocast copies nothing; a residual block's gradient is there as
    it was made and once more in single precision, on its way to the others. In the end, when no activations are left,
    the same goes for the output layers and then for the embeddings, whichever are more.
    """
    weights, width, short = weights_of(config), config.width, min(SINGLE, dtype.itemsize)
    single = SINGLE * weights.total // shard
    mlp, attention = 8 * width * width, 4 * width * width
    embeddings, logits = SINGLE * weights.embeddings, SINGLE * weights.logits
    gathered = logits + short * (mlp + attention)
    kept = kept_for_gradients(config, examples, dtype, recompute=recompute, copies=False)
    in_blocks = logits + short * mlp + copies * SINGLE * mlp + _passing(config, examples, dtype)
    at_the_end = (1 + copies) * max(embeddings, logits) - gathered - kept
    passing = max(in_blocks, at_the_end)
    of_moments = _moments(weights, moments) // shard
    return Held(
        weights=single,
        gradients=single,
        moments=of_moments,
        average=single,
        errors=0,
        gathered=gathered,
        kept=kept,
        passing=passing,
        gaps=round(SHARD_GAPS * (3 * single + of_moments + gathered + kept + passing)),
    )


def _moments(weights: Weights, format_: Moments) -> int:
    """Of both, of all weights."""
    return 2 * SINGLE * weights.total - (2 * (SINGLE - SHORT) * weights.matrices if format_ == "paper" else 0)


def _passing(config: PriorConfig, examples: int, dtype: torch.dtype) -> int:
    """Of the widest place of a layer's way back: what the MLP holds and its gradient, and some logits."""
    inside = 2 * 4 * config.width * examples * (config.text_length + config.codes) * dtype.itemsize
    return inside + 3 * SINGLE * VECTORS * max(config.vocab_size, config.image_vocab_size)


def kept_for_gradients(
    config: PriorConfig, examples: int, dtype: torch.dtype, *, recompute: Recompute, copies: bool = True
) -> int:
    """Bytes that autograd keeps of a forward pass, weights not counted.

    Args:
        config: and the next ones: see `held_by`.
        examples: see there.
        dtype: see there.
        recompute: see there.
        copies: whether autocast makes shorter copies of the weights of linear maps, which are kept as well.
    """

    def kept(*kinds: Kind) -> int:
        one = dataclasses.replace(config, layers=1)
        with one_thread(), FakeTensorMode(allow_non_fake_inputs=True):  # tensors without numbers: for one thread only
            prior = Prior(one, recompute=recompute, kinds=kinds or None)
            if not copies:
                for module in prior.layers.modules():
                    if isinstance(module, nn.Linear):
                        for name, value in list(module.named_parameters()):
                            setattr(module, name, nn.Parameter(value.detach().to(dtype)))
            return _kept(prior, examples, dtype, layers=bool(kinds))

    try:
        without = kept()
        return without + sum(count * (kept(kind) - without) for kind, count in Counter(kinds_of(config.layers)).items())
    finally:
        forget()  # or a training in this process would be given masks without numbers


def _kept(prior: Prior, examples: int, dtype: torch.dtype, *, layers: bool) -> int:
    """Of a network of fake tensors, its layers used or not."""
    held: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        base = value if value._base is None else value._base
        held[id(base)] = base  # kept, so that no other gets its number
        return value

    lengths = (prior.config.text_length, prior.config.codes)
    tokens = (torch.zeros(examples, length, dtype=torch.int64) for length in lengths)
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value), autocast:
        x = prior.embed(*tokens)
        for layer in prior.layers if layers else ():
            x = layer(x)
        prior.norm(x).sum()
    own = {id(value) for value in prior.parameters()}
    return sum(value.nbytes for value in held.values() if id(value) not in own)
