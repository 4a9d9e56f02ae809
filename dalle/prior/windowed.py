"""Attention at the cost of what is attended: text among itself, and each code against all text and its window.

All that a code sees, text and codes, goes through one softmax. A few heads at a time, so that their scores stay in the
processor's cache; scores and probabilities are not kept for the gradient but made again. Keys of the text are never
copied: for all codes of a head it is one product. Only public operators of torch.

Shapes: C heads of any examples at a time, of size d; S = 1 + T positions of the text; N codes, the last of which is not
read; G blocks of Q codes, windows of M codes; R rows (see `layout`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dalle.prior.layout import Layout
from dalle.prior.windows import windows_of
from dalle.training.parallel import for_each

SCORES = 3 << 20
"""Bytes of scores that are held at a time."""
TEXT_QUERIES = 128
"""Positions of the text, about, whose scores are made together; none is compared with what comes after the last."""


def text_probabilities(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Of some positions of the text after others: which look, at which, and how much, [C, n, m].

    Args:
        query: [C, S, d], scaled.
        key: [C, S, d].
    """
    for ours, theirs, later in _text_blocks(query.shape[1], query.dtype, query.device):
        scores = torch.bmm(query[:, ours], key[:, theirs].transpose(1, 2)).add_(later)
        yield ours, theirs, torch.softmax(scores, -1, out=scores)


@functools.lru_cache(maxsize=64)
def _text_blocks(length: int, dtype: torch.dtype, device: torch.device) -> list[tuple[slice, slice, Tensor]]:
    """Which look, at which, and what is added to their scores, [n, m]: minus infinity for what comes later."""
    step = -(-length // max(1, round(length / TEXT_QUERIES)))
    blocks = []
    for first in range(0, length, step):
        end = min(first + step, length)
        later = torch.full((end - first, end), -torch.inf, dtype=dtype).triu_(1 + first).to(device)
        blocks.append((slice(first, end), slice(end), later))
    return blocks


def forget() -> None:
    """Forget the tensors that are made once for all, for instance because they were made without numbers."""
    _text_blocks.cache_clear()
    windows_of.cache_clear()


def code_probabilities(query: Tensor, key: Tensor, layout: Layout) -> Tensor:
    """[C, G Q, S + M]: how much each code looks at every position of the text and of its window.

    Args:
        query: [C, R, d], scaled.
        key: [C, R, d].
        layout: of both.
    """
    codes = layout.of_codes(query)
    scores = query.new_empty(*codes.shape[:2], layout.text + layout.windows.window)
    torch.bmm(codes, layout.of_text(key).transpose(1, 2), out=scores[..., : layout.text])
    local = layout.of_scores(scores)
    torch.bmm(layout.of_blocks(query), layout.of_windows(key).transpose(1, 2), out=local)
    local.unflatten(0, (-1, layout.windows.blocks)).add_(layout.windows.bias)
    return torch.softmax(scores, -1, out=scores)


def mix(heads: Sequence[Tensor], mixed: Tensor, layout: Layout) -> None:
    """What each position sees: values weighted by probabilities.

    Args:
        heads: queries, which are scaled, keys and values, each [C, R, d], arranged.
        mixed: [C, R, d], where the result is written to.
        layout: of both.
    """
    query, key, value = heads
    text, text_value = layout.of_text(mixed), layout.of_text(value)
    for ours, theirs, weights in text_probabilities(layout.of_text(query), layout.of_text(key)):
        torch.bmm(weights, text_value[:, theirs], out=text[:, ours])
    weights = code_probabilities(query, key, layout)
    codes = torch.bmm(weights[..., : layout.text], text_value)
    layout.blocks_of(codes).baddbmm_(layout.of_scores(weights), layout.of_windows(value))
    layout.of_codes(mixed).copy_(codes)


def mix_backward(
    gradient: Tensor, mean: Tensor, heads: Sequence[Tensor], of_heads: Sequence[Tensor], layout: Layout
) -> None:
    """Gradients of scaled queries, keys and values.

    Args:
        gradient: [C, R, d], of what `mix` gives.
        mean: [C, R, 1], products of this with what `mix` gave, summed.
        heads: each [C, R, d], what was mixed.
        of_heads: each [C, R, d], zeros, where the gradients are written to.
        layout: of all.
    """
    query, key, value = heads
    of_query, of_key, of_value = of_heads
    _text_backward(*(layout.of_text(each) for each in (gradient, mean, *heads, *of_heads)))
    weights = code_probabilities(query, key, layout)
    ours, blocks = layout.of_codes(gradient), layout.of_blocks(gradient)
    of_weights = torch.empty_like(weights)
    torch.bmm(ours, layout.of_text(value).transpose(1, 2), out=of_weights[..., : layout.text])
    torch.bmm(blocks, layout.of_windows(value).transpose(1, 2), out=layout.of_scores(of_weights))
    of_scores = of_weights.sub_(layout.of_codes(mean)).mul_(weights)
    on_text, of_text = weights[..., : layout.text], of_scores[..., : layout.text]
    on_codes, of_codes = layout.of_scores(weights), layout.of_scores(of_scores)
    codes = torch.bmm(of_text, layout.of_text(key))
    layout.blocks_of(codes).baddbmm_(of_codes, layout.of_windows(key))
    layout.of_codes(of_query).copy_(codes)
    # the large matrix is not transposed, which in bfloat16 would take longer than the product
    layout.of_text(of_key).add_(torch.bmm(layout.of_codes(query).transpose(1, 2), of_text).transpose(1, 2))
    layout.of_text(of_value).add_(torch.bmm(ours.transpose(1, 2), on_text).transpose(1, 2))
    layout.add_windows(of_key, torch.bmm(of_codes.transpose(1, 2), layout.of_blocks(query)))
    layout.add_windows(of_value, torch.bmm(on_codes.transpose(1, 2), blocks))


def _text_backward(
    gradient: Tensor,
    mean: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    of_query: Tensor,
    of_key: Tensor,
    of_value: Tensor,
) -> None:
    """Gradients of the text's queries, keys and values, [C, S, d] each; see `mix_backward`."""
    for ours, theirs, weights in text_probabilities(query, key):
        of_scores = torch.bmm(gradient[:, ours], value[:, theirs].transpose(1, 2)).sub_(mean[:, ours]).mul_(weights)
        torch.bmm(of_scores, key[:, theirs], out=of_query[:, ours])
        of_key[:, theirs] += torch.bmm(of_scores.transpose(1, 2), query[:, ours])
        of_value[:, theirs] += torch.bmm(weights.transpose(1, 2), gradient[:, ours])


class WindowedAttention(torch.autograd.Function):
    """Queries, keys and values, [B, L, 3, H, d], to what each position sees, [B, L, H, d]."""

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, layout: Layout) -> Tensor:
        """See the class."""
        heads = arrange(query_key_value, layout)
        arranged = torch.empty_like(heads[0])

        def forward_of(part: slice) -> None:
            mix([each[part] for each in heads], arranged[part], layout)

        for_each(forward_of, chunks(arranged, layout), arranged.device)
        mixed = torch.empty_like(query_key_value[:, :, 0])
        layout.restore(arranged.unflatten(0, (len(mixed), -1)), mixed)
        ctx.layout = layout
        ctx.save_for_backward(*heads, mixed)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Gradient of the queries, keys and values."""
        layout: Layout = ctx.layout
        *heads, mixed = ctx.saved_tensors
        mean = layout.arrange((gradient * mixed).sum(-1, keepdim=True)).flatten(0, 1)
        arranged, of_heads = layout.arrange(gradient).flatten(0, 1), [torch.zeros_like(each) for each in heads]

        def backward_of(part: slice) -> None:
            ours, of_ours = ([each[part] for each in some] for some in (heads, of_heads))
            mix_backward(arranged[part], mean[part], ours, of_ours, layout)

        for_each(backward_of, chunks(arranged, layout), arranged.device)
        of_heads[0] *= gradient.shape[-1] ** -0.5
        of_all = gradient.new_empty(*gradient.shape[:2], 3, *gradient.shape[2:])
        for index, of_each in enumerate(of_heads):
            layout.restore(of_each.unflatten(0, (len(gradient), -1)), of_all[:, :, index])
        return of_all, None


def arrange(query_key_value: Tensor, layout: Layout) -> list[Tensor]:
    """Queries, scaled, keys and values of [B, L, 3, H, d], each [B H, R, d]: as they are computed with."""
    heads = [layout.arrange(each).flatten(0, 1) for each in query_key_value.unbind(2)]
    heads[0] *= query_key_value.shape[-1] ** -0.5
    return heads


def chunks(heads: Tensor, layout: Layout) -> Iterator[slice]:
    """Heads of [B H, R, d] whose scores are held at a time: about as many each, in an even number of chunks.

    So that neither of two threads waits for the other, whatever their number: bits are not to depend on that.
    """
    of_head = layout.windows.padded * (layout.text + layout.windows.window) * heads.element_size()
    pairs = -(-len(heads) // (2 * max(1, SCORES // of_head)))
    bounds = [round(len(heads) * i / (2 * pairs)) for i in range(2 * pairs + 1)]
    for first, end in itertools.pairwise(bounds):
        if first < end:
            yield slice(first, end)
