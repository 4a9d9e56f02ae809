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
"""Metadata of an additional column that holds JSON text; its narrowest type is known once the whole list is cut."""

LOCATION = "place"
"""Name of the column of `Row.location`: it is part of what units are fingerprinted by, so that another name would have
every finished unit collected anew."""

ROWS = pa.schema(
    [
        pa.field("url", pa.string(), metadata={"description": "as given"}),
        pa.field("captions", pa.list_(pa.string()), metadata={"description": "all captions of the picture"}),
        pa.field(LOCATION, pa.string(), metadata={"description": "where a local picture lies, as open_local takes it"}),
        pa.field("problem", pa.string(), metadata={"description": "what is wrong with the line, or null"}),
    ]
)


@dataclass(frozen=True)
class Row:
    """One line of a list."""

    url: str | None
    """As the list has it; None if it has none."""
    captions: Sequence[str]
    """All captions of the picture, uncleaned."""
    extras: Sequence[str | None] = ()
    """Values of the additional columns, in their order; empty where the line has none of them."""
    location: str | None = None
    """Of a local picture, relative to the folder of pictures: a path, `location_within` or `known_absent`; the empty
    string says that the picture is not there. None: it is fetched from `url`."""
    problem: str | None = None
    """What is wrong with the line, in words; None if nothing is."""


def batches(rows: Iterable[Row], extras: Sequence[pa.Field] = ()) -> Iterator[pa.RecordBatch]:
    """The rows as record batches of `ROWS` and the additional columns, all strings."""
    schema = pa.schema([*ROWS, *extras])
    rows = iter(rows)
    while some := list(itertools.islice(rows, BATCH_ROWS)):
        columns: list[list] = [
            [row.url for row in some],
            [row.captions for row in some],
            [row.location for row in some],
            [row.problem for row in some],
        ]
        columns += [[row.extras[i] if row.extras else None for row in some] for i in range(len(extras))]
        arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: list, kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # what JSON and names of files can spell and UTF-8 cannot
        return pa.array([v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values], kind)


def path_inside(root: str, name: str) -> str:
    """The path of a local row's picture: `name` joined to `root`.

    Raises:
        ValueError: if the name leads out of the folder.
    """
    if name.startswith("/") or "\\" in name or "\0" in name or "://" in name or ".." in PurePosixPath(name).parts:
        raise ValueError(f"'{name}' leads out of the folder")
    return f"{root}/{name}"


def location_within(archive: str, *within: object) -> str:
    """Where a picture lies in an archive: offset and size in bytes in a tar, row and column in a Parquet file."""
    return "\0".join(map(str, (archive, *within)))


def known_absent(why: str) -> str:
    """The location of a picture that is known not to be there, with the reason in words."""
    return f"\0{why}"


def host_of(url: str) -> str:
    """The host that a link names, for counting; the link itself if it names none."""
    try:
        return (urlsplit(url.strip()).hostname or url[:40]).lower()
    except ValueError:
        return url[:40]
