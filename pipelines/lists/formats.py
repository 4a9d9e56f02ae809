"""Read lists of image-caption pairs by the format they are written in.

A line that cannot be parsed is a row with a problem, so that it is counted like any other; a file that cannot be read
is an error.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal

import fsspec
import ijson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lists.columns import ListColumns
from pipelines.lists.rows import BATCH_ROWS, JSON_TEXT, LOCATION, Row, batches

_LONGEST_FIELD = 1 << 20
_DEEPEST = 100


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
    with open_text(path) as file:
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


def open_text(path: str) -> Any:
    """A file's bytes, decompressed as its name says."""
    return fsspec.open(path, "rb", compression="infer")


def lines(file: IO[bytes], newline: str = "\n") -> io.TextIOWrapper:
    """Lines as UTF-8, with or without a byte order mark; what is no UTF-8 becomes U+FFFD and stays visible."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=newline)


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
        ValueError: if there is no line of names, or a column that is to be read is not among them.
    """
    records = iter(records)
    first = 1 if names else 2
    if not names:
        header = next(records, [])
        if isinstance(header, str):
            raise ValueError(f"{path}: {header}")
        if not any(header):
            raise ValueError(f"{path}: begins with no line of column names; the list has no rows, or is damaged")
        names = [name.strip() for name in header]
    at = {name: i for i, name in enumerate(names)}
    check_columns(names, path, columns)
    url, caption = at[columns.url_col], at[columns.caption_col]
    extras = [at[name] for name in columns.save_additional_columns]
    for number, fields in enumerate(records, first):
        if isinstance(fields, str):
            yield Row(None, [], problem=fields)
        elif len(fields) == len(names):
            yield Row(fields[url], [fields[caption]], [fields[i] for i in extras])
        elif fields not in ([], [""]):  # an empty line is no row
            yield Row(None, [], problem=f"row {number}: {len(fields)} fields, expected {len(names)}")


def json_items(file: IO[bytes], prefix: str, path: str) -> Iterator[Any]:
    """The items of an array in a JSON file, one at a time.

    Raises:
        ValueError: if the file is not JSON.
    """
    item_prefix = f"{prefix}.item" if prefix else "item"
    try:
        shallow = _not_too_deep(ijson.basic_parse(file, use_float=True), path)
        yield from ijson.items(_with_the_array(ijson.parse(shallow), path, prefix), item_prefix)
    except ijson.JSONError as error:
        hint = "" if prefix else "; if it has an object a line, give --input_format jsonl"
        raise ValueError(f"{path}: not the JSON expected ({str(error).splitlines()[0]}){hint}") from None


def _not_too_deep(events: Iterable[tuple[str, Any]], path: str) -> Iterator[tuple[str, Any]]:
    """The parser's events; ijson builds whatever depth it is given, out of all the memory there is."""
    depth = 0
    for event in events:
        if event[0] in ("start_map", "start_array"):
            depth += 1
            if depth > _DEEPEST:
                raise ValueError(
                    f"{path}: values lie more than {_DEEPEST} deep in one another; this is no list of pairs"
                )
        elif event[0] in ("end_map", "end_array"):
            depth -= 1
        yield event


def _with_the_array(events: Iterable[tuple[str, str, Any]], path: str, prefix: str) -> Iterator[tuple[str, str, Any]]:
    arrays = 0
    for event in events:
        arrays += event[:2] == (prefix, "start_array")
        yield event
    if not arrays:
        where = f"at '{prefix}'" if prefix else "of objects"
        raise ValueError(f"{path}: has no array {where}; if it has an object a line, give --input_format jsonl")


def from_object(value: Any, where: str, columns: ListColumns, captions: Sequence[Any] | None = None) -> Row:
    """A row of a JSON object; its additional columns as JSON text.

    Args:
        value: the object as it was parsed, or the error that parsing it raised.
        where: which one it is, for messages.
        columns: which of its members are read.
        captions: taken in place of those of the caption's column.
    """
    if not isinstance(value, dict):
        what = str(value) if isinstance(value, ValueError) else f"{type(value).__name__}, expected an object"
        return Row(None, [], problem=f"{where}: {what}")
    if columns.url_col not in value:
        return Row(None, [], problem=f"{where}: has no '{columns.url_col}', only {', '.join(value)}"[:200])
    if captions is None:
        caption = value.get(columns.caption_col)
        captions = caption if isinstance(caption, list) else [caption]
    extras = [
        json.dumps(value[name], ensure_ascii=False) if value.get(name) is not None else None
        for name in columns.save_additional_columns
    ]
    url = value[columns.url_col]
    return Row(None if url is None else as_text(url), [as_text(c) for c in captions if c is not None], extras)


def as_text(value: Any) -> str:
    """Text without the lone surrogates that JSON can spell and UTF-8 cannot."""
    return str(value).encode("utf-8", "replace").decode()


def check_columns(names: Sequence[str], path: str, columns: ListColumns) -> None:
    """Every column that is read must be there exactly once.

    Raises:
        ValueError: naming the first that is not, those that are, and the flag.
    """
    flags = {columns.url_col: "--url_col", columns.caption_col: "--caption_col"}
    for name in (columns.url_col, columns.caption_col, *columns.save_additional_columns):
        if list(names).count(name) > 1:
            raise ValueError(f"{path}: has the column '{name}' {list(names).count(name)} times; leave one of them")
        if name not in names:
            flag = flags.get(name, "--save_additional_columns or --verify_hash")
            advice = f"name the right one with {flag}"
            if columns.dataset and name in flags:  # a preset does not ask for their names
                advice = f"so it is not {columns.dataset}'s; give its own --dataset, or none and name its columns"
            raise ValueError(f"{path}: has no column '{name}'; its columns are {_few(names)}; {advice}")


def _few(names: Sequence[str]) -> str:
    """Names for a message, also where a file that is no list gives many or long ones."""
    shortened = [name if len(name) <= 40 else f"{name[:40]}…" for name in names[:30]]
    return ", ".join(shortened) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def read_parquet_list(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet list; additional columns keep their types."""
    with fsspec.open(path, "rb") as file:
        table = open_parquet(file, path)
        check_columns(table.schema_arrow.names, path, columns)
        wanted = dict.fromkeys((columns.url_col, columns.caption_col, *columns.save_additional_columns))
        for batch in table.iter_batches(BATCH_ROWS, columns=list(wanted)):
            caption = batch[columns.caption_col]
            is_list = pa.types.is_list(caption.type)
            nothing = pa.nulls(len(batch), pa.string())
            values = {
                "url": batch[columns.url_col].cast(pa.string()),
                "captions": caption.cast(pa.list_(pa.string())) if is_list else _one_each(caption),
                LOCATION: nothing,
                "problem": nothing,
                **{name: batch[name] for name in columns.save_additional_columns},
            }
            yield pa.RecordBatch.from_pydict(values)


def open_parquet(file: Any, path: str) -> pq.ParquetFile:
    """The Parquet file.

    Raises:
        ValueError: if it is none.
    """
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from None


def _one_each(caption: pa.Array) -> pa.ListArray:
    lengths = caption.is_valid().cast(pa.int32()).to_numpy(zero_copy_only=False)
    offsets = pa.array(itertools.accumulate(lengths.tolist(), initial=0), pa.int32())
    return pa.ListArray.from_arrays(offsets, caption.drop_null().cast(pa.string()))


def _txt(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    if columns.save_additional_columns:
        raise ValueError(f"{path}: a txt list has only addresses, so --save_additional_columns finds nothing")
    for line in lines(file):
        if address := line.strip():
            yield Row(address, [])


def _csv(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    return named_rows(comma_separated(file), path, columns)


def comma_separated(file: IO[bytes], delimiter: str = ",") -> Iterator[list[str] | str]:
    """The fields of each record as RFC 4180 has them, or what is wrong with it."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(lines(file, newline=""), delimiter=delimiter)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {reader.line_num}: {error}"


def _tsv(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    return named_rows(tab_separated(file), path, columns)


def _json(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    for number, value in enumerate(json_items(file, "", path), 1):
        yield from_object(value, f"item {number}", columns)


def _jsonl(file: IO[bytes], path: str, columns: ListColumns) -> Iterator[Row]:
    for number, line in enumerate(lines(file), 1):
        if line.strip():
            yield from_object(_parsed(line), f"line {number}", columns)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        return error
    except RecursionError:
        return ValueError("its values lie too deep in one another")


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
