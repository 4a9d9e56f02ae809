"""Units of a network as torch's `fully_shard` makes them: cut where it suits, gathered in 16 bits and ahead of time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard

from dalle.training.cuts import dim_of
from dalle.training.ranks import Ranks


def fully_sharded(
    modules: Sequence[nn.Module], ranks: Ranks, dtype: torch.dtype, stacked: tuple[str, ...]
) -> list[FSDPModule]:
    """Shard each of some modules, and after them the network that has them all."""
    assert ranks.grid is not None
    count = ranks.shard
    of_maps = {id(value) for name, value in modules[-1].named_parameters() if name.endswith(stacked)}

    def place(value: nn.Parameter) -> Shard | None:
        return Shard(1) if dim_of(tuple(value.shape), count, stacked=id(value) in of_maps) else None

    for module in modules:
        rounded = set[int]() if module is modules[-1] else {id(value) for value in _rounded(module)}
        fully_shard(
            module,
            mesh=ranks.grid["shard"],
            reshard_after_forward=None if module is modules[-1] else True,
            shard_placement_fn=place,
            mp_policy=_policy(dtype, rounded),
        )
    sharded: list[FSDPModule] = [module for module in modules if isinstance(module, FSDPModule)]
    for each in sharded:
        each.set_reduce_scatter_unused_params(True, recurse=False)  # or the flat gradient would change its layout
    return sharded


def _policy(dtype: torch.dtype, rounded: set[int]) -> MixedPrecisionPolicy:
    """Some weights travel as autocast would make them: it then has nothing to copy, which would not be dropped."""
    if dtype.itemsize >= 4 or not rounded:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(
        param_dtype=dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
        param_dtype_override_fn=lambda value: None if id(value) in rounded else value.dtype,
    )


def _rounded(module: nn.Module) -> Iterator[Tensor]:
    """What autocast makes shorter and is large: weights of linear maps; biases have gradients of 32 bits (App. D.3)."""
    for each in module.modules():
        if isinstance(each, nn.Linear):
            yield each.weight


def prefetch(units: Sequence[FSDPModule], *, explicitly: bool) -> None:
    """Gather the next unit while one computes, and on the way back the one before.

    NCCL's streams do it by themselves. On a processor it has to be asked for, and not waited for.
    """
    if not explicitly:
        return
    for unit, following in itertools.pairwise(units):
        unit.set_modules_to_forward_prefetch([following])
        following.set_modules_to_backward_prefetch([unit])
    for unit in units:
        unit._set_unshard_async_op(True)
