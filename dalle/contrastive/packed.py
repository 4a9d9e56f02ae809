"""The towers of an open_clip model in bfloat16, for use only: on a processor as fast as it multiplies.

What takes the time (the residual blocks, and the patches' first product) is replaced inside open_clip's own model,
whose code goes on doing the rest in single precision: positions, the norms before and after, pooling, projection.
Weights are packed once for oneDNN, the activation and the sums of the residual stream happen inside the products, and
patches are rows of a matrix, for a convolution whose kernels do not overlap runs at a seventh of that.

Towers of other kinds (ResNets, those of timm and of Hugging Face) stay as they are and run under autocast.

B texts or pictures, L positions, D channels, H heads.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip import CLIP
from open_clip.transformer import (
    LayerNorm,
    QuickGELU,
    ResidualAttentionBlock,
    TextTransformer,
    Transformer,
    VisionTransformer,
)
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.training.packed_product import PackedProduct

_SWISH = 1.702
"""QuickGELU is swish(1.702 x) / 1.702."""
_ACTIVATIONS = (nn.GELU, QuickGELU)


def pack(network: nn.Module, rows: int) -> bool:
    """Replace what takes the time in the towers of an open_clip model, in place.

    Args:
        network: in single precision, in evaluation mode, on a processor that `has_fast_bfloat16`.
        rows: positions of a batch of pictures, for which the weights are laid out.

    Returns:
        Whether both towers were packed; those that could not be have to run under autocast.
    """
    text: Any = getattr(network, "text", network)  # in a CLIP itself the text tower's parts are attributes of its own
    visual: Any = network.visual
    text_fits = _masks_nothing_more(text) and _is_plain(getattr(text, "transformer", None))
    if text_fits:
        text.transformer = PackedBlocks(text.transformer, rows)
    visual_fits = isinstance(visual, VisionTransformer) and _is_plain(visual.transformer)
    if visual_fits:
        visual.transformer = PackedBlocks(visual.transformer, rows)
        visual.conv1 = PatchProduct(visual.conv1, rows)
    return text_fits and visual_fits


def _masks_nothing_more(text: nn.Module) -> bool:
    """Whether positions see those before them, or all, whatever the text."""
    return isinstance(text, CLIP) or (
        isinstance(text, TextTransformer) and text.cls_emb is None and not text.use_pad_mask
    )


def _is_plain(transformer: object) -> bool:
    """Whether all its blocks are attention and an MLP with nothing in between."""
    return isinstance(transformer, Transformer) and all(
        type(block) is ResidualAttentionBlock
        and isinstance(block.ls_1, nn.Identity)
        and isinstance(block.ls_2, nn.Identity)
        and isinstance(block.mlp.gelu, _ACTIVATIONS)
        and isinstance(block.ln_1, LayerNorm)
        and not hasattr(block, "ln_1_kv")
        for block in transformer.resblocks
    )


def _product(weight: Tensor, bias: Tensor | None, rows: int) -> PackedProduct:
    return PackedProduct(weight.detach().bfloat16(), None if bias is None else bias.detach().bfloat16(), rows)


class _Block:
    """A residual block: attention, then two products with an activation in between."""

    def __init__(self, block: nn.Module, rows: int) -> None:
        assert isinstance(block, ResidualAttentionBlock)
        attention, first, last = block.attn, block.mlp.c_fc, block.mlp.c_proj
        quick = isinstance(block.mlp.gelu, QuickGELU)
        gain = _SWISH if quick else 1.0
        self._heads = attention.num_heads
        self._then = ("swish", "none") if quick else ("gelu", block.mlp.gelu.approximate)
        self._norms = [
            (norm.weight.detach().bfloat16(), norm.bias.detach().bfloat16(), norm.eps)
            for norm in (block.ln_1, block.ln_2)
        ]
        self._in = _product(attention.in_proj_weight, attention.in_proj_bias, rows)
        self._out = _product(attention.out_proj.weight, attention.out_proj.bias, rows)
        self._first = _product(first.weight * gain, first.bias * gain, rows)
        self._last = _product(last.weight / gain, last.bias, rows)

    def __call__(self, x: Tensor, length: int, *, causal: bool) -> Tensor:
        """[B L, D] to the same."""
        x = self._out.added_to(x, self._attended(self._in(self._normed(x, 0)), length, causal=causal))
        return self._last.added_to(x, self._first(self._normed(x, 1), *self._then))

    def _normed(self, x: Tensor, which: int) -> Tensor:
        weight, bias, eps = self._norms[which]
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def _attended(self, heads: Tensor, length: int, *, causal: bool) -> Tensor:
        """[B L, 3 D] to [B L, D]."""
        rows, width = heads.shape
        q, k, v = heads.view(rows // length, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # [B, H, L, D / H]
        return mixed.transpose(1, 2).reshape(rows, width // 3)


class PackedBlocks(nn.Module):
    """In place of `open_clip.transformer.Transformer`: float32 in and out, bfloat16 between."""

    def __init__(self, transformer: Transformer, rows: int) -> None:
        super().__init__()
        self.width, self.layers = transformer.width, transformer.layers
        self._blocks = [_Block(block, rows) for block in transformer.resblocks]

    def get_cast_dtype(self) -> torch.dtype:
        """What comes in."""
        return torch.float32

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """[B, L, D] to the same; with a mask, which is the causal one, positions see those before them."""
        stream = x.bfloat16().reshape(-1, x.shape[-1])
        for block in self._blocks:
            stream = block(stream, x.shape[1], causal=attn_mask is not None)
        return stream.view(x.shape).float()


class PatchProduct(nn.Module):
    """In place of the convolution that makes patches to channels: each patch is a row."""

    def __init__(self, convolution: nn.Conv2d, rows: int) -> None:
        super().__init__()
        self._side = convolution.kernel_size
        self._product = _product(convolution.weight.flatten(1), convolution.bias, rows)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] float32 to [B, D, s, s] float32, channels last."""
        (height, width), (batch, channels, rows, columns) = self._side, pixels.shape
        grid = rows // height, columns // width
        inside = pixels[:, :, : grid[0] * height, : grid[1] * width].bfloat16()
        patches = inside.reshape(batch, channels, grid[0], height, grid[1], width).permute(0, 2, 4, 1, 3, 5)
        out = self._product(patches.reshape(-1, channels * height * width))
        return out.float().view(batch, *grid, -1).permute(0, 3, 1, 2)
