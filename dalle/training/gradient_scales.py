"""A gradient scale for each residual block, so that float16 holds the gradients of all (Ramesh et al. 2021, App. D.2).

    stream ──┬──────────── 32 bits ───────────── join ──>        forward: stream + branch(stream)
             └─ enter ── branch, 16 bits ─────────┘

On the way back the gradient that comes to a branch is multiplied by its block's scale and only then cast to the format
of the branch (`join`); what leaves the branch is divided by the scale in 32 bits, and what is not finite there becomes
0 (`enter`), so that one block's overflow does not force down the scales of all before it. Gradients of weights keep the
scale until `GradientScales.unscale`. No hooks: both are operators, which recomputation and compilation see like any
other, and a scale is an argument of theirs, never a number baked in.

The loss is divided by the overall batch, of all M processes, and scales have a factor M in return (App. D.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dalle.training.checkpoint import like
from dalle.training.ranks import Ranks
from dalle.training.scaling import Scaling

START, LEAST, MOST = 13_000, 7_000, 24_000
"""Of log2(scale / M), in thousandths: a scale is M 2^13 at first, and from M 2^7 to M 2^24."""
RISE, FALL = 1, 500
"""Likewise, after a good update and a bad one: times 2^(1/1000), by the square root of 2."""
WINDOW = 125
"""Of so many updates in a row at most one makes a scale smaller."""


def enter(stream: Tensor, scale: Tensor) -> Tensor:
    """The stream as a branch sees it; the gradient that leaves the branch there is unscaled and filtered.

    Args:
        stream: any shape, float32.
        scale: of the block, float32 without dimensions.
    """
    result: Tensor = _Enter.apply(stream, scale)
    return result


def join(stream: Tensor, branch: Tensor, scale: Tensor) -> Tensor:
    """The stream, float32, plus what a branch made, in its own format; the gradient of the branch is scaled, then cast.

    Args:
        stream: any shape, float32.
        branch: of the same shape, in any floating point format.
        scale: of the block, float32 without dimensions.
    """
    result: Tensor = _Join.apply(stream, branch, scale)
    return result


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stream: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return stream.view_as(stream)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (scale,) = ctx.saved_tensors
        return (gradient.float() / scale).nan_to_num(0.0, 0.0, 0.0), None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stream: Tensor, branch: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        ctx.dtype = branch.dtype
        return stream + branch

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (scale,) = ctx.saved_tensors
        return gradient, (gradient * scale).to(ctx.dtype), None


class GradientScales(Scaling):
    """The scales of a network's residual blocks, which follow their overflows.

    Args:
        parameters: whose gradients they are, by name, as this process has them; those outside of all blocks have a
            scale of 1.
        blocks: residual blocks by name; each gets its scale, `gradient_scale`, for `enter` and `join`.
        ranks: the M processes that train, each with its share of the batch.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], blocks: Mapping[str, nn.Module], ranks: Ranks) -> None:
        super().__init__(parameters, list(blocks), ranks)
        self._thousandths = torch.full((len(blocks),), START)
        self._since_fall = torch.full((len(blocks),), WINDOW)
        self._scales = torch.empty(len(blocks), device=ranks.device)
        self._take()
        for block, scale in zip(blocks.values(), self._scales.unbind(), strict=True):
            setattr(block, "gradient_scale", scale)  # noqa: B010 - a view: it changes with all of them

    def _take(self) -> None:
        """By 64 bits, so that machines agree on all 24 of the result."""
        exact = torch.exp2(self._thousandths.double() / 1_000) * self._ranks.count
        self._scales.copy_(exact)
        replicas = self._scales.new_full((1,), self._ranks.count)
        self._factors = torch.cat([self._ranks.count / self._scales, replicas])

    @property
    def scales(self) -> dict[str, float]:
        """Of each block, with the factor M."""
        return dict(zip(self._groups, self._scales.tolist(), strict=True))

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients, divided by the batch of all; see `Scaling.backward`."""
        (loss / self._ranks.count).backward()

    def factors(self) -> Tensor:
        """[blocks + 1] float32: M over the scales, for gradients are averaged over processes."""
        return self._factors

    def update(self, overflowed: Tensor) -> None:
        """Follow an update of the weights, also one that was skipped; see `Scaling.update`."""
        overflowed = overflowed[:-1]
        falls = overflowed & (self._since_fall >= WINDOW)
        change = torch.where(overflowed, 0, RISE).where(~falls, -FALL)
        self._thousandths = (self._thousandths + change).clamp(LEAST, MOST)
        self._since_fall = torch.where(falls, 1, (self._since_fall + 1).clamp(max=WINDOW))
        self._take()

    def figures(self) -> dict[str, float]:
        """Of each block log2(scale), for the log; its range is 7 to 24 with M = 1."""
        logs = self._scales.double().log2().tolist()
        return {f"log2_gradient_scale/{name}": value for name, value in zip(self._groups, logs, strict=True)}

    def state_dict(self) -> dict[str, Tensor]:
        """[blocks] int64 each: log2(scale / M) in thousandths; updates since it fell, 125 for those and more."""
        return {"thousandths": self._thousandths, "since_fall": self._since_fall}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with any number of processes."""
        self._thousandths = like(state["thousandths"], self._thousandths).clamp(LEAST, MOST)
        self._since_fall = like(state["since_fall"], self._since_fall).clamp(1, WINDOW)
        self._take()
