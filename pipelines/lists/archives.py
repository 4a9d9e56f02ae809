"""Pictures that lie in shards already: img2dataset's folders and webdataset's tars.

A row's location names the archive, offset and size, so that a worker reads just the picture's bytes; or the Parquet
file, row and column (see `pipelines.lists.rows.location_within`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from dalle.pictures.file_names import passed_over
from pipelines.lists.arrow_types import text_array
from pipelines.lists.columns import ListColumns
from pipelines.lists.containers import open_file
from pipelines.lists.formats import parsed
from pipelines.lists.parquet_lists import (
    captions_array,
    check_captions,
    check_text,
    kept_columns,
    open_parquet,
    read_batches,
)
from pipelines.lists.rows import JSON_TEXT, LOCATION, Row, batches, known_absent, location_within
from pipelines.lists.tar_samples import TarSample, tar_samples
from pipelines.lists.text import decoded
from pipelines.lists.values import SeenNames, captions_of, extras_of, text_of
from schemas.stores import store_of

_PICTURES = ("jpg", "png", "webp")
_TWICE = "its key comes more than once in the tar"


def webdataset(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """The samples of a tar: a picture with a .txt, or a .json that has `caption` or `text`."""
    extras = [pa.field(name, pa.string(), metadata=JSON_TEXT) for name in columns.save_additional_columns]
    yield from batches(_tar_rows(path, columns), extras)


def img2dataset(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """One shard of img2dataset's, by its Parquet file: rows in its order, pictures from the tar or the column."""
    with open_file(path) as file:
        table = open_parquet(file, path)
        names = table.schema_arrow.names
        missing = [name for name in ("key", "url", "status", *columns.save_additional_columns) if name not in names]
        if missing:
            raise ValueError(f"{path}: has no column '{missing[0]}', so it is no shard of img2dataset's")
        known = [name for name in ("key", "url", "caption", "status", "error_message") if name in names]
        for name in known:
            (check_captions if name == "caption" else check_text)(table.schema_arrow.field(name), path)
        location = _locator(path, names)
        first = 1
        for batch in read_batches(table, [*dict.fromkeys((*known, *columns.save_additional_columns))], path):
            of = {name: text_array(batch[name]) for name in known if name != "caption"}
            rows = pa.RecordBatch.from_pydict(of).to_pylist()
            extras, problems = kept_columns(batch, columns.save_additional_columns, path, first)
            no_captions = pa.array([[]] * len(batch), pa.list_(pa.string()))
            values = {
                "url": of["url"],
                "captions": captions_array(batch["caption"]) if "caption" in known else no_captions,
                LOCATION: pa.array([location(row, n) for n, row in enumerate(rows, first - 1)], pa.string()),
                "problem": problems,
            }
            yield pa.RecordBatch.from_pydict({**values, **extras})
            first += len(batch)


def tar_of(parquet: str) -> str | None:
    """The tar beside a Parquet file, if there is one."""
    tar = f"{parquet.removesuffix('.parquet')}.tar"
    fs, path = store_of(tar)
    return tar if fs.exists(path) else None


def _locator(path: str, names: list[str]) -> Callable[[dict[str, Any], int], str]:
    """From a row of the Parquet file and its number, from 0, to where its picture lies."""
    column = next((kind for kind in _PICTURES if kind in names), None)
    locations: dict[str, str] = {}
    archive = path.rsplit("/", 1)[-1]

    def location(row: dict[str, Any], number: int) -> str:
        if row["status"] != "success":
            return known_absent(f"{row['status']} there: {row.get('error_message') or 'no reason given'}")
        if column:
            return location_within(archive, number, column)
        if not locations:  # a shard of which nothing was kept may have no tar
            locations.update(_locations_of(path))
        return locations.get(row["key"], "")

    return location


def _locations_of(parquet: str) -> dict[str, str]:
    """Where each key's picture lies: in the tar beside the Parquet file, or in the folder of files beside it."""
    stem = parquet.removesuffix(".parquet")
    if tar := tar_of(parquet):
        locations: dict[str, str] = {}
        for sample in tar_samples(tar):
            if sample.problem or sample.key in locations:
                locations[sample.key] = known_absent(_TWICE)
            elif sample.location:
                locations[sample.key] = sample.location
        return locations
    fs, folder = store_of(stem)
    if not fs.isdir(folder):
        raise ValueError(f"{parquet}: neither {stem}.tar nor a folder {stem} nor a column of pictures")
    name = stem.rsplit("/", 1)[-1]
    files = sorted(str(path).rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))
    return {f.rpartition(".")[0]: f"{name}/{f}" for f in files if f.rpartition(".")[2] in _PICTURES}


def _tar_rows(path: str, columns: ListColumns) -> Iterator[Row]:
    wanted = [*columns.save_additional_columns, *([columns.caption_col] if _names_captions(columns) else [])]
    seen, others = SeenNames(path, columns, wanted), list[str]()
    for sample in tar_samples(path, others):
        try:
            about = _about(sample, columns.encoding)
            seen.look(about)
            yield _tar_row(sample, about, path.rsplit("/", 1)[-1], columns)
        except ValueError as error:
            yield Row(None, [], problem=f"sample {sample.key}: {error}")
    seen.check()
    if others:
        columns.remarks.append(f"{path}: {passed_over(others)}")


def _names_captions(columns: ListColumns) -> bool:
    return columns.caption_col != ListColumns.caption_col


def _about(sample: TarSample, encoding: str | None) -> dict[str, Any]:
    """What the sample's .json says; nothing if there is none."""
    if sample.problem:
        raise ValueError(sample.problem)
    value = parsed(decoded(sample.texts.get("json", b"{}"), encoding))
    if isinstance(value, dict):
        return value
    found = f"not JSON ({value})" if isinstance(value, ValueError) else type(value).__name__
    raise ValueError(f"its .json is {found}, expected an object")


def _tar_row(sample: TarSample, about: dict[str, Any], archive: str, columns: ListColumns) -> Row:
    caption: Any = about.get("caption", about.get("text"))
    if _names_captions(columns):
        caption = about.get(columns.caption_col)
    elif "txt" in sample.texts:
        caption = decoded(sample.texts["txt"], columns.encoding)
    url = text_of(about.get("url"), "url") or f"{archive}/{sample.key}"
    return Row(url, captions_of(caption), extras_of(about, columns), location=sample.location)
