"""Attention block by block is attention under a dense mask: outputs, gradients, entropies; nothing else is seen."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from dalle.prior import flex, windowed
from dalle.prior.attention import attend, code_entropy
from dalle.prior.layout import Layout
from dalle.prior.masks import Kind, dense_mask
from dalle.prior.windows import windows_of

KINDS: tuple[Kind, ...] = ("row", "column", "convolution")
kinds = pytest.mark.parametrize("kind", KINDS)


def oracle(query_key_value: Tensor, kind: Kind, text_length: int, side: int) -> Tensor:
    """[B, L, 3, H, d] to [B, L, H, d]: every score, a mask, one softmax."""
    query, key, value = query_key_value.permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    mask = dense_mask(kind, text_length=text_length, side=side)[:-1, :-1]
    return (scores.masked_fill(~mask, -math.inf).softmax(-1) @ value).transpose(1, 2)


def some_heads(text: int, side: int, batch: int, heads: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Queries, keys and values, and a gradient."""
    rng = torch.Generator().manual_seed(seed)
    shape = (batch, text + side * side, 3, heads, size)
    return torch.randn(shape, generator=rng), torch.randn(*shape[:2], *shape[3:], generator=rng)


def check_equal(kind: Kind, text: int, side: int, batch: int, heads: int, size: int) -> None:
    """Outputs and all gradients within 1e-5 of the oracle's."""
    ours, gradient = some_heads(text, side, batch, heads, size)
    theirs = ours.clone().requires_grad_()
    ours.requires_grad_()
    mixed, expected = attend(ours, kind, text_length=text, side=side), oracle(theirs, kind, text, side)
    torch.testing.assert_close(mixed, expected, rtol=1e-5, atol=1e-5)
    mixed.backward(gradient)
    expected.backward(gradient)
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


@given(
    kind=st.sampled_from(KINDS),
    side=st.integers(1, 14),
    text=st.integers(1, 40),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    size=st.integers(1, 9),
    scores=st.sampled_from([1, 40_000, windowed.SCORES]),
)
def test_it_is_that_under_a_dense_mask(
    kind: Kind, side: int, text: int, batch: int, heads: int, size: int, scores: int
) -> None:
    """Of any size, one head at a time or many; grids of an odd side and smaller than the kernel too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windowed, "SCORES", scores)
        check_equal(kind, text, side, batch, heads, size)


@pytest.mark.parametrize(("text", "side"), [(256, 32), (300, 19), (32, 12)])
@kinds
def test_at_the_sizes_that_are_trained(kind: Kind, text: int, side: int) -> None:
    """The paper's; a text of several blocks; a small grid."""
    check_equal(kind, text, side, batch=1, heads=2, size=64)


@kinds
def test_the_cost_is_that_of_what_is_attended(kind: Kind) -> None:
    """Of 32 x 32 codes a code's scores are made with the text and a window, not with all codes."""
    windows = windows_of(kind, 32, torch.float32, torch.device("cpu"))
    assert {"row": 64, "column": 32, "convolution": 197}[kind] == windows.window
    assert 1024 == windows.padded
    seen = torch.isfinite(windows.bias).sum()
    assert dense_mask(kind, text_length=1, side=32)[2:, 2:].sum() == seen


@kinds
def test_only_who_may_see_a_position_is_moved_by_it(kind: Kind) -> None:
    """After one layer: bit for bit nothing moves elsewhere, and all who see it do move."""
    text, side = 5, 7
    mask = dense_mask(kind, text_length=text, side=side)[:-1, :-1]
    heads, _ = some_heads(text, side, 1, 2, 8)
    before = attend(heads, kind, text_length=text, side=side)
    for position in range(len(mask)):
        changed = heads.clone()
        changed[:, position] += 1
        after = attend(changed, kind, text_length=text, side=side)
        assert torch.equal(mask[:, position], (before != after).any(3).all(2)[0])
        assert torch.equal(mask[:, position], (before != after).any(3).any(2)[0])


@kinds
def test_in_16_bits(kind: Kind) -> None:
    """Under autocast of a processor: close to single precision, gradients in the format of what they are of."""
    heads, gradient = some_heads(20, 9, 2, 2, 16)
    short = heads.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend(short, kind, text_length=20, side=9)
    mixed.backward(gradient.bfloat16())
    exact = short.detach().float().requires_grad_()
    expected = oracle(exact, kind, 20, 9)
    expected.backward(gradient.bfloat16().float())
    assert short.grad is not None
    assert (torch.bfloat16, torch.bfloat16) == (mixed.dtype, short.grad.dtype)
    torch.testing.assert_close(mixed.float(), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(short.grad.float(), exact.grad, rtol=0.05, atol=0.05)


def test_dense_is_causal() -> None:
    heads, _ = some_heads(3, 4, 2, 2, 8)
    torch.testing.assert_close(attend(heads, "dense", text_length=3, side=4), oracle(heads, "dense", 3, 4))


@pytest.mark.parametrize("kind", [*KINDS, "dense"])
@pytest.mark.parametrize("side", [1, 6])
def test_entropy(kind: Kind, side: int) -> None:
    """Of each head, over codes that are read, in nats; of equal scores the logarithm of how many are seen."""
    heads, _ = some_heads(4, side, 2, 3, 5)
    query, key, _ = heads.permute(2, 0, 3, 1, 4)
    mask = dense_mask(kind, text_length=4, side=side)[:-1, :-1]
    scores = (query @ key.transpose(-1, -2) / 5**0.5).masked_fill(~mask, -math.inf)
    expected = torch.special.entr(scores.softmax(-1))[:, :, 5:].sum(3).mean(0)
    expected = expected.mean(1) if side > 1 else torch.zeros(3)
    torch.testing.assert_close(code_entropy(heads, kind, text_length=4, side=side), expected)
    if side > 1:
        equal = mask[5:].sum(1).double().log().mean().float()
        heads[:, :, 0] = 0
        torch.testing.assert_close(code_entropy(heads, kind, text_length=4, side=side), equal.expand(3))


@kinds
def test_flex_attention_has_the_same_masks(kind: Kind) -> None:
    """What CUDA would compute: the mask position by position, and the forward, which a processor can do, too."""
    from torch.nn.attention.flex_attention import flex_attention

    text, side = 30, 12
    position = torch.arange(text + side * side)
    nothing = torch.tensor(0)
    mask = flex.mask_function(kind, text, side)(nothing, nothing, position[:, None], position[None])
    assert torch.equal(dense_mask(kind, text_length=text, side=side)[:-1, :-1], mask)
    heads, _ = some_heads(text, side, 1, 2, 16)
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    blocks = flex.block_mask(kind, text, side, torch.device("cpu"))
    mixed = flex_attention(query, key, value, block_mask=blocks).transpose(1, 2)
    torch.testing.assert_close(attend(heads, kind, text_length=text, side=side), mixed)
    assert not flex.is_usable(heads)


def test_the_gradient_of_a_gradient_is_refused() -> None:
    """It is not computed; said rather than wrong."""
    heads, _ = some_heads(2, 2, 1, 1, 2)
    heads.requires_grad_()
    (first,) = torch.autograd.grad(attend(heads, "row", text_length=2, side=2).square().sum(), heads, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_nothing_is_kept_but_what_the_gradient_needs() -> None:
    """Queries, keys and values as they are arranged, and the result: no scores, no probabilities, no mask."""
    kept: list[Tensor] = []
    heads, _ = some_heads(4, 5, 1, 2, 8)
    rows = Layout(5, windows_of("row", 5, heads.dtype, heads.device)).rows

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mixed = attend(heads.requires_grad_(), "row", text_length=4, side=5)
    assert [*3 * [(2, rows, 8)], tuple(mixed.shape)] == [tuple(tensor.shape) for tensor in kept]
    assert F.mse_loss(mixed, oracle(heads, "row", 4, 5)) < 1e-10
