"""Pictures that lie in shards already: img2dataset's folders and webdataset's tars.

A row's location names the archive, offset and size, so that a worker reads just the picture's bytes; or the Parquet
file, row and column (see `pipelines.lists.rows.location_within`).
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import Any, cast

import fsspec
import pyarrow as pa

from pipelines.lists.columns import ListColumns
from pipelines.lists.folder import EXTENSIONS
from pipelines.lists.formats import as_text, open_parquet
from pipelines.lists.rows import JSON_TEXT, LOCATION, Row, batches, known_absent, location_within

_PICTURES = ("jpg", "png", "webp")


def webdataset(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """The samples of a tar: a picture with a .txt, or a .json that has `caption` or `text`."""
    extras = [pa.field(name, pa.string(), metadata=JSON_TEXT) for name in columns.save_additional_columns]
    yield from batches(_tar_rows(path, columns), extras)


def img2dataset(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """One shard of img2dataset's, by its Parquet file: rows in its order, pictures from the tar or the column."""
    with fsspec.open(path, "rb") as file:
        table = open_parquet(file, path)
        names = table.schema_arrow.names
        column = next((kind for kind in _PICTURES if kind in names), None)
        missing = [name for name in ("key", "url", "status", *columns.save_additional_columns) if name not in names]
        if missing:
            raise ValueError(f"{path}: has no column '{missing[0]}', so it is no shard of img2dataset's")
        fields = [f.remove_metadata() for f in table.schema_arrow if f.name in columns.save_additional_columns]
        wanted = [n for n in ("key", "url", "caption", "status", "error_message") if n in names]
        columns_read = table.read(columns=[*dict.fromkeys((*wanted, *columns.save_additional_columns))])
    locations = {} if column else _locations_of(path)
    archive = path.rsplit("/", 1)[-1]
    values = columns_read.to_pylist()
    locations_of_rows = []
    for number, value in enumerate(values):
        if value["status"] != "success":
            why = value.get("error_message") or "no reason given"
            locations_of_rows.append(known_absent(f"{value['status']} there: {why}"))
        elif column:
            locations_of_rows.append(location_within(archive, number, column))
        else:
            locations_of_rows.append(locations.get(value["key"], ""))
    yield pa.RecordBatch.from_pydict(
        {
            "url": pa.array([value["url"] for value in values], pa.string()),
            "captions": pa.array([_caption_of(value) for value in values], pa.list_(pa.string())),
            LOCATION: pa.array(locations_of_rows, pa.string()),
            "problem": pa.nulls(len(values), pa.string()),
            **{field.name: columns_read[field.name].combine_chunks() for field in fields},
        }
    )


def _caption_of(value: dict[str, Any]) -> list[str]:
    return [] if value.get("caption") is None else [str(value["caption"])]


def _locations_of(parquet: str) -> dict[str, str]:
    """Where each key's picture lies: in the tar beside the Parquet file, or in the folder of files beside it."""
    stem = parquet.removesuffix(".parquet")
    fs, tar = fsspec.core.url_to_fs(f"{stem}.tar")
    if fs.exists(tar):
        return {key: location for key, location, _ in _members(f"{stem}.tar") if location}
    fs, folder = fsspec.core.url_to_fs(stem)
    if not fs.isdir(folder):
        raise ValueError(f"{parquet}: neither {stem}.tar nor a folder {stem} nor a column of pictures")
    name = stem.rsplit("/", 1)[-1]
    files = sorted(str(path).rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))
    return {f.rpartition(".")[0]: f"{name}/{f}" for f in files if f.rpartition(".")[2] in _PICTURES}


def _tar_rows(path: str, columns: ListColumns) -> Iterator[Row]:
    archive = path.rsplit("/", 1)[-1]
    for key, location, texts in _members(path):
        about = _parsed(texts.get("json", b"{}"))
        if "txt" in texts:
            caption: Any = texts["txt"].decode("utf-8-sig", "replace")
        else:
            caption = about.get("caption", about.get("text"))
        extras = [
            json.dumps(about[name], ensure_ascii=False) if about.get(name) is not None else None
            for name in columns.save_additional_columns
        ]
        url = as_text(about["url"]) if about.get("url") else f"{archive}/{key}"
        yield Row(url, [] if caption is None else [as_text(caption)], extras, location=location or "")


def _members(path: str) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """Key, location of its picture and its other members' bytes by extension (txt, json), for each sample of a tar.

    Raises:
        ValueError: if it is no tar, or a compressed one.
    """
    archive = path.rsplit("/", 1)[-1]
    key, location, texts = None, "", dict[str, bytes]()
    try:
        with fsspec.open(path, "rb") as file, tarfile.open(fileobj=cast(Any, file), mode="r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                stem, _, extension = name.partition(".")
                if f"{folder}/{stem}" != key:
                    if key is not None:
                        yield key.removeprefix("/"), location, texts
                    key, location, texts = f"{folder}/{stem}", "", {}
                last = extension.rpartition(".")[2].lower()
                if last in EXTENSIONS:
                    location = location or location_within(archive, member.offset_data, member.size)
                elif last in ("txt", "json"):
                    content = tar.extractfile(member)
                    texts[last] = content.read() if content else b""
    except tarfile.TarError as error:
        hint = "; unpack it first, a compressed tar cannot be read in pieces" if path.endswith((".gz", ".tgz")) else ""
        raise ValueError(f"{path}: not a whole tar file ({error}){hint}") from None
    if key is not None:
        yield key.removeprefix("/"), location, texts


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
