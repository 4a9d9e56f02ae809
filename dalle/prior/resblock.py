"""A residual block: what its branch makes of the stream is added to it. A layer has two, attention and an MLP.

The stream stays in 32 bits, also where branches compute in 16 (Ramesh et al. 2021, App. D.2, D.3). A block that is
given a gradient scale has its gradient scaled inside the branch and nowhere else (`dalle.training.gradient_scales`).

What is kept for the gradient, and what is computed again (App. B.4):

| recompute | kept of each block | computed again |
|---|---|---|
| none | all that its gradient needs | |
| selective | what enters it, what matrix products and attention make | norms, GELU and casts |
| blocks | what enters it | its branch |

A function that ends with a product is recomputed only up to what that product needs, for then all is there
(checkpoint's early stop): so `selective` recomputes functions of a cheap part and a product, and no product twice. That
needs no policy of operators, which would keep what the last product of a branch makes, and would not see what attention
does in threads of its own.

Shapes: B examples, L positions, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dalle.prior.attention import Attention
from dalle.prior.config import PriorConfig
from dalle.prior.linear import Linear
from dalle.prior.masks import Kind
from dalle.training.gradient_scales import enter, join

Recompute = Literal["none", "blocks", "selective"]


class MLP(nn.Module):
    """Two linear maps with GELU between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand, self.gelu, self.output = Linear(width, 4 * width), nn.GELU(), Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        return self.finish(self.begin(x))

    def begin(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, 4 D]: the first product."""
        return self.expand(x)

    def finish(self, inside: Tensor) -> Tensor:
        """[B, L, 4 D] to [B, L, D]: what is cheap, and a product."""
        return self.output(self.gelu(inside))


class Resblock(nn.Module):
    """x + branch(x); the branch sees x normalised."""

    def __init__(self, width: int, inner: Attention | MLP, *, recompute: Recompute = "none") -> None:
        super().__init__()
        self.norm, self.inner, self._recompute = nn.LayerNorm(width), inner, recompute
        self.gradient_scale: Tensor | None = None
        """Of the branch's gradient, float32 without dimensions; None leaves it as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        if self.gradient_scale is None:
            return x + self._remembered(x)
        return join(x, self._remembered(enter(x, self.gradient_scale)), self.gradient_scale)

    def _remembered(self, x: Tensor) -> Tensor:
        """The branch, of which so much is kept as was asked for."""
        if self._recompute == "none" or not torch.is_grad_enabled():
            return self.branch(x)
        if self._recompute == "blocks":
            return _again(self.branch, x)
        inside = _again(self._begin, x)
        # between the products of attention is attention itself, which keeps what it needs
        return _again(self.inner.finish, inside) if isinstance(self.inner, MLP) else self.inner.finish(inside)

    def branch(self, x: Tensor) -> Tensor:
        """[B, L, D]: what is added to the stream."""
        return self.inner(self.norm(x))

    def _begin(self, x: Tensor) -> Tensor:
        return self.inner.begin(self.norm(x))

    def measure(self, x: Tensor) -> Tensor:
        """[H]: the entropy of an attention that is the branch, given what `forward` is given."""
        assert isinstance(self.inner, Attention)
        return self.inner.entropy(self.norm(x))


def _again(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of x that keeps only x for the gradient; nothing is drawn in it, so no generator is to be put back."""
    result: Tensor = checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
    return result


class Layer(nn.Module):
    """Two residual blocks, attention and then an MLP."""

    def __init__(self, config: PriorConfig, kind: Kind, *, recompute: Recompute = "none") -> None:
        super().__init__()
        self.kind = kind
        self.attention = Resblock(config.width, Attention(config, kind), recompute=recompute)
        self.mlp = Resblock(config.width, MLP(config.width), recompute=recompute)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        return self.mlp(self.attention(x))

    def attention_entropy(self, x: Tensor) -> Tensor:
        """[H]: nats of a code's attention in each head, given what `forward` is given, [B, L, D]."""
        return self.attention.measure(x)
