"""The exponential moving average of a network's weights (EMA), which is what is used in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

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
        weights: gives what is averaged instead, by name, such as this process's parts of the weights.
    """

    def __init__(
        self,
        network: nn.Module,
        decay: float,
        *,
        warmup: int = 0,
        weights: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        self._decay, self._warmup, self._weights = decay, warmup, network.state_dict if weights is None else weights
        self._average = {name: value.detach().float().clone() for name, value in self._weights().items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights of now; `steps` is which update it is, counted from 1."""
        decay = min(self._decay, steps / (steps + self._warmup))
        weights = [value.float() for value in self._weights().values()]
        torch._foreach_lerp_(list(self._average.values()), weights, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return self._average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from these."""
        self._average = {name: like(state[name], value) for name, value in self._average.items()}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights inside the block, with its own after it.

        They change places one by one: a second copy of all weights would be the peak of a training's memory. A signal
        must not raise while they do, so `schemas.commands.stopping.at_once` belongs into the block, not around it.
        """
        kept = self._exchange({})
        try:
            yield
        finally:
            self._exchange(kept)

    @torch.no_grad()
    def _exchange(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights and averages change places; gives copies of what is not in single precision, or puts them back."""
        others = {}
        for name, value in self._weights().items():
            average = self._average[name]
            if name in kept:
                value.copy_(kept[name])
            elif value.dtype == average.dtype:
                own = value.clone()
                value.copy_(average)
                average.copy_(own)
            else:
                others[name] = value.clone()
                value.copy_(average)
        return others
