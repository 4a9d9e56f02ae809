"""A shard of pairs: the ledger with one row for every input row, and the pictures of those that were kept.

As `webdataset` it is a tar of key.jpg, key.txt, key.json beside a Parquet ledger; as `parquet` the ledger has one
more column with the pictures. Where nothing was kept the tar may be missing (see `pipelines.running.first_tar`).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import pyarrow as pa

from schemas.folder import Folder, Staging
from schemas.pairs import LEDGER, NOT_IN_MEMBER, PICTURES, SUCCESS, ledger_schema
from schemas.shards import Sample, read_parquet, read_tar, write_parquet, write_tar

OutputFormat = Literal["webdataset", "parquet"]
_ROWS_AT_ONCE = 500
"""Rows whose pictures are held in memory together while a Parquet shard is written."""


def write_pairs(
    staging: Staging,
    shard: str,
    ledger: pa.Table,
    picture: Callable[[int], bytes],
    *,
    kind: str,
    output_format: OutputFormat,
) -> None:
    """Make a shard's files ready.

    Args:
        staging: where they are made ready.
        shard: its number, in digits.
        ledger: a row for every input row, without pictures.
        picture: the stored picture of a row, by its index; asked only for rows that are kept, in order.
        kind: extension of the pictures, one of `PICTURES`.
        output_format: `webdataset` or `parquet`.
    """
    name = f"{shard}.parquet"
    if output_format == "webdataset":
        with staging.file(f"{shard}.tar") as file:
            write_tar(file, _samples(ledger, picture, kind))
        with staging.file(name) as file:
            write_parquet(file, [ledger], ledger.schema)
    else:
        schema = ledger_schema(extra_columns(ledger.schema), kind)
        with staging.file(name) as file:
            write_parquet(file, _with_pictures(ledger, picture, schema), schema)


def read_ledger(folder: Folder, shard: str) -> pa.Table:
    """A shard's ledger, without pictures.

    Raises:
        ValueError: if it is damaged.
    """
    table = read_parquet(folder, f"{shard}.parquet")
    return table.drop_columns([name for name in PICTURES if name in table.column_names])


def read_pictures(folder: Folder, shard: str) -> Iterator[tuple[str, str, bytes]]:
    """Key, extension and stored bytes of each picture of a shard, in order, one at a time.

    Raises:
        ValueError: if the shard is damaged or has not the pictures of what it keeps.
    """
    tar = f"{shard}.tar"
    if folder.exists(tar):
        with folder.open(tar) as file:
            for key, members in read_tar(file, folder.path(tar)):
                kind = next((k for k in PICTURES if k in members), None)
                if kind is None:
                    raise ValueError(f"{folder.path(tar)}: sample {key} has no picture; make the shard again")
                yield key, kind, members[kind]
        return
    table = read_parquet(folder, f"{shard}.parquet")
    kind = next((k for k in PICTURES if k in table.column_names), None)
    if kind is None:
        if SUCCESS in table["status"].to_pylist():
            raise ValueError(f"{folder.path(shard)}: has neither a tar nor a column of pictures")
        return
    for key, data in zip(table["key"].to_pylist(), table[kind], strict=True):
        if data.is_valid:
            yield key, kind, data.as_py()


def extra_columns(schema: pa.Schema) -> pa.Schema:
    """The list's own columns among a ledger's."""
    return pa.schema([f for f in schema if f.name not in LEDGER.names and f.name not in PICTURES])


def sample_json(row: Mapping[str, Any]) -> bytes:
    """A sample's JSON member: the ledger's columns that say something of it, then the list's own.

    Our own columns that are null are left out and the list's are not, so that a reader which takes the columns from
    the first sample finds the same ones in all. What is no JSON: NaN and infinities are null, bytes are hex, dates and
    decimals are text.
    """
    members = {
        name: _json_value(value)
        for name, value in row.items()
        if name not in NOT_IN_MEMBER and not (value is None and name in LEDGER.names)
    }
    return json.dumps(members, ensure_ascii=False, default=str).encode()


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_json_value(each) for each in value]
    if isinstance(value, dict):
        return {name: _json_value(each) for name, each in value.items()}
    return value


def _samples(ledger: pa.Table, picture: Callable[[int], bytes], kind: str) -> Iterator[Sample]:
    for index, row in enumerate(_rows(ledger)):
        if row["status"] == SUCCESS:
            members = {
                kind: picture(index),
                "txt": (row["text"] or "").encode(),
                "json": sample_json(row),
            }
            yield row["key"], members


def _rows(ledger: pa.Table) -> Iterator[dict[str, Any]]:
    batches = (batch.to_pylist() for batch in ledger.to_batches(max_chunksize=_ROWS_AT_ONCE))
    return itertools.chain.from_iterable(batches)


def _with_pictures(ledger: pa.Table, picture: Callable[[int], bytes], schema: pa.Schema) -> Iterator[pa.Table]:
    for start in range(0, ledger.num_rows, _ROWS_AT_ONCE):
        part = ledger.slice(start, _ROWS_AT_ONCE)
        pictures = [
            picture(start + i) if status == SUCCESS else None for i, status in enumerate(part["status"].to_pylist())
        ]
        yield pa.Table.from_arrays([*part.columns, pa.array(pictures, pa.binary())], schema=schema)
