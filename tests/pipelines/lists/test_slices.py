"""A list is cut into units in one pass: no row is lost, and units do not depend on how the list came."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lists.rows import JSON_TEXT, ROWS, Row, batches
from pipelines.lists.slices import ShardNumbers, content_sha256, make_plan, read_slice
from pipelines.running.unit import PLAN
from schemas.folder import Folder

rows = st.lists(st.tuples(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=3)), min_size=1, max_size=60)


def chunks(table: pa.Table, sizes: list[int]) -> list[pa.RecordBatch]:
    """The same table in batches of other sizes, as another reader might give it."""
    found, start = [], 0
    for size in [*sizes, table.num_rows]:
        found += table.slice(start, size).to_batches()
        start += size
    return [batch for batch in found if len(batch)]


@given(rows, st.integers(1, 70), st.lists(st.integers(1, 20), max_size=4), st.lists(st.integers(1, 20), max_size=4))
def test_units_hold_the_list(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list, every: int, sizes: list[int], other_sizes: list[int]
) -> None:
    """Joined, the units are the list; all but the last are full; batches of other sizes give the same hashes."""
    table = pa.Table.from_batches(batches(Row(url, captions) for url, captions in given_rows))
    folder = Folder(tmp_path_factory.mktemp("out"))
    plan = make_plan(chunks(table, sizes), folder, "one", every)
    slices = [read_slice(folder, unit, plan.types) for unit in plan.units]
    assert table.to_pylist() == [row for part in slices for row in part.to_pylist()]
    assert [every] * (len(slices) - 1) == [part.num_rows for part in slices[:-1]]
    assert 1 <= slices[-1].num_rows <= every
    other = make_plan(chunks(table, other_sizes), Folder(tmp_path_factory.mktemp("out")), "one", every)
    assert plan.hashes == other.hashes


@given(rows, rows)
def test_hash_tells_content(a: list, b: list) -> None:
    """Two tables have the same hash exactly if they say the same."""
    first, second = (pa.Table.from_batches(batches(Row(u, c) for u, c in each)) for each in (a, b))
    assert first.equals(second) == (content_sha256(first) == content_sha256(second))


@pytest.mark.parametrize(
    "kind", [pa.int32(), pa.float64(), pa.bool_(), pa.string(), pa.list_(pa.float64()), pa.timestamp("s")]
)
def test_hash_sees_nulls(kind: pa.DataType) -> None:
    """A null is not a zero or an empty string, and a slice hashes as the same values alone."""
    values = {"int32": [0, None, 5], "double": [0.0, None, 5.0], "bool": [False, None, True], "string": ["", None, "x"]}
    some = values.get(str(kind), [[], None, [1.0]] if pa.types.is_list(kind) else [0, None, 5])
    array = pa.array(some, kind)
    hashes = {content_sha256(pa.table({"c": array.slice(i, 1)})) for i in range(3)}
    assert 3 == len(hashes)
    assert content_sha256(pa.table({"c": array.slice(1)})) == content_sha256(pa.table({"c": pa.array(some[1:], kind)}))


def test_interrupted_plan_is_taken_up(tmp_path: Path) -> None:
    """A plan of the same list is not made twice; a plan of another list is made anew."""
    folder = Folder(tmp_path)
    first = make_plan(batches(Row(str(i), ["a"]) for i in range(10)), folder, "one", 4)
    again = make_plan(iter(()), folder, "one", 4)
    assert first == again
    other = make_plan(batches(Row(str(i), ["b"]) for i in range(3)), folder, "two", 4)
    assert (3, 1) == (other.rows, len(other.units))
    assert ["0.arrow", "plan.json"] == folder.names(PLAN)


def test_list_without_rows(tmp_path: Path) -> None:
    """One sentence, and no plan."""
    with pytest.raises(ValueError, match="the list has no rows"):
        make_plan(iter(()), Folder(tmp_path), "one", 4)
    assert [] == Folder(tmp_path).names(PLAN)


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "2", None], "int64", [1, 2, None]),
        (["1", "2.5", None], "double", [1.0, 2.5, None]),
        (["true", None, "false"], "bool", [True, None, False]),
        (['"a"', None, '"b"'], "string", ["a", None, "b"]),
        (['"a"', "1", "[1, 2]"], "string", ["a", "1", "[1, 2]"]),
        (["true", "1"], "string", ["true", "1"]),
        (["99999999999999999999"], "string", ["99999999999999999999"]),
        ([None, None], "string", [None, None]),
    ],
)
def test_json_columns_get_the_narrowest_type(tmp_path: Path, texts: list, kind: str, values: list) -> None:
    """The type holds for the whole list, so that all shards have the same columns."""
    extra = [pa.field("extra", pa.string(), metadata=JSON_TEXT)]
    made = batches([Row("u", [], [text]) for text in texts], extra)
    folder = Folder(tmp_path)
    plan = make_plan(made, folder, "one", 1)
    assert {"extra": kind} == plan.types
    assert values == [v for unit in plan.units for v in read_slice(folder, unit, plan.types)["extra"].to_pylist()]


def test_shard_numbers_have_room(tmp_path: Path) -> None:
    """More shards than five digits hold get six; an extension goes on counting."""
    plan = make_plan(batches(Row("u", []) for _ in range(3)), Folder(tmp_path), "one", 1, ShardNumbers(first=99_999))
    assert ["099999", "100000", "100001"] == [unit.shard for unit in plan.units]
    assert set(ROWS.names) == {"url", "captions", "place", "problem"}
