"""A layer of the transformer: attention and two linear maps, each added to the stream.

Shapes: B examples, L positions, D dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from dalle.prior.attention import Attention
from dalle.prior.config import PriorConfig


class Resblock(nn.Module):
    """x + attention, then x + two linear layers; each sees x normalised."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width), nn.GELU(), nn.Linear(4 * config.width, config.width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))
