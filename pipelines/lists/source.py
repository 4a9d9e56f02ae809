"""A list that was opened: its inputs, its rows, and where its local pictures are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lists.archives import tar_of
from pipelines.lists.common_types import OneType, common_types
from pipelines.lists.files import file_inputs, folder_input, list_files
from pipelines.lists.formats import EXTENSIONS, extension_of, read_list
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.options import ListOptions
from pipelines.lists.presets import PRESETS, Preset
from schemas.addresses import about
from schemas.stores import store_of

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
    _mended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By file, and what they are of, the links and captions that were read and hold U+FFFD."""
    _of_files: tuple[str, ...] = ()
    """What is to be said of files that were not taken."""
    _of_rows: list[str] = field(default_factory=list)
    """What readers have to say."""

    def inputs(self, *, with_pictures: bool = True) -> list[dict[str, Any]]:
        """Name and sha256 of each file, and of the folders in which pictures lie.

        Args:
            with_pictures: whether the pictures that lie here count, or only what is said of them.
        """
        if self.preset and not self.preset.extensions:
            inputs = [self._folder_input(address, with_pictures) for address in self.files]
        else:
            inputs = file_inputs(self.files)
        if with_pictures and self.options.dataset == "img2dataset":
            inputs += file_inputs([tar for path in self.files if (tar := tar_of(path))])
        if with_pictures and self.pictures:
            inputs.append(folder_input(self.pictures.url))
        return inputs

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All rows, in order; additional columns have one type in all files.

        Raises:
            ValueError: if a file is damaged, or not what the options say.
        """
        with_one_type = OneType(self._types)
        self._mended.clear()
        self._of_rows.clear()
        for path in self.files:
            rows = 0
            for batch in _about_each(path, self._read(path)):
                rows += len(batch)
                if len(batch):
                    self._count_mended(path, "captions", pc.list_flatten(batch["captions"]))
                    if self.local_folder is None:
                        self._count_mended(path, "links", batch["url"])
                    yield with_one_type(batch, path)
            if not rows:
                self._of_rows.append(f"{path}: has no rows")

    def remarks(self) -> list[str]:
        """What a user should know of the rows that were read."""
        mended = [
            f"{path}: {count:,} of its {what} are no {self._encoding_of(path)}"
            for (path, what), count in self._mended.items()
            if count
        ]
        return [*self._of_files, *self._of_rows, *mended]

    def _count_mended(self, path: str, what: str, texts: pa.Array) -> None:
        self._mended[path, what] += pc.sum(pc.match_substring(texts, "\ufffd")).as_py() or 0

    def _encoding_of(self, path: str) -> str:
        """What a file's text should be in, and what to do where it is not."""
        encoding, instead = self.options.encoding, "and have U+FFFD in place of such bytes"
        if _all_parquet(self.options, self.preset, [path]):
            return f"UTF-8, {instead}; Parquet has no other, so whoever wrote the file has to decode them first"
        what_to_do = "another --encoding" if encoding else "its name with --encoding, such as cp1252"
        return f"{encoding or 'UTF-8'}, {instead}; if the file is in another encoding, give {what_to_do}"

    def _read(self, path: str) -> Iterator[pa.RecordBatch]:
        columns = replace(self.options.columns, remarks=self._of_rows)
        if self.preset:
            return self.preset.read(path, columns, self.pictures)
        return read_list(path, extension_of(path, self.options.input_format), columns)

    def _folder_input(self, address: str, with_pictures: bool) -> dict[str, Any]:
        fs, path = store_of(address)
        return file_inputs([address])[0] if fs.isfile(path) else folder_input(address, with_pictures=with_pictures)


def _about_each(address: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with about(address):
        yield from batches


def open_source(options: ListOptions) -> Source:
    """Find the list's files and pictures.

    Raises:
        ValueError: if it is not what the options say.
        OSError: if it is not there.
    """
    preset = None if options.dataset is None else PRESETS[options.dataset]
    remarks: list[str] = []
    files = _files(options, preset, remarks)
    if options.encoding and _all_parquet(options, preset, files):
        raise ValueError(f"--encoding {options.encoding}: the list is Parquet, which has one of its own; leave it out")
    if options.image_folder and (preset is None or preset.pictures not in _TAKE_IMAGE_FOLDER):
        takers = [name for name in sorted(PRESETS) if PRESETS[name].pictures in _TAKE_IMAGE_FOLDER]
        raise ValueError(
            f"--image_folder {options.image_folder}: is for {', '.join(takers[:-1])} and {takers[-1]} only"
        )
    pictures = PictureFolder(options.image_folder) if options.image_folder else None
    local_folder = _local_folder(options, preset, files)
    names = options.save_additional_columns
    types = common_types(files, names) if names and len(files) > 1 and _all_parquet(options, preset, files) else {}
    return Source(options, tuple(files), preset, pictures, local_folder, types, _of_files=tuple(remarks))


def _all_parquet(options: ListOptions, preset: Preset | None, files: list[str]) -> bool:
    if preset:
        return preset.extensions == ("parquet",)
    return {extension_of(path, options.input_format) for path in files} == {"parquet"}


def _files(options: ListOptions, preset: Preset | None, remarks: list[str]) -> list[str]:
    given = options.url_list
    assert given is not None
    if preset is None:
        extensions = [extension_of("", options.input_format)] if options.input_format else EXTENSIONS
        return list_files(given, extensions, remarks, archives=True)
    if preset.extensions:
        return list_files(given, preset.extensions, remarks, archives=preset.pictures != "beside")
    if len(given) > 1:
        raise ValueError(
            f"--url_list {' '.join(given)}: --dataset {options.dataset} takes one folder; collect the others with "
            "--incremental_mode extend"
        )
    with about(given[0]):
        fs, path = store_of(given[0])
        is_there = fs.exists(path)
    if not is_there:
        raise FileNotFoundError(2, "No such file or directory", given[0])
    return [given[0]]


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
