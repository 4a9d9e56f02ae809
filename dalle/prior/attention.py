"""Attention over the sequence of text tokens and image codes, by the plan of its layer (see `masks`).

Three ways give the same: blocks and windows, on any device (`windowed`); FlexAttention's block masks, on CUDA (`flex`);
torch's own causal attention, where a layer sees all before it.

Shapes: B examples, L = T + N positions, D = H heads x d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.prior import flex
from dalle.prior.config import PriorConfig
from dalle.prior.layout import Layout
from dalle.prior.linear import Linear
from dalle.prior.masks import Kind
from dalle.prior.windowed import WindowedAttention, arrange, chunks, code_probabilities
from dalle.prior.windows import windows_of


def attend(query_key_value: Tensor, kind: Kind, *, text_length: int, side: int) -> Tensor:
    """What each position sees: values of others, weighted by the softmax of queries with keys.

    Args:
        query_key_value: [B, L, 3, H, d], in any floating point format.
        kind: whom a position sees.
        text_length: T.
        side: h; N is h h.

    Returns:
        [B, L, H, d].
    """
    if kind == "dense":
        query, key, value = query_key_value.permute(2, 0, 3, 1, 4)  # [B, H, L, d] each
        return F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)
    if flex.is_usable(query_key_value):
        return flex.attend(query_key_value, kind, text_length=text_length, side=side)
    return WindowedAttention.apply(query_key_value, _layout(query_key_value, kind, text_length, side))


def code_entropy(query_key_value: Tensor, kind: Kind, *, text_length: int, side: int) -> Tensor:
    """[H]: nats of a code's attention in each head, its mean over examples and codes; arguments as of `attend`.

    Probabilities are made for a few heads at a time and not kept.
    """
    layout = _layout(query_key_value, kind, text_length, side)
    read, device = side * side - 1, query_key_value.device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        query, key, _ = arrange(query_key_value, layout)
        weights = (code_probabilities(query[part], key[part], layout) for part in chunks(query, layout))
        nats = torch.cat([torch.special.entr(each[:, :read].float()).sum((1, 2)) for each in weights])
    return nats.unflatten(0, (len(query_key_value), -1)).mean(0) / max(1, read)


def _layout(query_key_value: Tensor, kind: Kind, text_length: int, side: int) -> Layout:
    return Layout(text_length + 1, windows_of(kind, side, query_key_value.dtype, query_key_value.device))


class Attention(nn.Module):
    """Each position looks at those that its layer's plan lets it see."""

    def __init__(self, config: PriorConfig, kind: Kind) -> None:
        super().__init__()
        self.kind, self._heads = kind, config.heads
        self._text_length, self._side = config.text_length, config.side
        self.query_key_value = Linear(config.width, 3 * config.width)
        self.output = Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        return self.finish(self.begin(x))

    def begin(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, 3, H, d]: the first product."""
        return self.query_key_value(x).unflatten(2, (3, self._heads, -1))

    def finish(self, query_key_value: Tensor) -> Tensor:
        """[B, L, 3, H, d] to [B, L, D]: what each position sees, and a product."""
        mixed = attend(query_key_value, self.kind, text_length=self._text_length, side=self._side)
        return self.output(mixed.flatten(2))

    def entropy(self, x: Tensor) -> Tensor:
        """[H]: nats of a code's attention in each head, given what `forward` is given."""
        return code_entropy(self.begin(x), self.kind, text_length=self._text_length, side=self._side)
