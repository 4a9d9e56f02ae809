"""What is sent, from shapes alone: the paper's tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.training.bandwidth import (
    PAPER,
    Elements,
    GradientShape,
    elements,
    exchange_bytes,
    rank_of_shard,
    resblock,
    saves,
    saving,
    settle_bytes,
    shapes_of,
)

WIDTHS = pytest.mark.parametrize(("width", "rank"), PAPER)


def test_savings_are_those_of_table_1() -> None:
    assert [83, 85, 86] == [round(100 * saving(width, rank, 8)) for width, rank in PAPER]
    for width, rank in PAPER:
        assert saving(width, rank, 8) == pytest.approx(1 - 5 * rank / (8 * width), abs=1e-12)


@WIDTHS
def test_bandwidth_is_that_of_table_2(width: int, rank: int) -> None:
    """Row by row: the shard's gradient, P and Q, and their totals."""
    d, r, m = width, rank, 8
    rows = resblock(d, r, m)
    narrow = (d * d // m, d * r // m, r * d // m**2)
    expected = {
        **dict.fromkeys(("query", "key", "value", "post-attention"), narrow),
        "first MLP": (4 * d * d // m, d * r // m, 4 * r * d // m**2),
        "second MLP": (4 * d * d // m, 4 * d * r // m**2, r * d // m),
    }
    assert expected == {name: (row.gradient, row.rows_factor, row.columns_factor) for name, row in rows.items()}
    assert sum(row.gradient for row in rows.values()) == 12 * d**2 // m
    assert sum(row.rows_factor for row in rows.values()) * m**2 == 5 * d * r * m + 4 * d * r
    assert sum(row.columns_factor for row in rows.values()) * m**2 == d * r * m + 8 * d * r


@WIDTHS
def test_bytes_are_those_of_an_all_reduce_of_the_tables_numbers(width: int, rank: int) -> None:
    """2 (n - 1) / n of them, of 2 bytes each, whether 2 machines average or 128."""
    rows = {"first": (width, width // 8), "second": (width // 2, width)}
    shapes = [GradientShape(name=name, shape=shape, is_compressed=True) for name, shape in rows.items()]
    numbers = sum(elements(shape, rank // 8).compressed for shape in shapes)
    for machines in (2, 4, 128):
        exact = 2 * (machines - 1) / machines * numbers * 2
        assert exact <= exchange_bytes(shapes, rank // 8, machines) <= exact + 8 * machines


def test_one_machine_sends_nothing() -> None:
    shapes = [GradientShape(name="m", shape=(8, 8), is_compressed=True)]
    assert (0, 0) == (exchange_bytes(shapes, 2, 1), settle_bytes(9, 1))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_factors_are_smaller_where_it_is_said(rows: int, columns: int, rank: int) -> None:
    """And never of a rank that is not there."""
    shape = GradientShape(name="m", shape=(rows, columns), is_compressed=True)
    found = elements(shape, rank)
    most = min(rank, rows, columns)
    assert Elements(gradient=rows * columns, rows_factor=rows * most, columns_factor=columns * most) == found
    assert saves(shape, rank) == (most * (rows + columns) < rows * columns)


def test_embeddings_gains_and_what_would_grow_are_not_compressed() -> None:
    weights = {"embeddings.text": (100, 64), "layers.0.weight": (64, 64), "layers.0.bias": (64,), "small": (64, 9)}
    found = shapes_of(weights, 8, apart=("embeddings.",))
    assert list(weights.items()) == [(each.name, each.shape) for each in found]
    assert ["layers.0.weight"] == [each.name for each in found if each.is_compressed]
    assert ["embeddings.text", "layers.0.weight"] == [each.name for each in shapes_of(weights, 8) if each.is_compressed]


def test_a_rank_is_shared_out_or_refused() -> None:
    assert 112 == rank_of_shard(896, 8)
    for rank in (0, -8, 897):
        with pytest.raises(ValueError, match=f"a rank of {rank} for 8 shards: expected a multiple of 8 above 0"):
            rank_of_shard(rank, 8)
    with pytest.raises(ValueError, match="a width of 100 for 8 shards"):
        resblock(100, 64, 8)
