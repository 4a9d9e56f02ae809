"""Linear maps whose weights are put once into the order in which the processor's products read them.

`F.linear` of a few rows in bfloat16 puts the weights into that order anew at each call, which takes longer than the
product: of a step of 8 samples the packed maps take about half the time, of 64 likewise. Where the packed product
(`dalle.training.packed_product`) is not there or gives something else, `F.linear` does the same. Bits of the packed
product do not depend on the number of threads, those of `F.linear` may, for 5 or 7 rows for one.

Shapes: R rows, I inputs, O outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.training.packed_product import PackedProduct

_PROBE = 32
"""Side of the product that tells whether packed ones can be had."""


class PackedLinear:
    """A linear map for use, in one number format, with GELU after it if that is wanted.

    Args:
        linear: whose weights and bias are copied.
        dtype: what it computes in, and of its inputs and outputs.
        gelu: the exact GELU of its outputs, before they are rounded where weights are packed.
        packed: whether weights are packed; by default where that can be.
    """

    def __init__(
        self, linear: nn.Linear, dtype: torch.dtype, *, gelu: bool = False, packed: bool | None = None
    ) -> None:
        weight, bias = (value.detach().to(dtype).contiguous() for value in (linear.weight, linear.bias))
        packed = can_pack(dtype, weight.device) if packed is None else packed
        self._product = _packed(weight, bias, gelu) if packed else _plain(weight, bias, gelu)

    def __call__(self, rows: Tensor) -> Tensor:
        """[R, I] to [R, O]."""
        return self._product(rows)


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether torch has the packed product here, in this format, and it gives what `F.linear` gives."""
    return device.type == "cpu" and _gives_the_same(dtype)


@functools.lru_cache(maxsize=4)
def _gives_the_same(dtype: torch.dtype) -> bool:
    drawn = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(_PROBE, _PROBE, generator=drawn).to(dtype) for _ in range(2))
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        expected = F.gelu(F.linear(rows, weight, weight[0])).float()
        try:
            product = _packed(weight, weight[0], gelu=True)(rows).float()
        except (AttributeError, RuntimeError, TypeError):  # another torch, another processor
            return False
    return torch.allclose(expected, product, rtol=0.02, atol=0.02)


def _packed(weight: Tensor, bias: Tensor, gelu: bool) -> Callable[[Tensor], Tensor]:
    product = PackedProduct(weight, bias)
    return functools.partial(product, then="gelu") if gelu else product


def _plain(weight: Tensor, bias: Tensor, gelu: bool) -> Callable[[Tensor], Tensor]:
    if gelu:
        return lambda rows: F.gelu(F.linear(rows, weight, bias))
    return lambda rows: F.linear(rows, weight, bias)
