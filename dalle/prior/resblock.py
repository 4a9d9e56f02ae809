"""A residual block: what its branch makes of the stream is added to it. A layer has two, attention and an MLP.

The stream stays in 32 bits, also where branches compute in 16 (Ramesh et al. 2021, App. D.2, D.3). With recomputation
only what enters a block is kept for the gradient, and its branch is computed again (App. B.4).

Shapes: B examples, L positions, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dalle.prior.attention import Attention
from dalle.prior.config import PriorConfig
from dalle.prior.masks import Kind


class MLP(nn.Module):
    """Two linear maps with GELU between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand, self.gelu, self.output = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        return self.output(self.gelu(self.expand(x)))


class Resblock(nn.Module):
    """x + branch(x); the branch sees x normalised."""

    def __init__(self, width: int, inner: nn.Module, *, recompute: bool = False) -> None:
        super().__init__()
        self.norm, self.inner, self._recompute = nn.LayerNorm(width), inner, recompute

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        if self._recompute and torch.is_grad_enabled():
            # nothing is drawn in a branch, so there is no generator to put back
            return x + checkpoint(self.branch, x, use_reentrant=False, preserve_rng_state=False)
        return x + self.branch(x)

    def branch(self, x: Tensor) -> Tensor:
        """[B, L, D]: what is added to the stream."""
        return self.inner(self.norm(x))


class Layer(nn.Module):
    """Two residual blocks, attention and then an MLP."""

    def __init__(self, config: PriorConfig, kind: Kind, *, recompute: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.attention = Resblock(config.width, Attention(config, kind), recompute=recompute)
        self.mlp = Resblock(config.width, MLP(config.width), recompute=recompute)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        return self.mlp(self.attention(x))

    def attention_entropy(self, x: Tensor) -> Tensor:
        """[H]: nats of a code's attention in each head, given what `forward` is given, [B, L, D]."""
        attention = self.attention.inner
        assert isinstance(attention, Attention)
        return attention.entropy(self.attention.norm(x))
