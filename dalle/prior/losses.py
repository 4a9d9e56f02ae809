"""What the training of a prior lowers: nats of text tokens and of image codes (Ramesh et al. 2021, App. B.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

VECTORS = 256
"""Feature vectors whose logits are held at a time."""


def nats(layer: nn.Linear, x: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of what a layer makes of some feature vectors, in the precision of its weights.

    A few vectors at a time, and their part of the gradient at once: all logits together are most of a step's memory,
    and to make them again for the gradient is a third more products.

    Args:
        layer: [..., D] to [..., K] logits.
        x: [..., D].
        targets: [...] int64, below K.
    """
    vectors, targets = x.reshape(-1, x.shape[-1]).to(layer.weight.dtype), targets.reshape(-1)
    with torch.autocast(x.device.type, enabled=False):
        if torch.is_grad_enabled():
            return _Nats.apply(vectors, layer.weight, layer.bias, targets)
        parts = zip(vectors.split(VECTORS), targets.split(VECTORS), strict=True)
        losses = [F.cross_entropy(layer(some), theirs, reduction="sum") for some, theirs in parts]
        return torch.stack(losses).sum()


class _Nats(torch.autograd.Function):
    """Cross-entropies and their gradients in one pass; what comes from behind is a factor of all of them."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        total = vectors.new_zeros(())
        of_vectors, of_weight, of_bias = torch.empty_like(vectors), torch.zeros_like(weight), torch.zeros_like(bias)
        for first in range(0, len(vectors), VECTORS):
            some, theirs = vectors[first : first + VECTORS], targets[first : first + VECTORS, None]
            log_probabilities = torch.addmm(bias, some, weight.t()).log_softmax(1)
            total -= log_probabilities.gather(1, theirs).sum()
            of_logits = log_probabilities.exp_()
            of_logits.scatter_add_(1, theirs, of_logits.new_full(theirs.shape, -1.0))
            torch.mm(of_logits, weight, out=of_vectors[first : first + VECTORS])
            of_weight.addmm_(of_logits.t(), some)
            of_bias += of_logits.sum(0)
        ctx.gradients = of_vectors, of_weight, of_bias
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        if ctx.gradients is None:
            raise RuntimeError("the gradient of these losses was taken already; compute them again")
        of_vectors, of_weight, of_bias = (
            gradient.mul_(factor) for gradient in ctx.gradients
        )  # no copy: they are large
        ctx.gradients = None
        return of_vectors, of_weight, of_bias, None


def weighted(text: Tensor, image: Tensor) -> Tensor:
    """The loss: an eighth for the text and seven for the picture, which the paper is after (App. B.3)."""
    return text / 8 + 7 / 8 * image
