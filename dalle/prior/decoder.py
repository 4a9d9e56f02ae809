"""The prior's network as it draws: the text at once, then code after code, each from what is kept of those before it.

It computes what `Prior` computes, in an order of its own: weights are packed once, and a step's products are of all
samples. Numbers of a line are never mixed with those of another, so that a sample does not depend on its neighbours; a
caption's text goes through the network alone, for the same reason, and on one thread.

Shapes: C captions, S samples of each, B = C S lines; T positions of text and its start; P codes at the beginning that
are given; H heads of size d, D = H d; K codes of the codebook.
"""

from __future__ import annotations

import functools
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.prior.attention import Attention
from dalle.prior.cache import Batch, LayerCache
from dalle.prior.config import PriorConfig
from dalle.prior.masks import Kind, dense_mask
from dalle.prior.network import Prior
from dalle.prior.packed import PackedLinear
from dalle.prior.resblock import MLP, Layer
from dalle.training.one_thread import one_thread


class Decoder:
    """A prior for use with a fixed shape of batches.

    Args:
        prior: whose weights are copied.
        batch: captions and samples.
        dtype: of the branches: products of weights, keys and values. The stream and the logits have 32 bits.
        packed: whether weights are packed; by default where that can be (see `packed`).
    """

    def __init__(self, prior: Prior, batch: Batch, dtype: torch.dtype, *, packed: bool | None = None) -> None:
        self._embeddings, self._norm, self._batch = prior.embeddings, prior.norm, batch
        self._config = prior.config
        like = torch.empty(0, dtype=dtype, device=prior.norm.weight.device)
        layers = [cast(Layer, layer) for layer in prior.layers]
        self._layers = [DecoderLayer(layer, prior.config, batch, like, packed=packed) for layer in layers]
        self._to_codes = PackedLinear(prior.to_codes, torch.float32, packed=packed)
        row, column = prior.embeddings.row.weight, prior.embeddings.column.weight
        self._grid = (row[:, None] + column[None]).flatten(0, 1).detach().float()  # [N, D]

    def begin(self, caption: int, text_tokens: Tensor, given: Tensor) -> Tensor:
        """Take a caption's text and the codes that all its samples begin with; gives logits of the next, [K].

        Args:
            caption: its number in the batch.
            text_tokens: [T - 1] int64.
            given: [P] int64, fewer than a picture has.
        """
        embed = self._embeddings
        text = embed.text(text_tokens) + embed.text_position.weight
        x = torch.cat([embed.start[None], text, embed.code(given) + self._grid[: len(given)]]).float()
        with one_thread():
            for layer in self._layers:
                layer.begin(x, caption)
            return self._logits(x[-1:])[0]

    def step(self, codes: Tensor, position: int) -> Tensor:
        """Logits of the codes at the next position, [B, K] float32, from those at this one, [B] int64."""
        x = (self._embeddings.code(codes) + self._grid[position]).float()
        for layer in self._layers:
            layer.step(x, position)
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        return self._to_codes(self._norm(x))


class DecoderLayer:
    """Both branches of a layer, and what is kept for its attention.

    Args:
        layer: whose weights are copied.
        config: the network's sizes.
        batch: captions and samples.
        like: a tensor of the format and on the device.
        packed: see `Decoder`.
    """

    def __init__(
        self, layer: Layer, config: PriorConfig, batch: Batch, like: Tensor, *, packed: bool | None = None
    ) -> None:
        attention, mlp = cast(Attention, layer.attention.inner), cast(MLP, layer.mlp.inner)
        make = functools.partial(PackedLinear, dtype=like.dtype, packed=packed)
        self._kind, self._config, self._batch, self._dtype = layer.kind, config, batch, like.dtype
        self._norms = layer.attention.norm, layer.mlp.norm
        self._project, self._output = make(attention.query_key_value), make(attention.output)
        self._expand, self._shrink = make(mlp.expand, gelu=True), make(mlp.output)
        self._cache = LayerCache(layer.kind, config, batch, like)
        self._text = config.text_length + 1

    def begin(self, x: Tensor, caption: int) -> None:
        """Put a caption's text and given codes, [T + P, D] float32, through the layer, in place, and keep them."""
        heads = self._project_heads(x, 1, len(x))[:, 0]  # [3, H, T + P, d]
        self._cache.begin(caption, heads[1:])
        mask = None if len(x) == self._text else dense_mask_of(self._kind, self._config, x.device)[: len(x), : len(x)]
        query, key, value = heads[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None, scale=1.0)
        self._add(x, mixed)

    def step(self, x: Tensor, position: int) -> None:
        """Put the codes at a position, [B, D] float32, through the layer, in place."""
        heads = self._project_heads(x, self._batch.captions, self._batch.samples)
        self._cache.codes.write(position, heads[1:])
        self._add(x, self._attend(heads[0], position))

    def _project_heads(self, x: Tensor, groups: int, lines: int) -> Tensor:
        """Scaled queries, keys and values of [groups lines, D], [3, groups, H, lines, d]."""
        rows = self._project(self._norms[0](x).to(self._dtype))
        heads = rows.view(groups, lines, 3, self._config.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
        heads[0] *= self._config.head_size**-0.5
        return heads

    def _attend(self, query: Tensor, position: int) -> Tensor:
        """What each line sees, [C, H, S, d], from scaled queries, by one softmax over text and codes."""
        text_key, text_value = self._cache.text
        (key, value), bias = self._cache.codes.read(position)
        lines, each = query.flatten(0, 1), query.view(-1, 1, query.shape[-1])  # [C H, S, d] and [C H S, 1, d]
        of_text = torch.bmm(lines, text_key.transpose(1, 2))
        of_codes = torch.bmm(each, key.transpose(1, 2)).view(*lines.shape[:2], -1)
        if bias is not None:
            of_codes += bias
        # not written side by side at once: where a product's result has gaps, its bits may depend on the threads
        weights = torch.softmax(torch.cat([of_text, of_codes], -1), -1)
        mixed = torch.bmm(weights[..., : self._text], text_value)
        mixed.view_as(each).baddbmm_(weights[..., self._text :].flatten(0, 1).unsqueeze(1), value)
        return mixed.view_as(query)

    def _add(self, x: Tensor, mixed: Tensor) -> None:
        """Add to the stream what the attention, [groups, H, lines, d], and then the MLP make of it."""
        x += self._output(mixed.transpose(1, 2).reshape(x.shape))
        x += self._shrink(self._expand(self._norms[1](x).to(self._dtype)))


@functools.lru_cache(maxsize=16)
def dense_mask_of(kind: Kind, config: PriorConfig, device: torch.device) -> Tensor:
    """The mask of a layer; see `masks.dense_mask`."""
    return dense_mask(kind, text_length=config.text_length, side=config.side).to(device)
