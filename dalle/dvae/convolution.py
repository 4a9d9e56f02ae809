"""The convolution that all dVAEs are made of, and its short way for one-hot codes.

Shapes: B pictures, C channels, h x w positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.ranges import Multiple

SHRINK = 8
"""A code stands for a square with this side, in pixels."""
SIDES = Multiple(SHRINK, 1 << 16, SHRINK)
"""That pictures may have, in pixels."""


class Conv2d(nn.Module):
    """A convolution that keeps the size; its tensors are named as released."""

    def __init__(self, n_in: int, n_out: int, kw: int, *, full_precision: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(n_out, n_in, kw, kw) / (n_in * kw**2) ** 0.5)
        self.b = nn.Parameter(torch.zeros(n_out))
        self.full_precision = full_precision
        """Whether it stays in float32 under autocast, as the layers on either side of the codes do."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, H, W] to [B, n_out, H, W]."""
        padding = self.w.shape[-1] // 2
        if not self.full_precision:
            return F.conv2d(x, self.w, self.b, padding=padding)
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.float(), self.w, self.b, padding=padding)


def layer_of(network: nn.Module, name: str) -> Conv2d:
    """A convolution of an encoder or decoder, by its name in `blocks`."""
    layer = network.get_submodule(f"blocks.{name}")
    assert isinstance(layer, Conv2d)
    return layer


def embed(codes: Tensor, layer: nn.Module) -> Tensor:
    """What a 1 x 1 convolution makes of one-hot codes: [B, h, w] to [B, C, h, w], channels last."""
    assert isinstance(layer, Conv2d)
    return (F.embedding(codes, layer.w[:, :, 0, 0].T) + layer.b).permute(0, 3, 1, 2)


def check_pixels(pixels: Tensor) -> Tensor:
    """The very same pixels, [B, 3, H, W].

    Raises:
        ValueError: if they have another shape, or sides that do not fall into whole squares.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % SHRINK or pixels.shape[3] % SHRINK:
        raise ValueError(f"pixels have shape {list(pixels.shape)}, expected [B, 3, H, W], H and W multiples of 8")
    return pixels
