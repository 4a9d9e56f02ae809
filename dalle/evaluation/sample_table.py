"""Rows of a `samples.parquet`, ours or another program's: checked before anything follows from them.

A table comes from anywhere. Its columns are of the kinds below, its files lie in its folder, its scores are numbers;
what is not so is said of the table, when it is opened, and not of a picture after hours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from schemas.regular_file import check_regular
from schemas.shapes import INSIDE

_ROWS_AT_ONCE = 4096
_SHOWN = 60


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):  # as pandas keeps texts that come again
        kind = cast(pa.DictionaryType, kind).value_type
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return types.is_floating(kind) or types.is_integer(kind)


_KINDS: Mapping[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "file": ("text", _is_text),
    "caption": ("text", _is_text),
    "caption_id": ("text or whole numbers", lambda kind: _is_text(kind) or types.is_integer(kind)),
    "score": ("numbers", _is_number),
    "sample": ("whole numbers", types.is_integer),
}
"""Of each column that is read, what it holds; one may also hold nothing at all."""


def sample_rows(table: Path) -> Iterator[dict[str, Any]]:
    """The rows, with those of the columns file, caption, caption_id, score and sample that the table has.

    Raises:
        ValueError: if it is no whole Parquet file, or one of its columns or values is not what it should be.
        OSError: if it is not there.
    """
    check_regular(table)
    try:
        with pq.ParquetFile(table) as parquet:
            columns = _columns(parquet.schema_arrow, table)
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=columns):
                for row in cast(pa.RecordBatch, batch).to_pylist():
                    _check_row(row, table)
                    yield row
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None):  # the disk's own
            raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{table}: not a whole Parquet file ({reason}); draw the pictures anew") from None


def _columns(schema: pa.Schema, table: Path) -> list[str]:
    """Those that are read."""
    names = schema.names
    if "file" not in names:
        raise ValueError(f"{table}: has no column file, but {', '.join(names)[:120] or 'none at all'}")
    columns = [name for name in _KINDS if name in names]
    for name in columns:
        if names.count(name) > 1:
            raise ValueError(f"{table}: has {names.count(name)} columns {name}, expected one; take the others out")
        (expected, fits), kind = _KINDS[name], schema.field(name).type
        if not (fits(kind) or types.is_null(kind)):
            raise ValueError(f"{table}: its column {name} is of {kind}, expected {expected}; write it anew so")
    return columns


def _check_row(row: Mapping[str, Any], table: Path) -> None:
    file, score = row["file"], row.get("score")
    if file is not None and not INSIDE.fits(str(PurePosixPath(file))):
        raise ValueError(
            f"{table}: names the file {repr(file)[:_SHOWN]}, expected {INSIDE.expected}; put the picture there, and "
            "name it so"
        )
    if score is not None and math.isnan(score):
        raise ValueError(f"{table}: the score of {file!r} is no number (NaN), so nobody knows the best; draw it anew")
