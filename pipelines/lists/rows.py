"""The rows of a list on their way into units: one table for every source."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pyarrow as pa

BATCH_ROWS = 8192

JSON_TEXT = {b"type": b"json"}
"""Metadata of an additional column that holds JSON text; the plan finds the narrowest type for it at its end."""

ROWS = pa.schema(
    [
        pa.field("url", pa.string(), metadata={"description": "as given"}),
        pa.field("captions", pa.list_(pa.string()), metadata={"description": "all captions of the picture"}),
        pa.field("place", pa.string(), metadata={"description": "of a local picture, as open_local takes it"}),
        pa.field("problem", pa.string(), metadata={"description": "what is wrong with the line, or null"}),
    ]
)


@dataclass(frozen=True)
class Row:
    """One line of a list."""

    url: str | None
    captions: Sequence[str]
    extras: Sequence[str | None] = ()
    place: str | None = None
    problem: str | None = None


def batches(rows: Iterable[Row], extras: Sequence[pa.Field] = ()) -> Iterator[pa.RecordBatch]:
    """The rows as record batches of `ROWS` and the additional columns, all strings."""
    schema = pa.schema([*ROWS, *extras])
    rows = iter(rows)
    while some := list(itertools.islice(rows, BATCH_ROWS)):
        columns: list[list] = [[getattr(row, name) for row in some] for name in ROWS.names]
        columns += [[r.extras[i] if r.extras else None for r in some] for i in range(len(extras))]
        arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: list, kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # what JSON and names of files can spell and UTF-8 cannot
        return pa.array([v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values], kind)


def path_inside(root: str, name: str) -> str:
    """Where a local row's picture lies.

    Raises:
        ValueError: if the name leads out of the folder.
    """
    if name.startswith("/") or "\\" in name or "\0" in name or "://" in name or ".." in PurePosixPath(name).parts:
        raise ValueError(f"'{name}' leads out of the folder")
    return f"{root}/{name}"


def place_within(archive: str, *within: object) -> str:
    """The place of a picture in an archive: offset and size in a tar, row and column in a Parquet file."""
    return "\0".join(map(str, (archive, *within)))


def known_absent(why: str) -> str:
    """The place of a picture that is known not to be there."""
    return f"\0{why}"


def host_of(url: str) -> str:
    """The host that a link names, for counting; the link itself if it names none."""
    try:
        return (urlsplit(url.strip()).hostname or url[:40]).lower()
    except ValueError:
        return url[:40]
