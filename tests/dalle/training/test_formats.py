"""All words of the formats, and rounding against exact fractions."""

from __future__ import annotations

import bisect
import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.training.formats import ONE_SIX_NINE, ZERO_SIX_TEN, SmallFloat

WORDS = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
FORMATS = pytest.mark.parametrize("form", [ONE_SIX_NINE, ZERO_SIX_TEN], ids=["1-6-9", "0-6-10"])


def value_of(word: int, form: SmallFloat) -> float:
    """By the definition, bit by bit."""
    sign = -1 if form.signed and word >> 15 else 1
    exponent, fraction = word >> form.fraction & 63, word & (1 << form.fraction) - 1
    if exponent == 63:
        return math.nan if fraction else sign * math.inf
    if exponent == 0:
        return sign * float(Fraction(fraction) * Fraction(2) ** (1 - form.bias - form.fraction))
    return float(sign * (1 + Fraction(fraction, 1 << form.fraction)) * Fraction(2) ** (exponent - form.bias))


@FORMATS
def test_every_word_is_the_number_it_says(form: SmallFloat) -> None:
    """And comes back as the same word; what is no number as some word that is none."""
    values = form.decode(WORDS)
    expected = torch.tensor([value_of(word, form) for word in range(1 << 16)])
    assert torch.equal(values.isnan(), expected.isnan())
    numbers = ~values.isnan()
    assert torch.equal(values[numbers].view(torch.int32), expected[numbers].view(torch.int32))
    back = form.encode(values)
    assert torch.equal(back[numbers], WORDS[numbers])
    assert form.decode(back)[~numbers].isnan().all()
    finite = values[values.isfinite()]
    assert finite.max() == form.largest
    assert finite[finite > 0].min() == form.smallest
    assert form.smallest_normal == form.smallest * 2**form.fraction


def test_their_ends_are_the_papers() -> None:
    assert ONE_SIX_NINE.largest == 15.984375
    assert (ONE_SIX_NINE.smallest_normal, ONE_SIX_NINE.smallest) == (2.0**-58, 2.0**-67)
    assert 5 < ZERO_SIX_TEN.largest < 8


@FORMATS
def test_halves_between_neighbours_go_to_the_even_one(form: SmallFloat) -> None:
    """And what is a little nearer to one of them goes there; beyond the last number lies infinity."""
    finite = form.decode(WORDS)
    finite = finite[finite.isfinite()].unique()
    above = torch.cat([finite[1:], torch.tensor([2.0 ** (62 - form.bias + 1)])])
    middle = ((finite.double() + above.double()) / 2).float()
    assert torch.equal(middle.double(), (finite.double() + above.double()) / 2)
    even = torch.where(form.encode(finite) % 2 == 0, finite, above)
    even[-1] = torch.inf
    assert torch.equal(form.round(middle), even)
    lower, upper = (torch.nextafter(middle, torch.full_like(middle, end)) for end in (-torch.inf, torch.inf))
    assert torch.equal(form.round(lower), finite)
    above[-1] = torch.inf
    assert torch.equal(form.round(upper), above)


@FORMATS
@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
def test_any_number_goes_to_the_nearest(form: SmallFloat, numbers: list[float]) -> None:
    """None of the format's numbers is nearer."""
    finite = sorted(set(form.decode(WORDS)[form.decode(WORDS).isfinite()].tolist()))
    for number, rounded in zip(numbers, form.round(torch.tensor(numbers)).tolist(), strict=True):
        if math.isnan(number) or (number < 0 and not form.signed):
            assert math.isnan(rounded)
        elif math.isinf(rounded):
            assert abs(number) >= (form.largest + 2.0 ** (62 - form.bias + 1)) / 2
            assert math.copysign(1, rounded) == math.copysign(1, number)
        else:
            nearest = min(abs(Fraction(number) - Fraction(near)) for near in _around(finite, number))
            assert abs(Fraction(number) - Fraction(rounded)) == nearest


def _around(ordered: list[float], number: float) -> list[float]:
    place = bisect.bisect_left(ordered, number)
    return ordered[max(0, place - 1) : place + 1]


def test_infinities_are_clamped_and_what_is_no_number_is_not() -> None:
    """The separate step after an all-reduce."""
    values = torch.tensor([torch.inf, -torch.inf, 1.0, torch.nan, 0.0])
    clamped = ONE_SIX_NINE.clamp(values)
    assert clamped[:3].tolist() == [15.984375, -15.984375, 1.0]
    assert clamped[3].isnan()


def test_any_shape_and_strides() -> None:
    """Also what is not contiguous, needs a gradient, or is empty."""
    values = torch.randn(6, 4, 2, requires_grad=True)
    for some, form in itertools.product((values, values.mT, values[::2, 1], values[:0]), (ONE_SIX_NINE,)):
        assert form.encode(some).shape == some.shape
        assert torch.allclose(form.round(some), some, rtol=2**-10, atol=0)
