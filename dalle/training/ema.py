"""The exponential moving average of a network's weights (EMA), which is what is used in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dalle.training.checkpoint import like


class Ema:
    """Averaged weights: average = decay * average + (1 - decay) * weights, at each update.

    Args:
        network: whose parameters and buffers are averaged, in float32.
        decay: 0 to 1; the larger, the more steps it looks back on, about 1 / (1 - decay).
        warmup: slows the decay down at first, to at most steps / (steps + warmup): without it, as in the paper, the
            fresh weights count for 1 / (1 - decay) steps.
    """

    def __init__(self, network: nn.Module, decay: float, *, warmup: int = 0) -> None:
        self._network, self._decay, self._warmup = network, decay, warmup
        self._average = {name: value.detach().float().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights of now; `steps` is which update it is, counted from 1."""
        decay = min(self._decay, steps / (steps + self._warmup))
        weights = [value.float() for value in self._network.state_dict().values()]
        torch._foreach_lerp_(list(self._average.values()), weights, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return self._average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from these."""
        self._average = {name: like(state[name], value) for name, value in self._average.items()}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights inside the block, with its own after it."""
        own = {name: value.clone() for name, value in self._network.state_dict().items()}
        self._network.load_state_dict(self._average)
        try:
            yield
        finally:
            self._network.load_state_dict(own)
