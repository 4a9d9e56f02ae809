"""Columns of every type that Arrow has: read rightly all the way to the ledger, or refused in one sentence."""

from __future__ import annotations

import datetime as dt
import inspect
import io
import json
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lists import ListOptions, open_source
from pipelines.lists.slices import make_plan, read_slice
from pipelines.stages.filter import filter_captions
from pipelines.work.record import Record
from schemas.folder import Folder
from schemas.pair_shards import sample_json
from schemas.pairs import ledger_schema
from tests.pipelines.stages.test_filter import LENGTH_ONLY

TEXTS = ["a red boat", "é", None, ""]
BYTES = [b"a red boat", "é".encode(), None, b""]


def numbers() -> Iterator[tuple[pa.DataType, list]]:
    for kind in (*map(pa.type_for_alias, ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")),):
        yield kind, [1, 0, None, 100]
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        yield kind, [1.5, 0.0, None, -2.0]
    for kind in (pa.decimal32(5, 2), pa.decimal64(10, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)):
        yield kind, [Decimal("1.10"), Decimal("-2.00"), None, Decimal("0.00")]


def times() -> Iterator[tuple[pa.DataType, list]]:
    for kind in (pa.date32(), pa.date64()):
        yield kind, [dt.date(2020, 1, 1), dt.date(1969, 12, 31), None, dt.date(9999, 12, 31)]
    for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")):
        yield kind, [dt.time(1, 2, 3), dt.time(0), None, dt.time(23, 59, 59)]
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "UTC", "Europe/Berlin", "+05:30"):  # the second hour of two that are called alike
            yield pa.timestamp(unit, zone), [0, 10**9, None, 1603584000 + 5400]
        yield pa.duration(unit), [0, 10**9 + 1, None, -5]


def texts() -> Iterator[tuple[pa.DataType, list]]:
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.opaque(pa.string(), "enum", "pg")):
        yield kind, TEXTS
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        yield kind, BYTES
    for index in (pa.int8(), pa.int32()):
        for value in (pa.string(), pa.large_string(), pa.binary()):
            yield pa.dictionary(index, value), BYTES if value == pa.binary() else TEXTS


def nested(inner: pa.DataType, values: list) -> Iterator[tuple[pa.DataType, list]]:
    pairs = [values[:2], [], None, values[2:]]
    for make in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view):
        yield make(inner), pairs
    yield pa.list_(inner, 2), [values[:2], values[1:3], values[2:], values[:2]]
    yield pa.list_(pa.list_(inner)), [[values[:2], None], [], None, [[]]]
    yield pa.struct([("a", inner), ("b", pa.int8())]), [{"a": v, "b": 1} for v in values[:3]] + [None]
    yield pa.map_(pa.string(), inner), [[("a", values[0])], [], None, [("b", values[1]), ("c", None)]]


def kinds() -> list[tuple[pa.DataType, list]]:
    some = [(pa.null(), [None] * 4), (pa.bool_(), [True, False, None, True])]
    some += [*numbers(), *times(), *texts()]
    some += [(pa.binary(2), [b"ab", b"\xff\0", None, b"zz"]), (pa.json_(), ['{"a": 1}', "1", None, "[]"])]
    some += [(pa.uuid(), [uuid.UUID(int=n).bytes for n in (5, 6)] + [None, bytes(16)]), (pa.bool8(), [1, 0, None, 1])]
    some += [(pa.fixed_shape_tensor(pa.int32(), [2]), [[1, 2], [3, 4], [5, 6], [7, 8]])]
    for inner, values in (
        (pa.string(), TEXTS),
        (pa.string_view(), TEXTS),
        (pa.int32(), [1, 2, None, 3]),
        (pa.float64(), [1.5, math.inf, None, 0.0]),
        (pa.timestamp("us", "UTC"), [0, 1, None, 10**15]),
        (pa.binary(), BYTES),
        (pa.dictionary(pa.int32(), pa.string()), TEXTS),
        (pa.decimal128(5, 1), [Decimal("1.5"), None, Decimal("0.0"), None]),
    ):
        some += nested(inner, values)
    return some


def array_of(kind: pa.DataType, values: list) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    if pa.types.is_temporal(kind) and isinstance(values[0], int):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_dictionary(kind) and pa.types.is_binary(kind.value_type):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def is_written(kind: pa.DataType, values: list) -> bool:
    """Whether pyarrow can write such a column at all."""
    try:
        pq.write_table(pa.table({"c": array_of(kind, values)}), io.BytesIO(), row_group_size=3)
    except pa.ArrowNotImplementedError:
        return False
    return True


KINDS = [(kind, values) for kind, values in kinds() if is_written(kind, values)]
each_kind = pytest.mark.parametrize(("kind", "values"), KINDS, ids=[str(kind) for kind, _ in KINDS])


def is_read(path: Path) -> bool:
    """Whether pyarrow can read what it has written; if not, the sentence names the column."""
    try:
        pq.ParquetFile(path).read()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        with pytest.raises(ValueError, match=r"l\.parquet: the column '\w+' (is|\()") as raised:
            rows(path, save_additional_columns=tuple(set(pq.read_schema(path).names) - {"url", "caption"}))
        assert "\n" not in str(raised.value)
        return False
    return True


def write(path: Path, **columns: pa.Array) -> Path:
    """A list of four rows; columns that are not named are links and captions."""
    links = pa.array([f"http://a/{n}" for n in range(4)])
    named = {"url": links, "caption": pa.array(["a red boat"] * 4), **columns}
    pq.write_table(pa.table([*named.values()], names=[*named]), path, row_group_size=3)
    return path


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    source = open_source(ListOptions(url_list=str(path), **options))
    return [row for batch in source.rows() for row in batch.to_pylist()]


def test_every_type_is_here() -> None:
    """Whatever pyarrow can declare by itself, or of some type, stands in the list above or is known not to fit in."""
    here = {kind.id for kind, _ in KINDS if not isinstance(kind, pa.BaseExtensionType)}
    here |= {id_ for name, id_ in inspect.getmembers(pa.lib) if name.startswith("Type_INTERVAL")}
    missing = {
        name: id_
        for name, id_ in inspect.getmembers(pa.lib)
        if name.startswith("Type_") and id_ not in here and name != "Type_EXTENSION"
    }
    assert {"Type_RUN_END_ENCODED", "Type_DENSE_UNION", "Type_SPARSE_UNION"} == set(missing)
    assert len(kinds()) - 5 <= len(KINDS)


@each_kind
def test_additional_columns_reach_the_ledger(tmp_path: Path, kind: pa.DataType, values: list) -> None:
    """The values that the list has, in as many batches and row groups as there are; and JSON of them is JSON."""
    path = write(tmp_path / "l.parquet", extra=array_of(kind, values))
    if not is_read(path):
        return
    with path.open("rb") as file:
        stored = pq.ParquetFile(file).read()["extra"]
    expected = [chunk.storage if isinstance(kind, pa.BaseExtensionType) else chunk for chunk in stored.chunks]
    source = open_source(ListOptions(url_list=str(path), save_additional_columns=("extra",)))
    folder = Folder(tmp_path / "out")
    plan = make_plan(source.rows(), folder, "one", 3)
    again = make_plan(source.rows(), Folder(tmp_path / "again"), "one", 3)
    assert plan.hashes == again.hashes
    came: list[Any] = []
    for unit in plan.units:
        table = read_slice(folder, unit, plan.types)
        schema = ledger_schema(pa.schema([table.schema.field("extra")]))
        kept = filter_captions(["a red boat"], LENGTH_ONLY)
        records = [Record.begin(n, str(n), row, kept).columns for n, row in enumerate(table.to_pylist())]
        for record in records:
            json.loads(sample_json(record), parse_constant=pytest.fail)
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records, schema), out, compression="zstd")
        came += pq.ParquetFile(out).read()["extra"].to_pylist()
    assert [value for chunk in expected for value in chunk.to_pylist()] == came


@each_kind
def test_captions(tmp_path: Path, kind: pa.DataType, values: list) -> None:
    """Text, numbers and lists of text are captions; of anything else column and type are named."""
    path = write(tmp_path / "l.parquet", caption=array_of(kind, values))
    if not is_read(path):
        return
    if kind in dict(texts()) or str(kind) in ("null", *(str(k) for k, _ in texts())):
        expected = [[] if v is None else [v.decode() if isinstance(v, bytes) else v] for v in values]
    elif kind in dict(numbers()):
        expected = [[] if v is None else [str(pa.scalar(v, kind).cast(pa.string()))] for v in values]
    elif not pa.types.is_map(kind) and getattr(kind, "value_type", None) in (
        pa.string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string()),
    ):  # fmt: skip
        expected = [[v.decode() if isinstance(v, bytes) else v for v in each or [] if v is not None] for each in values]
    else:
        with pytest.raises(ValueError, match=r"l\.parquet: the column 'caption' is .*, expected text or lists of text"):
            rows(path)
        return
    assert expected == [row["captions"] for row in rows(path)]


@each_kind
def test_links(tmp_path: Path, kind: pa.DataType, values: list) -> None:
    """Text alone is a link; of anything else column and type are named."""
    path = write(tmp_path / "l.parquet", url=array_of(kind, values))
    if not is_read(path):
        return
    if kind in dict(texts()) or str(kind) in ("null", *(str(k) for k, _ in texts())):
        assert [v.decode() if isinstance(v, bytes) else v for v in values] == [row["url"] for row in rows(path)]
    else:
        with pytest.raises(ValueError, match=r"l\.parquet: the column 'url' is .*, expected text"):
            rows(path)


ONE_OF_EACH = list({kind.id: kind for kind, _ in reversed(KINDS)}.values())


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=map(str, ONE_OF_EACH))
def test_a_large_list(tmp_path: Path, kind: pa.DataType) -> None:
    """10,000 rows in units that lie across batches and row groups: each is whole, whatever the column's type."""
    many = array_of(kind, dict(KINDS)[kind] * 2_500)
    table = pa.table({"url": pa.array(map(str, range(10_000))), "caption": pa.nulls(10_000, pa.string()), "x": many})
    pq.write_table(table, tmp_path / "l.parquet", row_group_size=7_000)
    if not is_read(tmp_path / "l.parquet"):
        return
    source = open_source(ListOptions(url_list=str(tmp_path / "l.parquet"), save_additional_columns=("x",)))
    plan = make_plan(source.rows(), Folder(tmp_path / "out"), "one", 4_500)
    slices = [read_slice(Folder(tmp_path / "out"), unit, plan.types) for unit in plan.units]
    assert [4_500, 4_500, 1_000] == [part.num_rows for part in slices]
    assert [str(n) for n in range(10_000)] == [url for part in slices for url in part["url"].to_pylist()]
    first = slices[0]["x"].slice(0, 4).to_pylist()
    for part in slices:
        for start in range(0, part.num_rows, 500):
            assert first == part["x"].slice(start, 4).to_pylist()


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=12), st.sampled_from(["string", "large_string", "binary"]))
def test_what_is_no_utf8_costs_no_other_row(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], alias: str
) -> None:
    """As in every other format it becomes U+FFFD: in links, captions and additional columns, nested ones too."""
    path = tmp_path_factory.mktemp("list") / "l.parquet"
    raw = pa.array(values, pa.large_binary() if alias.startswith("large") else pa.binary())
    column = raw if alias == "binary" else pa.Array.from_buffers(pa.type_for_alias(alias), len(raw), raw.buffers())
    inside = pa.StructArray.from_arrays([column, pa.ListArray.from_arrays(range(len(raw) + 1), column)], ["s", "l"])
    pq.write_table(pa.table({"url": column, "caption": column, "extra": inside}), path)
    expected = [value.decode("utf-8", "replace") for value in values]
    came = rows(path, save_additional_columns=("extra",))
    assert expected == [row["url"] for row in came] == [row["captions"][0] for row in came]
    as_stored = values if alias == "binary" else expected
    assert [{"s": value, "l": [value]} for value in as_stored] == [row["extra"] for row in came]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.timestamp("s"), 10**15), (pa.timestamp("us", "UTC"), -(10**17)), (pa.date32(), 10**7),
        (pa.duration("s"), 10**15), (pa.list_(pa.timestamp("ms")), [10**17]), (pa.struct([("a", pa.date32())]), {"a": 10**7}),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_nothing_can_hold_costs_its_row(tmp_path: Path, kind: pa.DataType, value: Any) -> None:
    """A date in the year 20000: that row has a problem, with row and column; the others have their values."""
    integers = {
        pa.list_(pa.timestamp("ms")): pa.list_(pa.int64()),
        pa.struct([("a", pa.date32())]): pa.struct([("a", pa.int32())]),
    }
    raw = integers.get(kind, pa.int32() if kind == pa.date32() else pa.int64())
    nothing = {pa.list_(pa.int64()): [0], pa.struct([("a", pa.int32())]): {"a": 0}}.get(raw, 0)
    column = pa.array([nothing, value, None, nothing], raw).cast(kind)
    came = rows(write(tmp_path / "l.parquet", extra=column), save_additional_columns=("extra",))
    assert [None, "row 2: its 'extra' cannot be kept"] == [
        p and p[:33] for p in (came[0]["problem"], came[1]["problem"])
    ]
    assert [None, None] == [came[1]["extra"], came[2]["extra"]]
    assert came[0]["extra"] == came[3]["extra"] is not None


def test_a_zone_that_is_not_known_is_one_sentence(tmp_path: Path) -> None:
    """So is a struct with two fields of one name."""
    column = pa.array([0] * 4, pa.int64()).cast(pa.timestamp("s", "Atlantis/Capital"))
    path = write(tmp_path / "l.parquet", extra=column)
    with pytest.raises(
        ValueError, match=r"the column 'extra' is timestamp.*which cannot be kept: its time zone is not"
    ):
        rows(path, save_additional_columns=("extra",))
    twice = pa.StructArray.from_arrays([pa.array([1] * 4), pa.array([2] * 4)], ["a", "a"])
    path = write(tmp_path / "l.parquet", extra=twice)
    with pytest.raises(ValueError, match=r"the column 'extra' is struct.*cannot be (kept|read)"):
        rows(path, save_additional_columns=("extra",))


def test_a_column_that_pyarrow_cannot_read_is_read(tmp_path: Path) -> None:
    """It writes lists of one length with a null among them, and cannot read them."""
    column = pa.array([["a", "b"], None, ["c", "d"], ["e", "f"]], pa.list_(pa.string(), 2))
    path = write(tmp_path / "l.parquet", caption=column)
    assert [["a", "b"], [], ["c", "d"], ["e", "f"]] == [row["captions"] for row in rows(path)]


def test_columns_of_several_files_have_one_type(tmp_path: Path) -> None:
    """Wide enough for all; what does not fit, or comes from another format, is one sentence with file and column."""
    write(tmp_path / "a.parquet", x=pa.array([1, 2, None, 3], pa.int32()))
    write(tmp_path / "b.parquet", x=pa.array([1.5, None, 2, 3]).dictionary_encode())
    write(tmp_path / "c.parquet", x=pa.nulls(4))
    came = rows(tmp_path, save_additional_columns=("x",))
    assert [1.0, 2.0, None, 3.0, 1.5, None, 2.0, 3.0, None, None, None, None] == [row["x"] for row in came]
    write(tmp_path / "b.parquet", x=pa.array(["a"] * 4))
    with pytest.raises(
        ValueError, match=r"a\.parquet and others: --save_additional_columns have types that do not fit"
    ):
        rows(tmp_path, save_additional_columns=("x",))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(ValueError, match=r"b\.parquet: not a Parquet file"):
        rows(tmp_path, save_additional_columns=("x",))
    (tmp_path / "b.parquet").unlink()
    (tmp_path / "b.csv").write_text("url,caption,x\nu,c,1\n")
    with pytest.raises(ValueError, match=r"b\.csv: the column 'x' is string, in .*a\.parquet it is int32"):
        rows(tmp_path, save_additional_columns=("x",))


def test_lists_of_captions_in_pieces(tmp_path: Path) -> None:
    """A list column that was cut from a longer one keeps its captions where they belong, without those that are null."""
    values = [["x"], ["a", None, "b"], None, [], ["c"], ["y"]]
    whole = pa.array(values, pa.large_list(pa.large_string()))
    path = write(tmp_path / "l.parquet", caption=whole.slice(1, 4))
    assert [["a", "b"], [], [], ["c"]] == [row["captions"] for row in rows(path)]
    assert pc.count(whole).as_py() == 5
