"""The same attention on CUDA: FlexAttention compiles a plan into a kernel that skips blocks which nobody sees.

Not used elsewhere: on a processor its backward does not exist. What can be is tested there: that its masks are those of
`masks`, and that its forward gives what the blocks and windows give.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dalle.prior.masks import Kind, sees

LEAST_HEAD_SIZE = 16
"""FlexAttention's kernels refuse less."""
VARIANTS = 64
"""Of kinds, number formats and sizes that it is compiled for, at most."""


def is_usable(query_key_value: Tensor) -> bool:
    """Whether FlexAttention computes [B, L, 3, H, d] on this device."""
    return query_key_value.is_cuda and query_key_value.shape[-1] >= LEAST_HEAD_SIZE


def attend(query_key_value: Tensor, kind: Kind, *, text_length: int, side: int) -> Tensor:
    """[B, L, H, d]; see `attention.attend`."""
    query, key, value = query_key_value.permute(2, 0, 3, 1, 4)  # [B, H, L, d] each
    mask = block_mask(kind, text_length, side, query_key_value.device)
    mixed: Tensor = _compiled()(query, key, value, block_mask=mask)
    return mixed.transpose(1, 2)


@functools.lru_cache(maxsize=64)
def block_mask(kind: Kind, text_length: int, side: int, device: torch.device) -> Any:
    """The blocks of 128 x 128 of a plan that anybody sees."""
    from torch.nn.attention.flex_attention import create_block_mask

    length = text_length + side * side
    return create_block_mask(mask_function(kind, text_length, side), None, None, length, length, device=device)


def mask_function(kind: Kind, text_length: int, side: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Whether a query sees a key, as FlexAttention asks: of example, head, query and key."""

    def sees_key(_example: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sees(kind, query, key, text_length=text_length, side=side)

    return sees_key


@functools.lru_cache(maxsize=1)
def _compiled() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    # beyond its limit it would compute all scores: three kinds, trained and looked at, and batches that are cut
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(flex_attention, dynamic=False)
