"""The first weights of a network that is sharded: those of one process, while no process ever holds all of them.

A network draws its weights twice: each layer as torch makes it, and then all of them as the paper has it. Both are done
again here, tensor by tensor, in the same order and from the same generator; of each a process keeps its part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dalle.training.sharding import Shards


@torch.no_grad()
def draw(shards: Shards, draw_weights: Callable[[str, Tensor], bool]) -> None:
    """Draw the weights of a network that was made on the meta device.

    Args:
        shards: of the network.
        draw_weights: what the network does to each of its weights in the order of `named_parameters`, given the name
            and a tensor of the whole, in place; False if it leaves them as their layer drew them.
    """
    parts = shards.weights()
    for name, module in shards.network.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            _reset(module, reset, name, shards)
    for name, part in parts.items():
        whole = torch.empty(shards.cuts[name].shape, dtype=part.dtype)
        if draw_weights(name, whole):
            part.copy_(shards.cuts[name](whole))


def _reset(module: nn.Module, reset: Callable[[], None], name: str, shards: Shards) -> None:
    """Have a layer draw its weights anew, as whole tensors on the processor, of which the parts are taken."""
    own = {key: value for key, value in module._parameters.items() if value is not None}
    try:
        for key, value in own.items():
            module._parameters[key] = nn.Parameter(torch.empty(value.shape, dtype=value.dtype))
        reset()
        wholes = {key: module._parameters[key] for key in own}
    finally:
        module._parameters.update(own)
    for key, whole in wholes.items():
        assert whole is not None
        full = f"{name}.{key}" if name else key
        shards.parameters[full].copy_(shards.cuts[full](whole))
