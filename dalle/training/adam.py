"""AdamW whose moments are kept in two bytes each (Ramesh et al. 2021, App. B.4, D.5): the first as words of 1-6-9, the
second, clipped at 5, as words of 0-6-10 (`formats`). Each step decodes a few of them, computes in single precision, and
rounds what it keeps.

No scale is needed for them to fit. Gradients come unscaled and, where they are clipped by their norm, below 16. Second
moments lose bits below 2^-59 and vanish below 2^-70, where their root is a hundredth of epsilon, 1e-8, to which it is
added; first moments lose bits below 2^-58, where they move a weight by less than 2^-31 of the learning rate. What is
beyond the largest is kept as the largest.

Rounding to the nearest, a moment that decays by less than half of a last place would not decay at all: so betas are at
most 1 - 2^-10 and 1 - 2^-11 (`MOST_BETAS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dalle.training.checkpoint import like
from dalle.training.formats import ONE_SIX_NINE, ZERO_SIX_TEN

MOST_SECOND_MOMENT = 5.0
"""What second moments are clipped at (App. B.4)."""
MOST_BETAS = (1 - 2.0**-10, 1 - 2.0**-11)
"""Decay rates above which kept moments would stand still."""
PIECE = 1 << 18
"""Numbers of a weight that are in single precision at a time."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


class ShortAdamW(torch.optim.Optimizer):
    """AdamW; in groups that say `short`, with moments in two bytes, in others as torch's.

    Args:
        groups: of weights, each with `weight_decay` and `short`.
        lr: the learning rate; each group's own is taken.
        betas: decay rates of the two moments.
        eps: what is added to the root of the second.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float = 1e-8) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "short": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change the weights that have a gradient; there is no closure."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter] or self._begin(parameter, short=group["short"])
                    state["step"] += 1
                    of_all = (parameter, parameter.grad, *(state[name] for name in _MOMENTS))
                    for piece in _pieces(*of_all):
                        _change(piece, int(state["step"]), group)

    def _begin(self, parameter: nn.Parameter, *, short: bool) -> dict[str, Any]:
        dtype = torch.int16 if short else torch.float32
        moments = {name: torch.zeros_like(parameter, dtype=dtype) for name in _MOMENTS}  # a word of 0 is 0
        self.state[parameter] = {"step": torch.zeros(()), **moments}
        return self.state[parameter]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: if moments are of another format.
        """
        short = [group["short"] for group in self.param_groups for _ in group["params"]]
        for index, moments in state_dict["state"].items():
            for name in _MOMENTS:
                found, expected = moments[name].dtype, torch.int16 if short[int(index)] else torch.float32
                if found != expected:
                    raise ValueError(f"{name} of weight {index} is of {found}, expected {expected}")
        super().load_state_dict(dict(state_dict))
        for group in self.param_groups:
            for parameter in group["params"] if group["short"] else ():
                state = self.state.get(parameter, {})
                for name in _MOMENTS if state else ():  # torch has made them what weights are; whole numbers stay exact
                    words = state[name].to(torch.int16)
                    state[name] = like(words, torch.empty_like(parameter, dtype=torch.int16))


def _change(piece: tuple[Tensor, ...], step: int, group: Mapping[str, Any]) -> None:
    """A step of some numbers.

    Args:
        piece: weights, their gradients, and both moments: words, or float32.
        step: which it is, counted from 1.
        group: their options.
    """
    weight, gradient, first, second = piece
    beta1, beta2 = group["betas"]
    short = not first.is_floating_point()
    mean = ONE_SIX_NINE.decode(first) if short else first
    square = ZERO_SIX_TEN.decode(second) if short else second
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    if short:
        mean.clamp_(-ONE_SIX_NINE.largest, ONE_SIX_NINE.largest)
        square.clamp_(max=MOST_SECOND_MOMENT)
        first.copy_(ONE_SIX_NINE.encode(mean))
        second.copy_(ZERO_SIX_TEN.encode(square))
    root = (square.sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    weight.addcdiv_(mean, root, value=-group["lr"] / (1 - beta1**step))


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few numbers of each, as views; all at once where one does not lie in one piece."""
    if all(value.is_contiguous() for value in tensors):
        yield from zip(*(value.view(-1).split(PIECE) for value in tensors), strict=True)
    else:
        yield tensors
