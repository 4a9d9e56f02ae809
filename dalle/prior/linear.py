"""A linear map whose bias has its gradient in 32 bits, also where the product has 16 (Ramesh et al. 2021, App. D.3).

The sum over all positions, which that gradient is, overflows in float16 where none of its parts does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Linear(nn.Linear):
    """As torch's, but for the gradient of its bias under autocast to float16."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        device = x.device.type
        if not torch.is_autocast_enabled(device) or torch.get_autocast_dtype(device) != torch.float16:
            return super().forward(x)
        result: Tensor = _Biased.apply(F.linear(x, self.weight), self.bias)
        return result


class _Biased(torch.autograd.Function):
    """A product, [..., outputs] in 16 bits, plus a bias, [outputs] float32."""

    @staticmethod
    def forward(ctx: Any, product: Tensor, bias: Tensor) -> Tensor:
        return product + bias.to(product.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient.sum(tuple(range(gradient.ndim - 1)), dtype=torch.float32)
