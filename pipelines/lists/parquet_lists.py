"""Lists in Parquet, with columns of whatever type: read rightly, or refused in one sentence with column and type."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.lists.arrow_types import (
    faults,
    is_list_of_text,
    is_number,
    is_text,
    plain_array,
    plain_type,
    text_array,
)
from pipelines.lists.columns import ListColumns, check_columns
from pipelines.lists.compression import HEAD, no_list
from pipelines.lists.containers import open_file
from pipelines.lists.joined_parquet import MAGIC, footer_size, has_bytes_before
from pipelines.lists.rows import BATCH_ROWS, LOCATION

T = TypeVar("T")


def read_parquet_list(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet list; additional columns keep their types."""
    with open_file(path) as file:
        table = open_parquet(file, path)
        check_columns(table.schema_arrow.names, path, columns)
        _check_types(table.schema_arrow, columns, path)
        first = 1
        for batch in read_batches(table, columns.names, path):
            values = {
                "url": text_array(batch[columns.url_col]),
                "captions": captions_array(batch[columns.caption_col]),
                LOCATION: pa.nulls(len(batch), pa.string()),
            }
            extras, problems = kept_columns(batch, columns.save_additional_columns, path, first)
            yield pa.RecordBatch.from_pydict({**values, "problem": problems, **extras})
            first += len(batch)


def open_parquet(file: Any, path: str) -> pq.ParquetFile:
    """The Parquet file.

    Raises:
        ValueError: if it is none.
    """
    try:
        table = _parquet_file(file)
        str(table.schema_arrow)  # names of columns that are no text come to light now, not when one is asked for
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if getattr(error, "errno", None):  # the disk's or the store's own
            raise
        raise ValueError(f"{path}: {_no_parquet(file) or _NO_PARQUET}") from None
    if has_bytes_before(file, table):
        raise ValueError(
            f"{path}: other bytes lie before this Parquet file's own, as where files were joined, so its data are not "
            "where it says; give each file by itself, as it was"
        )
    return table


_NO_PARQUET = (
    "not a Parquet file, or one that is cut off or damaged; if it is one, get it anew, else give the --dataset that it "
    "is of, or without --dataset the --input_format that it is written in"
)


def _parquet_file(file: Any, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Bytes that have another sum than their page says are an error, not other values."""
    return pq.ParquetFile(file, metadata=metadata, page_checksum_verification=True)


def _no_parquet(file: Any) -> str:
    """What a file is that is no Parquet, where that is known."""
    try:
        file.seek(0)
        what = no_list(file.read(HEAD))
    except OSError:
        return ""
    return "" if "Parquet" in what else what


def read_batches(table: pq.ParquetFile, names: Sequence[str], path: str) -> Iterator[pa.RecordBatch]:
    """Some columns of a Parquet file, some thousand rows at a time.

    Args:
        table: as `open_parquet` gives it.
        names: of the columns.
        path: of the file, for messages.

    Raises:
        ValueError: naming the first that cannot be read, if one cannot.
    """
    kinds, done = table.schema_arrow, 0
    try:
        try:
            for batch in table.iter_batches(BATCH_ROWS, columns=list(names)):
                yield batch
                done += len(batch)
        except pa.ArrowInvalid:
            if not any(pa.types.is_fixed_size_list(kinds.field(name).type) for name in names):
                raise
            yield from _without_fixed_sizes(path, kinds, names, done)
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # the disk's or the store's own
            raise
        name = next((name for name in names if not _can_be_read(table, name)), names[0])
        raise ValueError(
            f"{path}: the column '{name}' ({kinds.field(name).type}) cannot be read to its end ({error}); get the file "
            "anew, or write the column in another type"
        ) from None


def _without_fixed_sizes(path: str, kinds: pa.Schema, names: Sequence[str], done: int) -> Iterator[pa.RecordBatch]:
    """The rows behind so many, of a file of which Arrow writes lists of one length with nulls and does not read them:
    they are read as Parquet has them, and then made what they were."""
    schema = pa.schema([kinds.field(name) for name in dict.fromkeys(names)])
    with open_file(path) as file:
        file.seek(-8 - footer_size(file), 2)
        footer = file.read().replace(b"ARROW:schema", b"arrow_schema")
        table = _parquet_file(file, pq.read_metadata(pa.BufferReader(MAGIC + footer)))
        for batch in table.iter_batches(BATCH_ROWS, columns=schema.names):
            rows, done = batch.slice(done), max(0, done - len(batch))
            if len(rows):
                yield pa.RecordBatch.from_arrays([rows[each.name].cast(each.type) for each in schema], schema=schema)


def _can_be_read(table: pq.ParquetFile, name: str) -> bool:
    with contextlib.suppress(pa.ArrowException, OSError):
        for _ in table.iter_batches(BATCH_ROWS, columns=[name]):
            pass
        return True
    return False


def _check_types(schema: pa.Schema, columns: ListColumns, path: str) -> None:
    check_text(schema.field(columns.url_col), path)
    check_captions(schema.field(columns.caption_col), path)
    for name in columns.save_additional_columns:
        check_kept(schema.field(name), path)


def check_text(field: pa.Field, path: str) -> None:
    """Whether a column is of text.

    Raises:
        ValueError: if it is not.
    """
    if not is_text(field.type):
        raise ValueError(f"{path}: the column '{field.name}' is {field.type}, expected text")


def check_captions(field: pa.Field, path: str) -> None:
    """Whether a column can be one of captions: text, lists of text, numbers.

    Raises:
        ValueError: if it cannot.
    """
    if not (is_text(field.type) or is_list_of_text(field.type) or is_number(field.type)):
        raise ValueError(f"{path}: the column '{field.name}' is {field.type}, expected text or lists of text")


def captions_array(column: pa.Array) -> pa.ListArray:
    """Captions, one or a list of some in each row, of a column that `check_captions` let pass; null is none."""
    if not is_list_of_text(column.type):
        return _grouped(_numbers_as_text(column), np.arange(len(column)), len(column))
    column = plain_array(column)
    rows = np.asarray(pc.list_parent_indices(column))
    return _grouped(text_array(pc.list_flatten(column)), rows, len(column))


def kept_columns(
    batch: pa.RecordBatch, names: Sequence[str], path: str, first: int
) -> tuple[dict[str, pa.Array], pa.Array]:
    """Additional columns as they are kept, and what is wrong with rows of which one has a value that cannot be.

    Args:
        batch: some rows.
        names: of the columns.
        path: of the list, for messages.
        first: number of the first row in it, from 1.

    Raises:
        ValueError: if a column is of a type that cannot be kept.
    """
    problems: list[str | None] = [None] * len(batch)
    kept = {}
    for name in names:
        array = _checked(functools.partial(plain_array, batch[name]), batch.schema.field(name), path)
        wrong = faults(array)
        for position, why in wrong.items():
            problems[position] = problems[position] or f"row {first + position}: its '{name}' cannot be kept ({why})"
        if wrong:
            array = pc.if_else(pa.array([position in wrong for position in range(len(array))]), None, array)
        kept[name] = array
    return kept, pa.array(problems, pa.string())


def check_kept(field: pa.Field, path: str) -> pa.DataType:
    """The type in which an additional column is kept.

    Raises:
        ValueError: if it cannot be.
    """
    return _checked(functools.partial(plain_type, field.type), field, path)


def _checked(make: Callable[[], T], field: pa.Field, path: str) -> T:
    try:
        return make()
    except ValueError as error:
        raise ValueError(
            f"{path}: the column '{field.name}' is {field.type}, which cannot be kept: {error}; leave it out of "
            "--save_additional_columns"
        ) from None


def _numbers_as_text(column: pa.Array) -> pa.Array:
    if is_number(column.type):
        column = plain_array(column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_finite(column), column, None)
    return text_array(column)


def _grouped(values: pa.Array, rows: np.ndarray, count: int) -> pa.ListArray:
    """Texts as the lists of so many rows; `rows` says of which each is, in ascending order."""
    there = values.is_valid().to_numpy(zero_copy_only=False)
    lengths = np.bincount(rows[there], minlength=count)
    offsets = pa.array(itertools.accumulate(lengths.tolist(), initial=0), pa.int32())
    return pa.ListArray.from_arrays(offsets, values.drop_null())
