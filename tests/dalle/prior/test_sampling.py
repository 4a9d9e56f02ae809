"""Drawing code after code is drawing by whole forward passes: the same logits, codes and frequencies, for every plan."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dalle.prior import packed
from dalle.prior.cache import Batch
from dalle.prior.choosing import ChoosingOptions
from dalle.prior.config import PriorConfig
from dalle.prior.decoder import Decoder
from dalle.prior.lines import Drawn, Given
from dalle.prior.masks import Kind
from dalle.prior.network import Prior
from dalle.prior.packed import PackedLinear, can_pack
from dalle.prior.sampling import Sampler

KINDS: tuple[Kind, ...] = ("row", "column", "convolution", "dense")
SMALL = PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=4, heads=2, head_size=8)


def some_prior(config: PriorConfig = SMALL, kinds: tuple[Kind, ...] | None = None, deviation: float = 0.3) -> Prior:
    """One whose weights are far from those of the beginning, so that every position matters."""
    torch.manual_seed(0)
    prior = Prior(config, kinds=kinds).eval()
    for name, value in prior.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(value, std=deviation * (0.3 if name.startswith("layers") else 1))
    return prior


def some_text(config: PriorConfig = SMALL, captions: int = 3) -> torch.Tensor:
    """[captions, T]: texts of 0, 1, ... tokens and their padding."""
    text = torch.randint(
        0, config.vocab_size, (captions, config.text_length), generator=torch.Generator().manual_seed(1)
    )
    position = torch.arange(config.text_length)
    return torch.where(position < torch.arange(captions)[:, None], text, config.vocab_size + position)


def some_codes(config: PriorConfig = SMALL, samples: int = 1) -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randint(0, config.image_vocab_size, (samples, config.codes), generator=rng)


def seeds_of(*counts: int) -> list[list[int]]:
    """So many for each caption, none twice."""
    numbers = itertools.count(7)
    return [[next(numbers) for _ in range(count)] for count in counts]


@torch.no_grad()
def by_forward_passes(prior: Prior, text: torch.Tensor, given_codes: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """[n, N]: the most likely code at each position, a whole forward pass for each."""
    codes = torch.from_numpy(np.where(mask, given_codes, 0)).repeat(len(text), 1)
    for position in np.flatnonzero(~mask):
        codes[:, position] = prior(text, codes)[1][:, position].argmax(1)
    return codes


@st.composite
def networks(draw: st.DrawFn) -> PriorConfig:
    """Of any grid, text, heads; layers of all kinds."""
    return PriorConfig(
        vocab_size=11,
        image_vocab_size=draw(st.integers(1, 40)),
        text_length=draw(st.integers(1, 20)),
        codes=draw(st.integers(1, 12)) ** 2,
        layers=draw(st.integers(1, 4)),
        heads=draw(st.integers(1, 3)),
        head_size=draw(st.integers(1, 9)),
    )


@given(config=networks(), data=st.data(), captions=st.integers(1, 3), samples=st.integers(1, 4))
@settings(max_examples=20)
def test_logits_are_those_of_whole_forward_passes(
    config: PriorConfig, data: st.DataObject, captions: int, samples: int
) -> None:
    """Within 1e-4, at every position, from any prefix that is put through at once."""
    kinds = tuple(data.draw(st.sampled_from(KINDS)) for _ in range(config.layers))
    first = data.draw(st.integers(0, config.codes - 1))
    prior = some_prior(config, kinds)
    text, codes = some_text(config, captions), some_codes(config, captions * samples)
    codes[:, :first] = codes[0, :first].clone()
    with torch.inference_mode():
        expected = prior(text.repeat_interleave(samples, 0), codes)[1]
        decoder = Decoder(prior, Batch(captions=captions, samples=samples), torch.float32)
        begun = torch.stack([decoder.begin(i, text[i], codes[0, :first]) for i in range(captions)])
        logits = [begun.repeat_interleave(samples, 0)]
        logits += [decoder.step(codes[:, position], position) for position in range(first, config.codes - 1)]
    torch.testing.assert_close(torch.stack(logits, 1), expected[:, first:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("side", [5, 12])
def test_the_likeliest_codes_are_those_of_whole_forward_passes(kind: Kind | None, side: int) -> None:
    """At temperature 0, with codes given here and there, which stay as they are."""
    config = dataclasses.replace(SMALL, codes=side * side, layers=3)
    prior, text = some_prior(config, None if kind is None else (kind,) * 3), some_text()
    chance = np.random.default_rng(0)
    mask, codes = chance.random(config.codes) < 0.4, chance.integers(0, 30, config.codes)
    mask[: 2 * side] = True
    sampler = Sampler(prior, captions=3, samples=1, precision="float32")
    drawn = sampler.draw(text, seeds_of(1, 1, 1), ChoosingOptions(temperature=0), given=Given(mask, codes))
    expected = by_forward_passes(prior, text, codes, mask)
    assert np.array_equal(expected.numpy(), drawn.codes)
    assert np.array_equal(np.broadcast_to(codes[mask], (3, mask.sum())), drawn.codes[:, mask])
    assert len(np.unique(drawn.codes[:, ~mask])) > 3


def test_the_log_likelihood_is_that_of_the_network() -> None:
    """Nats at temperature 1 of the codes that were drawn, at whatever temperature; those of given codes do not count."""
    prior, text = some_prior(), some_text()
    mask = np.arange(16) % 3 == 1
    sampler = Sampler(prior, captions=3, samples=2, precision="float32")
    for options in (ChoosingOptions(), ChoosingOptions(temperature=3.0), ChoosingOptions(top_k=4, temperature=0.5)):
        drawn = sampler.draw(text, seeds_of(2, 2, 2), options, given=Given(mask, np.full(16, 5)))
        codes = torch.from_numpy(drawn.codes)
        with torch.no_grad():
            nats = prior(text.repeat_interleave(2, 0), codes)[1].double().log_softmax(2).gather(2, codes[..., None])
        expected = nats[:, ~torch.from_numpy(mask), 0].sum(1)
        assert np.float64 == drawn.log_likelihood.dtype
        np.testing.assert_allclose(drawn.log_likelihood, expected.numpy(), rtol=0, atol=1e-4)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return Sampler(some_prior(), captions=5, samples=7, precision=request.param)


def lines_of(drawn: Drawn) -> list[tuple[bytes, float]]:
    """Codes and likelihood of each sample, to the bit."""
    return [(codes.tobytes(), float(nats)) for codes, nats in zip(drawn.codes, drawn.log_likelihood, strict=True)]


@given(data=st.data())
@settings(max_examples=15)
def test_a_sample_does_not_depend_on_what_is_beside_it(sampler: Sampler, data: st.DataObject) -> None:
    """Nor on its place: any captions in any order, any seeds of theirs, alone or among others, give the same bits."""
    everything = some_text(captions=5)
    captions = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True))
    seeds = [data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=7)) for _ in captions]
    options = data.draw(st.sampled_from([ChoosingOptions(), ChoosingOptions(temperature=0.8, top_k=9, top_p=0.9)]))
    whole = lines_of(sampler.draw(everything, [range(7)] * 5, options))
    some = lines_of(sampler.draw(everything[captions], seeds, options))
    expected = [whole[caption * 7 + seed] for caption, mine in zip(captions, seeds, strict=True) for seed in mine]
    assert expected == some
    assert len(set(whole)) == 35


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("captions", "samples"), [(1, 8), (7, 1), (3, 5)])
def test_bits_do_not_depend_on_threads(precision: str, captions: int, samples: int) -> None:
    """Of texts put through at once, of steps, and of what is chosen."""
    config = dataclasses.replace(SMALL, heads=4, head_size=32, image_vocab_size=2_048, text_length=70, codes=9)
    prior, text = some_prior(config, deviation=0.05), some_text(config, captions)
    before, outcomes = torch.get_num_threads(), []
    sampler = Sampler(prior, captions=captions, samples=samples, precision=precision)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        drawn = sampler.draw(text, [range(samples)] * captions, ChoosingOptions(top_p=0.95))
        outcomes.append(lines_of(drawn))
    torch.set_num_threads(before)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize(("captions", "samples"), [(1, 16), (4, 4), (16, 1)])
def test_at_the_widths_that_are_drawn_with(captions: int, samples: int) -> None:
    """In 16 bits, by products as large as those of a prior of use: places and neighbours change no bit."""
    config = PriorConfig(vocab_size=50, image_vocab_size=1_024, text_length=256, codes=9, layers=2, heads=8)
    sampler = Sampler(some_prior(config, ("row", "convolution"), deviation=0.05), captions=captions, samples=samples)
    text = some_text(config, captions)
    whole = lines_of(sampler.draw(text, [range(samples)] * captions))
    few = slice(None, None, -2)
    some = lines_of(sampler.draw(text.flip(0)[: len(text[::2])], [range(samples)[few]] * len(text[::2])))
    last = [whole[caption * samples + i] for caption in range(captions)[::-1] for i in range(samples)[few]]
    assert last[: len(some)] == some
    assert len(set(whole)) == len(whole)


def test_weights_that_cannot_be_packed_give_the_same() -> None:
    """Wherever torch's private product is not to be had: within rounding, also with GELU."""
    for dtype, error in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        linear, rows = torch.nn.Linear(70, 50), torch.randn(9, 70, generator=torch.Generator().manual_seed(0)).to(dtype)
        for gelu in (False, True):
            with torch.no_grad():
                plain, packed, default = (
                    PackedLinear(linear, dtype, gelu=gelu, packed=way)(rows)
                    for way in (False, can_pack(dtype, rows.device), None)
                )
                exact = torch.nn.functional.linear(rows.float(), linear.weight, linear.bias)
                exact = torch.nn.functional.gelu(exact) if gelu else exact
            assert torch.equal(packed, default)
            torch.testing.assert_close(plain.float(), exact, rtol=error, atol=error)
            torch.testing.assert_close(packed.float(), exact, rtol=error, atol=error)
    assert not can_pack(torch.float32, torch.device("meta"))


def test_a_torch_without_packed_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws all the same."""
    expected = Sampler(some_prior(), samples=2, precision="float32").draw(some_text(captions=1), [[1, 2]])
    monkeypatch.setattr(packed, "_packed", None)  # what is not there cannot be called
    packed._gives_the_same.cache_clear()
    drawn = Sampler(some_prior(), samples=2, precision="float32").draw(some_text(captions=1), [[1, 2]])
    packed._gives_the_same.cache_clear()
    assert np.array_equal(expected.codes, drawn.codes)


def test_progress_is_told_of_every_free_position() -> None:
    """Up to the last of them: what is given after it needs no step."""
    told: list[tuple[int, int]] = []
    mask = np.array([True] * 4 + [False] * 3 + [True] * 9)
    sampler = Sampler(some_prior(), samples=1)
    fixed = Given(mask, np.arange(16))
    drawn = sampler.draw(some_text(captions=1), [[5]], given=fixed, progress=lambda *each: told.append(each))
    assert [(1, 3), (2, 3), (3, 3)] == told
    assert np.array_equal(np.arange(16)[mask], drawn.codes[0, mask])


def test_nothing_is_left_to_draw() -> None:
    """All codes are given."""
    drawn = Sampler(some_prior(), samples=2).draw(
        some_text(captions=1), [[0, 1]], given=Given(np.ones(16, np.bool_), np.arange(16))
    )
    assert np.array_equal([np.arange(16)] * 2, drawn.codes)
    assert [0.0, 0.0] == drawn.log_likelihood.tolist()


TEXT, NOTHING = some_text(captions=2), np.zeros(16, np.bool_)


@pytest.mark.parametrize(
    ("text", "seeds", "fixed", "message"),
    [
        (TEXT[:, 1:], [[0], [1]], None, "the text has 2 x 5 tokens, expected captions x 6, padded"),
        (TEXT[0], [[0]], None, "the text has 6 tokens, expected captions x 6, padded"),
        (TEXT + 1, [[0], [1]], None, "the text holds token 26, expected 0 to 25"),
        (TEXT, [[0]], None, "there are 2 captions, and seeds of 1: give as many"),
        (TEXT[[0, 1, 0]], [[0]] * 3, None, "there are 3 captions, expected 1 to 2, as the sampler has"),
        (TEXT, [[0], []], None, "a caption has 0 seeds, expected 1 to 2, as the sampler has"),
        (TEXT, [[0], [1, 2, 3]], None, "a caption has 3 seeds, expected 1 to 2, as the sampler has"),
        (TEXT, [[0], [-1]], None, "seed -1: expected 0 or more"),
        (TEXT, [[0], [1]], (NOTHING[:9], NOTHING[:9] * 1), "the picture of given codes has 9 positions, expected 16, .*"),
        (TEXT, [[0], [1]], (NOTHING[:9], NOTHING * 1), "the mask of the given codes has 9 positions, expected 16, .*"),
        (TEXT, [[0], [1]], (~NOTHING, np.full(16, 30)), "the given codes hold 30, expected 0 to 29"),
        (TEXT, [[0], [1]], (NOTHING * 1, NOTHING * 1), "the mask of the given codes holds int64, expected booleans"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(text: torch.Tensor, seeds, fixed, message: str) -> None:
    sampler = Sampler(some_prior(), captions=2, samples=2)
    with pytest.raises(ValueError, match=f"^{message}$"):
        sampler.draw(text, seeds, given=None if fixed is None else Given(*fixed))


def test_samplers_that_are_refused() -> None:
    for wrong, message in (
        ({"captions": 0}, "captions 0: expected 1 or more"),
        ({"samples": 0}, "samples 0: expected 1 or more"),
        ({"precision": "float16"}, "precision float16: expected bfloat16 or float32"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            Sampler(some_prior(), **wrong)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    """Of damaged weights, at whatever position they show."""
    prior = some_prior()
    with torch.no_grad():
        prior.to_codes.bias[3] = value
    message = "the prior's logits at position 2 of the codes are not finite: its weights are damaged"
    with pytest.raises(ValueError, match=f"^{message}$"):
        Sampler(prior).draw(TEXT[:1], [[0]], given=Given(np.arange(16) < 2, np.zeros(16, np.int64)))
