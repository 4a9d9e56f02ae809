"""What a prior's forward pass computes, counted from its plan: products of weights, and who sees whom."""

from __future__ import annotations

from collections import Counter

import torch

from dalle.prior.config import PriorConfig
from dalle.prior.masks import Kind, kinds_of, sees_code

TRAINING = 3
"""Forward passes that a training step costs: gradients of inputs and of weights are one each."""


def forward_flops(config: PriorConfig) -> float:
    """FLOP of one example, two for each product and sum: matrices, attention, logits.

    Counted is what the plan lets positions see, not what an implementation computes beside it; recomputation is not.
    """
    length = config.text_length + config.codes
    matrices = 12 * config.width**2 * length * config.layers
    seen = sum(count * keys_seen(kind, config) for kind, count in Counter(kinds_of(config.layers)).items())
    logits = config.text_length * config.vocab_size + config.codes * config.image_vocab_size
    return 2.0 * (matrices + 2 * config.width * seen + config.width * logits)


def keys_seen(kind: Kind, config: PriorConfig) -> int:
    """Pairs of a position and one that it sees, of one layer and example.

    >>> config = PriorConfig()
    >>> [keys_seen(kind, config) for kind in ("row", "column", "convolution", "dense")]
    [329299, 312928, 353141, 820480]
    """
    text, read = config.text_length + 1, config.codes - 1  # the start is read, the last code is not
    code = torch.arange(read)
    among_codes = int(sees_code(kind, code[:, None], code[None], config.side).sum())
    return text * (text + 1) // 2 + read * text + among_codes
