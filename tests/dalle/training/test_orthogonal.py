"""Columns made orthonormal: also where Gram-Schmidt, as torch's own PowerSGD has it, does not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import _orthogonalize_gram_schmidt

from dalle.training.orthogonal import orthogonalized


def error(columns: Tensor) -> float:
    """How far products of columns are from those of orthonormal ones."""
    columns = columns.double()
    return float((columns.mT @ columns - torch.eye(columns.shape[1])).abs().max())


def gram_schmidt(matrix: Tensor, epsilon: float = 0.0) -> Tensor:
    columns = matrix.clone()[None]
    _orthogonalize_gram_schmidt(columns, epsilon)
    return columns[0]


def sketch(rank: int, noise: float = 0.0) -> Tensor:
    """P of a gradient of 96 x 64 that has this rank but for a little noise: what 24 directions see of it."""
    draw = torch.Generator().manual_seed(rank)
    gradient = torch.randn(96, rank, generator=draw) @ torch.randn(rank, 64, generator=draw)
    gradient += noise * torch.randn(96, 64, generator=draw)
    return gradient @ torch.randn(64, 24, generator=draw)


@pytest.mark.parametrize("rank", [1, 5, 23])
@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_gradients_of_low_rank_have_orthogonal_columns(rank: int, noise: float) -> None:
    """Of fewer dimensions than directions, as a small batch's are: Gram-Schmidt's columns are not, or no numbers."""
    p = sketch(rank, noise)
    assert error(orthogonalized(p)) < 1e-5
    for form in (torch.bfloat16, torch.float16):
        for epsilon in (0.0, 1e-6):
            assert not error(gram_schmidt(p.to(form), epsilon)) < 1e-2
    assert not error(gram_schmidt(p)) < 1e-4


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 10**6), st.sampled_from([1e-9, 1.0, 1e9]))
def test_any_matrix(columns: int, more: int, seed: int, size: float) -> None:
    """Of any shape that can have them and any size: orthonormal, and the matrix lies in their span."""
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(columns + more, columns, generator=draw) * size
    found = orthogonalized(matrix)
    assert error(found) < 1e-5
    outside = matrix - found @ (found.mT @ matrix)
    assert outside.norm() <= 1e-5 * matrix.norm() + 2e-6 * columns


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 10**6))
def test_columns_that_are_equal_or_zero(columns: int, more: int, zeros: int, seed: int) -> None:
    """Epsilon gives them a direction; nothing becomes infinite."""
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(columns + more, 1, generator=draw).repeat(1, columns)
    matrix[:, :zeros] = 0
    assert error(orthogonalized(matrix)) < 1e-5


def test_more_columns_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="a matrix of 2 x 3 has more columns than rows"):
        orthogonalized(torch.zeros(2, 3))
