"""What one matrix's buffer and factors do, for several machines in one process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dalle.training.formats import ONE_SIX_NINE
from dalle.training.low_rank import MOST_NORM, LowRankMatrix
from dalle.training.words import SINGLE, Form

FORMS = pytest.mark.parametrize("form", [SINGLE, ONE_SIX_NINE], ids=["single", "1-6-9"])
CASES = given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))


def machines(count: int, shape: tuple[int, int], rank: int, form: Form) -> list[LowRankMatrix]:
    return [LowRankMatrix(shape, rank, (1,), form) for _ in range(count)]


def exchange(matrices: Sequence[LowRankMatrix], gradients: Sequence[Tensor], form: Form) -> list[Tensor]:
    """A step; gives what each machine has then."""

    def mean(words: list[Tensor]) -> Tensor:
        return form.encode(torch.stack([form.decode(each) for each in words]).mean(0))

    for matrix, gradient in zip(matrices, gradients, strict=True):
        matrix.add(gradient.clone())  # it is overwritten
    projected = mean([matrix.projected() for matrix in matrices])
    for matrix in matrices:
        matrix.orthogonalize(projected)
    weighed = mean([matrix.weighed() for matrix in matrices])
    return [matrix.decompress(weighed) for matrix in matrices]


def drawn(count: int, shape: tuple[int, int], seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw) for _ in range(count)]


def mean_buffer(matrices: Sequence[LowRankMatrix], form: Form) -> Tensor:
    return torch.stack([form.decode(matrix.errors).double() for matrix in matrices]).mean(0)


@FORMS
@CASES
def test_what_was_added_is_sent_or_still_there(
    form: Form, rows: int, columns: int, rank: int, count: int, seed: int
) -> None:
    """Over any steps: no gradient is lost, and none counts twice; all machines are sent the same."""
    matrices, added, sent = machines(count, (rows, columns), rank, form), 0.0, 0.0
    for step in range(4):
        gradients = drawn(count, (rows, columns), seed + step)
        received = exchange(matrices, gradients, form)
        assert all(torch.equal(received[0], each) for each in received)
        added, sent = added + torch.stack(gradients).double().mean(0), sent + received[0].double()
    tolerance = 1e-5 if form is SINGLE else 4 * 3 * 2**-9  # a buffer is rounded twice a step
    assert torch.allclose(added - sent, mean_buffer(matrices, form), atol=tolerance, rtol=0)


@FORMS
@CASES
def test_what_is_sent_has_the_rank_and_the_norm_that_are_said(
    form: Form, rows: int, columns: int, rank: int, count: int, seed: int
) -> None:
    """The norm is Q's alone, to the rounding of P; a mean of rank is no longer than the mean itself."""
    matrices = machines(count, (rows, columns), rank, form)
    gradients = drawn(count, (rows, columns), seed)
    (sent, *_) = exchange(matrices, gradients, form)
    assert torch.linalg.matrix_rank(sent, rtol=1e-4) <= rank
    assert float(matrices[0].squared_norm) ** 0.5 == pytest.approx(
        float(sent.norm()), rel=1e-5 if form is SINGLE else 0.01
    )
    assert sent.norm() <= 1.01 * torch.stack(gradients).mean(0).norm() + 1e-6
    if rank >= min(rows, columns):
        assert torch.allclose(sent, torch.stack(gradients).mean(0), atol=1e-5 if form is SINGLE else 0.05)


@FORMS
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 15.0])
def test_gradients_of_any_size_are_sent_alike(form: Form, size: float) -> None:
    """Those of the last layers are a millionth of the first's; a power of two changes no bit, epsilon included."""
    (gradient,) = drawn(1, (10, 6), 3)
    gradient /= gradient.abs().max()
    power = 2.0 ** torch.tensor(size).log2().floor()
    (one,) = exchange(machines(1, (10, 6), 3, form), [gradient], form)
    (other,) = exchange(machines(1, (10, 6), 3, form), [gradient * power], form)
    assert torch.equal(one * power, other)


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf, -torch.inf])
@FORMS
@settings(max_examples=10)
@given(st.integers(0, 3), st.integers(0, 10**6))
def test_a_gradient_that_is_not_finite_stays_out_of_the_buffers(
    spoilt: float, form: Form, machine: int, seed: int
) -> None:
    """Step 2: everything else goes on as if that machine had had none."""
    ours, plain = machines(4, (6, 5), 2, form), machines(4, (6, 5), 2, form)
    before = drawn(4, (6, 5), seed)
    exchange(ours, before, form)
    exchange(plain, before, form)
    after = drawn(4, (6, 5), seed + 1)
    zero = [value * (index != machine) for index, value in enumerate(after)]
    after[machine][seed % 6, seed % 5] = spoilt
    found, expected = exchange(ours, after, form), exchange(plain, zero, form)
    assert [index != machine for index in range(4)] == [bool(matrix.is_finite) for matrix in ours]
    assert all(bool(matrix.was_sent) for matrix in ours)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(one.errors, other.errors) for one, other in zip(ours, plain, strict=True))


def test_a_buffer_that_overflows_is_zeroed_and_no_other() -> None:
    """Steps 10 and 12: all know of it, for P is not finite on any; what the others hold is kept as it is."""
    form = ONE_SIX_NINE
    matrices = machines(3, (6, 5), 2, form)
    exchange(matrices, drawn(3, (6, 5), 0), form)
    gradients = drawn(3, (6, 5), 1)
    gradients[1][2, 2] = 100.0  # finite, but above 15.98
    expected = [form.encode(form.decode(m.errors) + g) for m, g in zip(matrices, gradients, strict=True)]
    sent = exchange(matrices, gradients, form)
    assert [True, False, True] == [bool(matrix.is_finite) for matrix in matrices]
    assert not any(bool(matrix.was_sent) for matrix in matrices)
    assert all(value.isfinite().all() for value in sent)
    assert torch.equal(matrices[0].errors, expected[0])
    assert torch.equal(matrices[2].errors, expected[2])
    assert not matrices[1].errors.any()
    exchange(matrices, drawn(3, (6, 5), 2), form)
    assert all(bool(matrix.was_sent) for matrix in matrices)


@pytest.mark.parametrize("spoilt", ["projected", "weighed"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_factors_that_are_not_finite_leave_the_buffers(spoilt: str, value: float) -> None:
    """Only on the way: nothing local is wrong, nothing is sent, nothing is lost."""
    form = ONE_SIX_NINE
    (matrix,) = machines(1, (6, 5), 2, form)
    matrix.add(drawn(1, (6, 5), 1)[0])
    expected = matrix.errors.clone()
    projected = matrix.projected()
    if spoilt == "projected":
        projected[0, 0] = form.encode(torch.tensor(value))
    matrix.orthogonalize(projected)
    weighed = matrix.weighed()
    if spoilt == "weighed":
        weighed[0, 0] = form.encode(torch.tensor(value))
    assert matrix.decompress(weighed).isfinite().all()
    assert (True, False) == (bool(matrix.is_finite), bool(matrix.was_sent))
    assert torch.equal(expected, matrix.errors)


@given(st.integers(1, 12), st.integers(1, 200), st.integers(1, 12), st.booleans(), st.integers(0, 10**6))
def test_no_gradient_of_the_greatest_norm_overflows_a_factor(
    rows: int, columns: int, rank: int, is_tall: bool, seed: int
) -> None:
    """Also the worst, which lies along a column of the directions."""
    shape = (columns, rows) if is_tall else (rows, columns)
    matrix = LowRankMatrix(shape, rank, (seed,), ONE_SIX_NINE)
    worst = torch.zeros(min(shape), max(shape))
    worst[0] = ONE_SIX_NINE.decode(matrix.directions)[:, 0]
    worst *= MOST_NORM / worst.norm()
    form = ONE_SIX_NINE
    p = worst @ form.decode(matrix.directions) * matrix._projected_scale
    assert form.round(p).isfinite().all()
    assert form.round(worst.mT @ torch.eye(min(shape), 1) * matrix._weighed_scale).isfinite().all()


def test_directions_are_the_same_for_one_key_and_no_other() -> None:
    one, same, other = (LowRankMatrix((9, 20), 4, key, ONE_SIX_NINE) for key in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(one.directions, same.directions)
    assert not torch.equal(one.directions, other.directions)
    values = ONE_SIX_NINE.decode(one.directions)
    assert abs(float(values.mean())) < 0.4
    assert abs(float(values.std()) - 1) < 0.3
    before = one.directions.clone()
    exchange([one], drawn(1, (9, 20), 0), ONE_SIX_NINE)
    assert torch.equal(before, one.directions)


def test_buffers_and_factors_take_two_bytes_a_number() -> None:
    (matrix,) = machines(1, (8, 6), 2, ONE_SIX_NINE)
    matrix.add(torch.ones(8, 6))
    assert {2} == {
        each.element_size() for each in (matrix.errors, matrix.directions, matrix.projected(), matrix.weighed())
    }
