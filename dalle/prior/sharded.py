"""A prior whose weights are spread over a group of processes: its units, its first weights, its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from dalle.prior.files import save_one_by_one
from dalle.prior.network import Prior
from dalle.prior.resblock import Layer
from dalle.prior.sent import STACKED
from dalle.training import sharded_start
from dalle.training.ranks import Ranks
from dalle.training.sharding import Shards, gathers, not_in_backward
from dalle.training.tensor_file import in_order


def shard(prior: Prior, ranks: Ranks, dtype: torch.dtype) -> Shards:
    """Spread the weights of a prior over the groups of processes; embeddings and each residual block are units.

    Args:
        prior: on the meta device, whose weights are drawn here as those of one process would be, or with the same
            weights on all processes.
        ranks: the processes, with their grid.
        dtype: what autocast computes in.
    """
    is_drawn = not any(value.is_meta for value in prior.parameters())
    blocks = units_of(prior)
    shards = Shards(prior, [prior.embeddings, *blocks], ranks, dtype, STACKED)
    not_in_backward(prior.embeddings)
    if not is_drawn:
        sharded_start.draw(shards, prior.draw)
    gathers(prior, "losses")
    gathers(prior, "attention_entropy")
    for attention in blocks[::2]:
        gathers(attention, "measure")
    return shards


def units_of(prior: Prior) -> list[nn.Module]:
    """The residual blocks, in the order in which they compute: attention and MLP of each layer."""
    layers = [layer for layer in prior.layers if isinstance(layer, Layer)]
    return [unit for layer in layers for unit in (layer.attention, layer.mlp)]


def save(
    prior: Prior,
    shards: Shards,
    parts: Mapping[str, Tensor],
    path: str | os.PathLike[str] | None,
    made_for: Mapping[str, Any],
) -> None:
    """Write whole weights of which this process has parts, a tensor at a time; called on all of a group.

    Args:
        prior: whose sizes they have.
        shards: of the prior.
        parts: this process's, by name, averaged for instance.
        path: of the file; None on processes that only give their parts.
        made_for: see `dalle.prior.files.save`.
    """
    outline = {name: torch.empty(cut.shape, device="meta") for name, cut in shards.cuts.items()}

    def whole(name: str) -> Tensor:
        return shards.whole(name, parts[name].float())

    if path is None:
        for name in in_order(outline):
            whole(name)
    else:
        save_one_by_one(outline, whole, path, {"config": asdict(prior.config), **made_for})
