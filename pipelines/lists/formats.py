"""Read lists of image-caption pairs by the format they are written in.

A line that cannot be parsed is a row with a problem, so that it is counted like any other; a file that cannot be read
is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal

import pyarrow as pa

from pipelines.lists.columns import ListColumns, check_columns, header_again
from pipelines.lists.csv_records import csv_records
from pipelines.lists.expected import expected, none_of
from pipelines.lists.json_arrays import json_items
from pipelines.lists.parquet_lists import read_parquet_list
from pipelines.lists.rows import JSON_TEXT, Row, batches
from pipelines.lists.text import MARK, lines, open_text
from pipelines.lists.values import SeenNames, captions_of, extras_of, kind_of, text_of
from schemas.json_text import parse_json

_BLANK = object()
"""What stands for a line with nothing in it, which is no row."""


def read_list(path: str, extension: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """The rows of one list file, in order, in batches of `pipelines.lists.rows.ROWS` and the additional columns.

    Args:
        path: of the file.
        extension: how it is written, one of `EXTENSIONS`.
        columns: which of its columns are read.

    Raises:
        ValueError: if the list has no such column, or is not written in its format.
        OSError: if it cannot be read.
    """
    if extension == _PARQUET:
        yield from read_parquet_list(path, columns)
        return
    with open_text(path, columns.encoding) as file:
        yield from batches(_READERS[extension](file, path, columns), extra_fields(columns, is_json="json" in extension))


def extension_of(path: str, input_format: InputFormat | None) -> str:
    """How a list is written, one of `EXTENSIONS`: as `--input_format` says, or as its name says.

    Raises:
        ValueError: if neither says it.
    """
    if input_format:
        return input_format.removesuffix(".gz")
    for part in reversed(path.lower().rsplit("/", 1)[-1].split(".")):
        if part in EXTENSIONS:
            return part
    raise ValueError(
        f"{path}: its name does not tell how it is written; give --input_format, one of {', '.join(EXTENSIONS)}"
    )


def extra_fields(columns: ListColumns, *, is_json: bool) -> list[pa.Field]:
    """The additional columns of a format without types of its own."""
    metadata = JSON_TEXT if is_json else None
    return [pa.field(name, pa.string(), metadata=metadata) for name in columns.save_additional_columns]


def tab_separated(file: IO[bytes]) -> Iterator[list[str]]:
    """The fields of each line, without quoting rules: a quote is a character, a tab always ends a field."""
    return (line.rstrip("\r\n").split("\t") for line in lines(file))


def named_rows(
    records: Iterable[list[str] | str], path: str, columns: ListColumns, names: Sequence[str] = ()
) -> Iterator[Row]:
    """The rows of a list whose records are fields in a fixed order.

    Args:
        records: the fields of each line, or what is wrong with it.
        path: of the list, for messages.
        columns: which columns are read.
        names: of the fields, in their order; none if the first record says them.

    Raises:
        ValueError: if there is no line of names, a column that is to be read is not among them, or they come again in
            another order.
    """
    records = iter(records)
    first, header = 1 if names else 2, list[str]()
    if not names:
        begins = next(records, [])
        if isinstance(begins, str):
            raise ValueError(f"{path}: {begins}")
        if not any(header := begins):
            raise ValueError(f"{path}: begins with no line of column names; the list has no rows, or is damaged")
        names = [name.strip() for name in header]
    at = {name: i for i, name in enumerate(names)}
    check_columns(names, path, columns)
    url, caption = at[columns.url_col], at[columns.caption_col]
    extras = [at[name] for name in columns.save_additional_columns]
    for number, fields in enumerate(records, first):
        if isinstance(fields, str):
            yield Row(None, [], problem=fields)
        elif problem := header_again(fields, header, path, number):
            yield Row(None, [], problem=problem)
        elif len(fields) == len(names):
            yield Row(fields[url], [fields[caption]], [fields[i] for i in extras])
        elif fields not in ([], [""]):  # an empty line is no row
            yield Row(None, [], problem=f"row {number}: {len(fields)} fields, expected {len(names)}")


def object_rows(values: Iterable[Any], where: str, path: str, columns: ListColumns) -> Iterator[Row]:
    """The rows of a list of objects.

    Args:
        values: the objects as they were parsed, or the errors that parsing them raised.
        where: what each is called, such as item, for messages.
        path: of the list, for messages.
        columns: which of their members are read.

    Raises:
        ValueError: at the end, if none of the objects has one of these.
    """
    seen = SeenNames(path, columns, columns.names)
    for number, value in enumerate(seen.watch(iter(values)), 1):
        if value is not _BLANK:
            yield from_object(value, f"{where} {number}", columns)


def from_object(value: Any, where: str, columns: ListColumns) -> Row:
    """A row of a JSON object; its additional columns as JSON text.

    Args:
        value: the object as it was parsed, or the error that parsing it raised.
        where: which one it is, for messages.
        columns: which of its members are read.
    """
    url = None
    try:
        if not isinstance(value, dict):
            raise value if isinstance(value, ValueError) else ValueError(f"is {kind_of(value)}, expected an object")
        if columns.url_col not in value:
            raise ValueError(f"has no '{columns.url_col}', only {', '.join(value)}"[: 200 - len(where)])
        url = text_of(value[columns.url_col], f"'{columns.url_col}'")
        return Row(url, captions_of(value.get(columns.caption_col)), extras_of(value, columns))
    except ValueError as error:
        return Row(url, [], problem=f"{where}: {error}")


def _txt(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    if columns.save_additional_columns:
        raise ValueError(f"{path}: a txt list has only addresses, so --save_additional_columns finds nothing")

    def wrong(count: int) -> str:
        return f"{path}: {none_of(count, 'a link')}; name it after what it is, or give the --input_format of it"

    addresses = (part.strip() for line in lines(file) for part in line.split(MARK))  # joined without a line's end, too
    for address in expected(addresses, _is_link, wrong):
        if address:
            yield Row(address, [])


def _is_link(address: str) -> bool | None:
    return bool(_LINK.match(address)) and not _OF_A_TABLE.search(address) if address else None


_LINK = re.compile(r"[a-z][a-z0-9+.\-]*:\S|//\S|\w[\w\-]*(?:\.[\w\-]+)+(?::\d+)?/", re.IGNORECASE)
"""What one begins with: a scheme or a host."""
_OF_A_TABLE = re.compile(r"\t|,.*\s|\.(?:jpe?g|png|gif|webp)\s*,", re.IGNORECASE)
"""What shows that a line has another column behind its link."""


def _csv(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    return named_rows(csv_records(lines(file, newline="")), path, columns)


def _tsv(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    return named_rows(tab_separated(file), path, columns)


def _json(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    return object_rows(json_items(file, "", path), "item", path, columns)


def _jsonl(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    values = (parsed(line) if line.strip() else _BLANK for line in lines(file))

    def wrong(count: int) -> str:
        return f"{path}: {none_of(count, 'a JSON object')}; give the --input_format that it is written in"

    return object_rows(expected(values, _is_object, wrong), "line", path, columns)


def _is_object(value: Any) -> bool | None:
    return None if value is _BLANK else isinstance(value, dict)


def parsed(text: str | bytes) -> Any:
    """The value of some JSON, or the error that parsing it raised."""
    try:
        return parse_json(text)
    except ValueError as error:
        return error


_READERS: dict[str, Callable[[IO[bytes], str, ListColumns], Iterator[Row]]] = {
    "txt": _txt,
    "csv": _csv,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
}
_PARQUET = "parquet"

EXTENSIONS = (*_READERS, _PARQUET)
"""What a list's name may end with, before that of its compression."""
INPUT_FORMATS = (*EXTENSIONS, *(f"{extension}.gz" for extension in _READERS))
"""What `--input_format` may be."""

if TYPE_CHECKING:
    InputFormat = str  # mypy cannot read choices that are made when the module is loaded
else:
    InputFormat = Literal[INPUT_FORMATS]
