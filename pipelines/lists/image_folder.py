"""Hugging Face's layout of a folder of pictures: a `metadata.jsonl`, `.csv` or `.parquet`, in any of its folders, whose
`file_name` is a picture's path from there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lists.columns import ListColumns
from pipelines.lists.containers import open_file
from pipelines.lists.csv_records import PICTURE_NAME, csv_records
from pipelines.lists.expected import FIRST
from pipelines.lists.formats import named_rows, parsed, read_list
from pipelines.lists.parquet_lists import open_parquet
from pipelines.lists.rows import LOCATION, batches
from pipelines.lists.text import lines, open_text

_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_CAPTIONS = ("caption", "captions", "text")
"""What the column of captions may be called, unless --caption_col says it."""


def is_metadata(name: str) -> bool:
    """Whether a file of a folder says which pictures it has."""
    return name.rpartition("/")[2] in _NAMES


def read_image_folder(url: str, metadata: Sequence[str], columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """The pictures that metadata name, in their order.

    Args:
        url: of the folder.
        metadata: paths of the files in it that name pictures, in the order in which they are read.
        columns: which of their columns are read; others than by default where the user names them.

    Raises:
        ValueError: if one is damaged, or has no such columns.
    """
    if columns.encoding and all(name.endswith(".parquet") for name in metadata):
        raise ValueError(f"--encoding {columns.encoding}: {url} has Parquet, which has one of its own; leave it out")
    for name in metadata:
        path, folder = f"{url}/{name}", name.rpartition("/")[0]
        for batch in _rows(path, _columns_of(path, columns)):
            url_in_folder = pc.binary_join_element_wise(folder, batch["url"], "/") if folder else batch["url"]
            location = pc.fill_null(url_in_folder, "")
            at = batch.schema.get_field_index
            yield batch.set_column(at("url"), "url", url_in_folder).set_column(at(LOCATION), LOCATION, location)


def _rows(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    extension = path.rpartition(".")[2]
    if extension != "csv":
        yield from read_list(path, extension, columns)
        return
    with open_text(path, columns.encoding) as file:
        yield from batches(named_rows(csv_records(lines(file, newline=""), like=PICTURE_NAME), path, columns))


def _columns_of(path: str, columns: ListColumns) -> ListColumns:
    """Those that are read of one file."""
    default = ListColumns()
    url_col = "file_name" if columns.url_col == default.url_col else columns.url_col
    caption_col = columns.caption_col
    if caption_col == default.caption_col:
        there = _names_in(path, columns)
        caption_col = next((name for name in _CAPTIONS if name in there), caption_col)
    return replace(columns, url_col=url_col, caption_col=caption_col, dataset=None)


def _names_in(path: str, columns: ListColumns) -> set[str]:
    if path.endswith(".parquet"):
        with open_file(path) as file:
            return set(open_parquet(file, path).schema_arrow.names)
    with open_text(path, columns.encoding) as file:
        if path.endswith(".csv"):
            header = next(csv_records(lines(file, newline="")), [])
            return {name.strip() for name in header} if not isinstance(header, str) else set()
        values = (parsed(line) for line in itertools.islice(lines(file), FIRST))
        return {name for value in values if isinstance(value, dict) for name in value}
