"""Additional columns have one type in all files of a list, so that all shards have the same columns."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from pipelines.lists.containers import open_file
from pipelines.lists.parquet_lists import check_kept, open_parquet
from pipelines.lists.rows import JSON_TEXT, ROWS

_ADVICE = "leave it out of --save_additional_columns, or collect the files one by one"


def common_types(paths: Sequence[str], names: Sequence[str]) -> dict[str, pa.DataType]:
    """One type for each additional column of several Parquet files, wide enough for all (LAION's vary).

    Raises:
        ValueError: if a file is none, or there is no such type.
    """
    schemas = []
    for path in paths:
        with open_file(path) as file:
            schema = open_parquet(file, path).schema_arrow
        kept = [schema.field(name) for name in dict.fromkeys(names) if schema.names.count(name) == 1]
        schemas.append(pa.schema([pa.field(each.name, check_kept(each, path)) for each in kept]))
    try:
        return {field.name: field.type for field in pa.unify_schemas(schemas, promote_options="permissive")}
    except pa.ArrowException as error:
        raise ValueError(
            f"{paths[0]} and others: --save_additional_columns have types that do not fit ({error})"
        ) from None


class OneType:
    """Brings batches of all files into the same types, or says of which column that cannot be done."""

    def __init__(self, types: dict[str, pa.DataType]) -> None:
        self._types = types
        self._first: dict[str, tuple[pa.DataType, bool, str]] = {}

    def __call__(self, batch: pa.RecordBatch, path: str) -> pa.RecordBatch:
        """The batch of a file's rows, with additional columns in the types that were given.

        Raises:
            ValueError: if a value does not fit, or a column is of another type than in the files before.
        """
        columns, fields = [], []
        for field, column in zip(batch.schema, batch.columns, strict=True):
            fitted = column if field.name in ROWS.names else self._fitted(column, field, path)
            columns.append(fitted)
            fields.append(pa.field(field.name, fitted.type, metadata=field.metadata))
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _fitted(self, column: pa.Array, field: pa.Field, path: str) -> pa.Array:
        kind = self._types.get(field.name, column.type)
        if not kind.equals(column.type):
            column = (
                pa.nulls(len(column), kind) if column.null_count == len(column) else _cast(column, kind, field, path)
            )
        is_json = field.metadata == JSON_TEXT
        first, was_json, before = self._first.setdefault(field.name, (kind, is_json, path))
        if (first, was_json) != (kind, is_json):
            raise ValueError(
                f"{path}: the column '{field.name}' is {'JSON' if is_json else kind}, in {before} it is "
                f"{'JSON' if was_json else first}; {_ADVICE}"
            )
        return column


def _cast(column: pa.Array, kind: pa.DataType, field: pa.Field, path: str) -> pa.Array:
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise ValueError(
            f"{path}: the column '{field.name}' is {column.type}, which does not fit the others' {kind} ({error}); "
            f"{_ADVICE}"
        ) from None
