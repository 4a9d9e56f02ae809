"""What the training of a prior lowers: nats of text tokens and of image codes (Ramesh et al. 2021, App. B.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

VECTORS = 256
"""Feature vectors whose logits are held at a time."""


def nats(layer: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of what a layer makes of some feature vectors.

    A few vectors at a time, whose logits are made anew for the gradient: all at once they are most of a step's memory,
    and on a processor the fresh pages alone take as long as the products.

    Args:
        layer: [..., D] to [..., K] logits.
        x: [..., D].
        targets: [...] int64, below K.
    """
    parts = zip(x.reshape(-1, x.shape[-1]).split(VECTORS), targets.reshape(-1).split(VECTORS), strict=True)
    return torch.stack([checkpoint(_nats, layer, vectors, some, use_reentrant=False) for vectors, some in parts]).sum()


def _nats(layer: nn.Module, vectors: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(layer(vectors).float(), targets, reduction="sum")


def weighted(text: Tensor, image: Tensor) -> Tensor:
    """The loss: an eighth for the text and seven for the picture, which the paper is after (App. B.3)."""
    return text / 8 + 7 / 8 * image
