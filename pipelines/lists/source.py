"""A list that was opened: its inputs, its rows, and where its local pictures are."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lists.files import file_inputs, list_files
from pipelines.lists.folder import CAPTIONS, folder_files
from pipelines.lists.formats import EXTENSIONS, extension_of, read_list
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.options import ListOptions
from pipelines.lists.presets import PRESETS, Preset

_TAKE_IMAGE_FOLDER = ("either", "here")


@dataclass(frozen=True)
class Source:
    """A list whose files were found."""

    options: ListOptions
    files: tuple[str, ...]
    preset: Preset | None = None
    pictures: PictureFolder | None = None
    local_folder: str | None = None
    """Where rows' locations are looked up; None if pictures are fetched."""
    _types: dict[str, pa.DataType] = field(default_factory=dict)

    def inputs(self) -> list[dict[str, Any]]:
        """Name and sha256 of each file; of a folder of pictures its captions.jsonl, or all its paths and sizes."""
        if self.preset and not self.preset.extensions:
            return [self._folder_input(address) for address in self.files]
        return file_inputs(self.files)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All rows, in order; additional columns have one type in all files."""
        for path in self.files:
            try:
                yield from (self._with_one_type(batch) for batch in self._read(path) if len(batch))
            except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
                raise ValueError(f"{path}: its compressed data are damaged or cut off ({error}); get it anew") from None

    def _read(self, path: str) -> Iterator[pa.RecordBatch]:
        if self.preset:
            return self.preset.read(path, self.options.columns, self.pictures)
        return read_list(path, extension_of(path, self.options.input_format), self.options.columns)

    def _with_one_type(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self._types:
            return batch
        columns = {name: batch[name].cast(self._types.get(name, batch[name].type)) for name in batch.schema.names}
        schema = pa.schema([pa.field(f.name, columns[f.name].type, metadata=f.metadata) for f in batch.schema])
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)

    def _folder_input(self, address: str) -> dict[str, Any]:
        fs, path = fsspec.core.url_to_fs(address)
        if fs.isfile(path):
            return file_inputs([address])[0]
        name = path.rstrip("/").rsplit("/", 1)[-1]
        if fs.exists(f"{path}/{CAPTIONS}"):
            return {**file_inputs([f"{address.rstrip('/')}/{CAPTIONS}"])[0], "name": f"{name}/{CAPTIONS}"}
        listing = "".join(f"{file}\t{size}\n" for file, size in folder_files(address))
        return {"name": name, "sha256": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()}


def open_source(options: ListOptions) -> Source:
    """Find the list's files and pictures.

    Raises:
        ValueError: if it is not what the options say.
        OSError: if it is not there.
    """
    preset = None if options.dataset is None else PRESETS[options.dataset]
    files = _files(options, preset)
    if options.image_folder and (preset is None or preset.pictures not in _TAKE_IMAGE_FOLDER):
        takers = [name for name in sorted(PRESETS) if PRESETS[name].pictures in _TAKE_IMAGE_FOLDER]
        raise ValueError(
            f"--image_folder {options.image_folder}: is for {', '.join(takers[:-1])} and {takers[-1]} only"
        )
    pictures = PictureFolder(options.image_folder) if options.image_folder else None
    local_folder = _local_folder(options, preset, files)
    return Source(options, tuple(files), preset, pictures, local_folder, _common_types(files, options))


def _files(options: ListOptions, preset: Preset | None) -> list[str]:
    url_list = options.url_list
    assert url_list is not None
    if preset is None:
        extensions = [extension_of("", options.input_format)] if options.input_format else EXTENSIONS
        return list_files(url_list, extensions)
    if preset.extensions:
        return list_files(url_list, preset.extensions)
    fs, path = fsspec.core.url_to_fs(url_list)
    if not fs.exists(path):
        raise FileNotFoundError(2, "No such file or directory", url_list)
    return [url_list]


def _local_folder(options: ListOptions, preset: Preset | None, files: list[str]) -> str | None:
    if options.image_folder or preset is None:
        return options.image_folder
    if preset.subfolder is not None:
        return f"{files[0].rstrip('/')}/{preset.subfolder}" if preset.subfolder else files[0]
    return _one_folder(files) if preset.pictures == "beside" else None


def _one_folder(files: list[str]) -> str:
    folders = {path.rsplit("/", 1)[0] if "/" in path else "." for path in files}
    if len(folders) > 1:
        raise ValueError(f"{files[0]}: its shards lie in {len(folders)} folders; collect one folder at a time")
    return folders.pop()


def _common_types(files: list[str], options: ListOptions) -> dict[str, pa.DataType]:
    """One type for each additional column of several Parquet files, wide enough for all (LAION's vary)."""
    if not options.save_additional_columns or len(files) < 2 or not all(f.endswith(".parquet") for f in files):
        return {}
    schemas = []
    for path in files:
        with fsspec.open(path, "rb") as file:
            schema = pq.read_schema(file)
        schemas.append(pa.schema([f for f in schema if f.name in options.save_additional_columns]).remove_metadata())
    try:
        return {f.name: f.type for f in pa.unify_schemas(schemas, promote_options="permissive")}
    except pa.ArrowException as error:
        raise ValueError(
            f"{files[0]} and others: --save_additional_columns have types that do not fit ({error})"
        ) from None
