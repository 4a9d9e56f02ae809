"""Attention over the sequence of text tokens and image codes; so far dense and causal in every layer.

Shapes: B examples, L positions, D = heads x head size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dalle.prior.config import PriorConfig


class Attention(nn.Module):
    """Each position looks at itself and those before it."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        batch, length, width = x.shape
        projected = self.query_key_value(x).view(batch, length, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # [B, heads, L, head size] each
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))
