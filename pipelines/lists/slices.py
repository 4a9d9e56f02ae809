"""Cut a list into units, the rows of one shard each, in one pass and flat memory.

The slices lie in `_plan/` of the output folder while the job runs, as uncompressed Arrow files that a worker maps;
`_plan/plan.json` is written last and says which list and which cut they came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lists.rows import JSON_TEXT, ROWS
from pipelines.running.unit import PLAN, Unit
from schemas.folder import Folder
from schemas.shapes import TEXT, Names, misfit, whole, words
from schemas.shards import shard_digits, shard_name

_INDEX = f"{PLAN}/plan.json"
_SHAPE = {
    "identity": TEXT,
    "rows": [whole(1)],
    "hashes": [TEXT],
    "types": Names(TEXT, words("string", "int64", "double", "bool")),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All units of a list."""

    units: tuple[Unit, ...]
    rows: int
    hashes: tuple[str, ...]
    """sha256 of each unit's rows."""
    types: dict[str, str]
    """The narrowest type of each additional column that came as JSON."""


@dataclass(frozen=True, kw_only=True)
class ShardNumbers:
    """How the shards of a list are numbered."""

    first: int = 0
    """Number of the first one, 0 or more."""
    digits: int = 5
    """Digits of a number at least, 1 or more; it has more if the greatest number has."""


def make_plan(
    rows: Iterable[pa.RecordBatch],
    folder: Folder,
    identity: str,
    rows_per_unit: int,
    numbers: ShardNumbers = ShardNumbers(),
) -> Plan:
    """Write the slices of a list, or take those of an interrupted run that was made from the same list.

    Args:
        rows: batches as `pipelines.lists.rows` has them.
        folder: the output folder.
        identity: fingerprint of the list, how it is read and how it is cut.
        rows_per_unit: rows of each unit but the last, 1 or more.
        numbers: of the shards.

    Raises:
        ValueError: if the list has no rows.
    """
    if before := plan_before(folder, identity, numbers):
        return before
    folder.remove_tree(PLAN)
    try:
        index = {"identity": identity, **_write_slices(_slices(rows, rows_per_unit), folder)}
    except ValueError:  # the list is not what the flags say, which may turn out at its end
        folder.remove_tree(PLAN)
        raise
    folder.write_json(_INDEX, index)
    return _plan(index, numbers)


def plan_before(folder: Folder, identity: str, numbers: ShardNumbers) -> Plan | None:
    """The units that an interrupted run left in the output folder, if it was of the same list; only reads.

    Raises:
        ValueError: if what it left was damaged.
    """
    if not folder.exists(_INDEX):
        return None
    index = folder.read_json(_INDEX)
    if fault := misfit(index, _SHAPE):
        raise ValueError(
            f"{folder.path(_INDEX)}: {fault}; it was damaged after writing, remove the folder {PLAN} and run again"
        )
    return _plan(index, numbers) if index["identity"] == identity else None


def _write_slices(slices: Iterable[pa.Table], folder: Folder) -> dict[str, Any]:
    """What the index says of the slices."""
    hashes, counts, kinds = [], [], dict[str, str]()
    for number, table in enumerate(slices):
        for name, kind in _narrowest_types(table).items():
            kinds[name] = _wider(kinds.get(name, "null"), kind)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        folder.write(f"{PLAN}/{number}.arrow", sink.getvalue().to_pybytes())
        hashes.append(content_sha256(table))
        counts.append(table.num_rows)
    if not counts:
        raise ValueError("the list has no rows; expected at least one")
    return {"hashes": hashes, "rows": counts, "types": _known(kinds)}


def read_slice(folder: Folder, unit: Unit, types: dict[str, str]) -> pa.Table:
    """A unit's rows, its JSON columns parsed to the types that the plan found."""
    with folder.open(unit.source) as file:
        table = pa.ipc.open_file(file.read()).read_all()
    return parse_columns(table, types)


def narrowest_types(table: pa.Table) -> dict[str, str]:
    """The narrowest type of each additional column that came as JSON."""
    return _known(_narrowest_types(table))


def parse_columns(table: pa.Table, types: dict[str, str]) -> pa.Table:
    """The table with its JSON columns parsed to these types."""
    for name in _json_columns(table.schema):
        values = [None if v is None else json.loads(v) for v in table[name].to_pylist()]
        kind = types[name]
        if kind == "string":
            values = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
        array = pa.array(values, pa.type_for_alias(kind))
        table = table.set_column(table.schema.get_field_index(name), name, array)
    return table


def content_sha256(table: pa.Table) -> str:
    """sha256 of what the table says, whichever batches and buffers it came in."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name].combine_chunks()
        digest.update(f"{name}\0{column.type}\0{len(column)}\0".encode())
        # more than 2 GiB of text stay in chunks
        for array in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            for piece in _content(array):
                digest.update(piece)
    return digest.hexdigest()


def _plan(index: dict[str, Any], numbers: ShardNumbers) -> Plan:
    digits = shard_digits(numbers.first + len(index["rows"]), numbers.digits)
    units = [
        Unit(shard=shard_name(numbers.first + i, digits), rows=rows, source=f"{PLAN}/{i}.arrow")
        for i, rows in enumerate(index["rows"])
    ]
    return Plan(units=tuple(units), rows=sum(index["rows"]), hashes=tuple(index["hashes"]), types=index["types"])


def _slices(rows: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in rows:
        start = 0
        while held + len(batch) - start >= size:
            piece = batch.slice(start, size - held)
            yield pa.Table.from_batches([*waiting, piece]).combine_chunks()
            start, waiting, held = start + len(piece), [], 0
        if start < len(batch):
            waiting.append(batch.slice(start))
            held += len(batch) - start
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _content(array: pa.Array) -> Iterator[bytes]:
    yield array.is_valid().to_numpy(zero_copy_only=False).tobytes()
    kind = array.type
    if pa.types.is_null(kind):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        yield from _content(array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        joined = array.fill_null("").cast(pa.large_binary())
        start, end = np.frombuffer(joined.buffers()[1], "<i8")[[joined.offset, joined.offset + len(joined)]]
        yield memoryview(joined.buffers()[2] or b"")[start:end].tobytes()
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        yield array.fill_null(False if pa.types.is_boolean(kind) else 0).to_numpy(zero_copy_only=False).tobytes()
    else:
        yield repr(array.to_pylist()).encode()


def _json_columns(schema: pa.Schema) -> list[str]:
    return [f.name for f in schema if f.name not in ROWS.names and f.metadata == JSON_TEXT]


def _narrowest_types(table: pa.Table) -> dict[str, str]:
    return {name: _narrowest(table[name]) for name in _json_columns(table.schema)}


def _known(kinds: dict[str, str]) -> dict[str, str]:
    return {name: "string" if kind == "null" else kind for name, kind in kinds.items()}


def _narrowest(column: pa.ChunkedArray) -> str:
    kind = "null"
    for text in column.drop_null().to_pylist():
        value = json.loads(text)
        value_kind = {bool: "bool", int: "int64", float: "double"}.get(type(value), "string")
        if value_kind == "int64" and not -(2**63) <= value < 2**63:
            value_kind = "string"
        kind = _wider(kind, value_kind)
        if kind == "string":
            break
    return kind


def _wider(a: str, b: str) -> str:
    if a == b or b == "null":
        return a
    if a == "null":
        return b
    return "double" if {a, b} == {"int64", "double"} else "string"
