"""What is kept of a layer is what its plan lets a later code see, and no more; in buffers that stay where they are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dalle.prior.cache import Batch, LayerCache
from dalle.prior.config import PriorConfig
from dalle.prior.masks import Kind, sees_code

KINDS: tuple[Kind, ...] = ("row", "column", "convolution", "dense")


def a_cache(kind: Kind, side: int, captions: int = 2, samples: int = 3) -> LayerCache:
    """Two heads of one dimension."""
    config = PriorConfig(codes=side * side, text_length=4, heads=2, head_size=1, layers=1)
    return LayerCache(kind, config, Batch(captions=captions, samples=samples), torch.empty(0))


def numbered(code: int, captions: int = 2, samples: int = 3) -> torch.Tensor:
    """Keys and values, [2, C, H, S, 1], that say whose they are: code, caption, head, sample, key or value."""
    parts = (torch.arange(size) for size in (2, captions, 2, samples))
    which, caption, head, sample = torch.meshgrid(*parts, indexing="ij")
    return (10_000 * code + 1_000 * caption + 100 * head + 10 * sample + which)[..., None].float()


@given(kind=st.sampled_from(KINDS), side=st.integers(1, 15))
@settings(max_examples=15)
def test_a_code_reads_what_its_plan_lets_it_see(kind: Kind, side: int) -> None:
    """Of its own sample, caption and head; all of them, each once."""
    cache = a_cache(kind, side).codes
    codes = torch.arange(side * side)
    for code in range(side * side):
        cache.write(code, numbered(code))
        read, bias = cache.read(code)
        seen = read if bias is None else read[:, :, torch.isfinite(bias)]
        expected = torch.stack([numbered(int(other)) for other in codes[sees_code(kind, codes[code], codes, side)]], 4)
        assert torch.equal(expected.flatten(1, 3), seen.sort(2).values)


@pytest.mark.parametrize(("kind", "places"), [("row", 33), ("column", 1_024), ("convolution", 166), ("dense", 1_024)])
def test_no_more_is_kept_than_may_be_seen(kind: Kind, places: int) -> None:
    """Of 32 x 32 codes; what is written moves nothing, and what is read is no copy."""
    cache = a_cache(kind, 32)
    kept = {}
    for code in range(1_024):
        cache.codes.write(code, numbered(code))
        read, _ = cache.codes.read(code)
        kept[read.untyped_storage().data_ptr()] = read.untyped_storage().nbytes()
    assert 2 * 2 * 2 * 3 * places * 4 == sum(kept.values())
    assert {"row": 33, "column": 32, "convolution": 166, "dense": 1_024}[kind] == read.shape[2]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_that_are_given_are_those_of_all_samples(kind: Kind) -> None:
    """A caption's text and first codes are taken at once; those of other captions stay."""
    cache, side = a_cache(kind, 4), 4
    for caption in (0, 1):
        positions = torch.arange(5 + 9.0).expand(2, 2, -1)[..., None] + 100 * caption
        cache.begin(caption, positions)
    assert torch.equal(torch.arange(5.0).expand(2, 2, 5), cache.text.unflatten(1, (2, 2))[:, 0, :, :, 0])
    read, bias = cache.codes.read(8)
    seen = read if bias is None else read[:, :, torch.isfinite(bias)]
    codes = torch.arange(9)
    expected = 5 + codes[sees_code(kind, codes[8], codes, side)]
    for caption, lines in enumerate(seen[..., 0].unflatten(1, (2, 6)).unbind(1)):
        assert torch.equal((expected + 100 * caption).expand(2, 6, -1).float(), lines.sort(2).values)
