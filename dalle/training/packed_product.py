"""Products with weights that are put once into the order in which the processor's products read them.

It is oneDNN's product as torch's compiler uses it, a private operator of torch: who calls it looks first whether it is
there and fast (`dalle.training.precision`, `dalle.prior.packed`). Activations and sums happen inside of it.

Shapes: R rows, I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor


class PackedProduct:
    """A linear map for use.

    Args:
        weight: [O, I], of the format that is computed in; copied.
        bias: [O] of the same format; None adds none.
        rows: of most inputs, for which the weights are laid out; None lays them out for any.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int | None = None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
        self._bias = None if bias is None else bias.detach()

    def __call__(self, x: Tensor, then: str = "none", how: str = "none") -> Tensor:
        """[R, I] to [R, O], and then nothing, `gelu` (`none` or `tanh`) or `swish`."""
        return torch.ops.mkldnn._linear_pointwise.default(x, self._weight, self._bias, then, [], how)

    def added_to(self, total: Tensor, x: Tensor) -> Tensor:
        """[R, I] to [R, O], and to that a total."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, total, self._weight, self._bias, "add")
