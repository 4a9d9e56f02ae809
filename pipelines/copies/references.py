"""Reference sets: the pictures that must not be in the training data, wherever they lie."""

from __future__ import annotations

import functools
import hashlib
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from dalle.pictures.file_names import ending_of, is_of_a_mac, is_picture, passed_over
from pipelines.lists.files import files_below, list_files
from pipelines.lists.folder import CAPTIONS, captions_by_file, head_in
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.tar_files import tar_files
from pipelines.lists.text import decoded, lines, open_text
from pipelines.lists.values import captions_of, members_of
from schemas.addresses import about
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.manifest import MANIFEST, read_manifest
from schemas.pairs import PICTURES as STORED
from schemas.pairs import SUCCESS
from schemas.picture_endings import ENDINGS
from schemas.shards import read_parquet
from schemas.stores import address_in, open_bytes, store_of


@dataclass(frozen=True)
class Reference:
    """One reference picture: some bytes of a file, or a row of a Parquet file."""

    id: str
    """Its file's name with extension; its path in the set where two files have the same name."""
    file: str
    offset: int = 0
    """In bytes, or rows."""
    size: int = -1
    """-1: to the end."""
    caption: str = ""
    column: str = ""
    """Of the Parquet file, where it is one."""
    version: str = ""
    """Of the Parquet file, as its store says it."""

    def read(self) -> bytes:
        """Its bytes as they lie there."""
        if self.column:
            return cast(bytes, _column(self.file, self.column, self.version)[self.offset].as_py())
        with open_bytes(self.file) as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class ReferenceArgument:
    """A value of `--reference`: `NAME=PATH`."""

    name: str
    path: str

    def __str__(self) -> str:
        return f"--reference {self.name}={self.path}"

    @classmethod
    def parse(cls, text: str) -> ReferenceArgument:
        """Split the flag's value.

        Raises:
            ValueError: if it is not NAME=PATH with a name that may be part of a file's.
        """
        name, equals, path = text.partition("=")
        if not equals or not path or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(
                f"--reference {text}: expected NAME=PATH, where the name is of letters, digits, - and _, such as "
                "coco=val2017"
            )
        if name == "within":
            raise ValueError(f"--reference {text}: the name `within` is that of copies in the training data itself")
        return cls(name, path)


def find_references(argument: ReferenceArgument) -> list[Reference]:
    """All pictures of a set, by their id.

    The path is a folder of pictures (captions in captions.jsonl), a picture or a glob of pictures, a text file with a
    picture's path in each line, a dataset of ours, a tar or a glob of tars, or `captions.json,FOLDER`: COCO's captions
    and the folder of their pictures.

    Raises:
        ValueError: if it holds no pictures.
        OSError: if it cannot be read.
    """
    with about(str(argument)):
        references = _coco(*argument.path.split(",", 1)) if ".json," in argument.path else _of_path(argument)
    if not references:
        raise ValueError(f"{argument}: holds no pictures")
    return sorted(_unique(references), key=lambda reference: reference.id)


def _of_path(argument: ReferenceArgument) -> list[Reference]:
    """By what the path's name ends with; else it is a folder."""
    path = argument.path
    extension = path.rsplit(".", 1)[-1].lower()
    if extension == "tar":
        return list(_tars(list_files([path], ["tar"])))
    if extension in ENDINGS:
        return [Reference(file, file) for file in list_files([path], sorted(ENDINGS))]
    if extension == "txt":
        return list(_list(path))
    fs, root = store_of(path)
    if not fs.exists(root):
        raise FileNotFoundError(2, "No such file or directory", str(argument))
    if not fs.isdir(root):
        raise ValueError(
            f"{argument}: is no folder; expected a folder of pictures, pictures, a .txt list "
            "of them, a dataset, tars, earlier embeddings, or COCO's captions.json,FOLDER"
        )
    folder = Folder(path)
    if folder.exists(MANIFEST):
        return list(_dataset(folder))
    tars = [f"{path.rstrip('/')}/{name}" for name in folder.names() if name.endswith(".tar")]
    return list(_tars(tars) if tars else _folder(path))


def _dataset(folder: Folder) -> Iterator[Reference]:
    manifest = read_manifest(folder, table="pairs")
    for shard in (shard["name"] for shard in manifest["shards"]):
        if folder.exists(f"{shard}.tar"):
            yield from _tars([f"{folder.url.rstrip('/')}/{shard}.tar"])
            continue
        name = f"{shard}.parquet"
        rows = read_parquet(folder, name, ["key", "caption", "status"]).to_pylist()
        kind = _stored(folder, name) if any(each["status"] == SUCCESS for each in rows) else ""
        address, version = f"{folder.url.rstrip('/')}/{name}", folder.fs.ukey(folder.path(name))
        for row, each in enumerate(rows):
            if each["status"] == SUCCESS:
                yield Reference(
                    f"{each['key']}.{kind}", address, row, caption=each["caption"] or "", column=kind, version=version
                )


def _stored(folder: Folder, name: str) -> str:
    with folder.open(name) as file:
        names = pq.read_schema(cast(Any, file)).names
    if not (columns := [column for column in STORED if column in names]):
        raise ValueError(f"{folder.path(name)}: has no column of pictures, and there is no tar beside it")
    return columns[0]


@functools.lru_cache(2)
def _column(file: str, column: str, version: str) -> pa.ChunkedArray:
    """References are read in order, so each file is read once; a later job may find another file of this name."""
    with open_bytes(file) as opened:
        return pq.read_table(cast(Any, opened), columns=[column])[column]


def _list(path: str) -> Iterator[Reference]:
    with open_text(path) as file:
        for line in lines(file):
            if name := line.strip():
                yield Reference(name, name)


def _folder(path: str) -> Iterator[Reference]:
    fs, root = store_of(path)
    captions: dict[str, str] = {}
    if fs.isfile(f"{root}/{CAPTIONS}"):
        for line in captions_by_file(f"{path.rstrip('/')}/{CAPTIONS}"):
            if isinstance(line, str):
                raise ValueError(f"{path}: {line}")
            captions[line[0]] = next(iter(line[1]), "")
    others = []
    for name in files_below(path):
        if is_picture(name, functools.partial(head_in, fs, f"{root}/{name}")):
            yield Reference(name, address_in(fs, f"{root}/{name}"), caption=captions.get(name, ""))
        elif name != CAPTIONS and ending_of(name) != "txt":
            others.append(name)
    if others:
        print(f"pipelines.dedup: {path}: {passed_over(others)}", file=sys.stderr)


def _tars(paths: Sequence[str]) -> Iterator[Reference]:
    for path in paths:
        with open_bytes(path) as file:
            try:
                with tarfile.open(fileobj=cast(Any, file), mode="r:") as tar:
                    files = ((name, m) for name, m in tar_files(tar, path) if m and not is_of_a_mac(name))
                    members = [(name, m.offset_data, m.size) for name, m in files]
                texts = {name: (offset, size) for name, offset, size in members if name.endswith(".txt")}
                for name, offset, size in members:
                    stem, _, extension = name.rpartition(".")
                    if extension.lower() in ENDINGS:
                        caption = b""
                        if f"{stem}.txt" in texts:
                            file.seek(texts[f"{stem}.txt"][0])
                            caption = file.read(texts[f"{stem}.txt"][1])
                        yield Reference(name, path, offset, size, decoded(caption))
            except (tarfile.TarError, EOFError) as error:
                raise ValueError(f"{path}: not a whole tar file ({error}); get it anew") from None


def _coco(path: str, pictures: str) -> list[Reference]:
    with open_text(path) as file:
        try:
            of_images, annotations = members_of(parse_json(file.read()), "images", "annotations")
            captions = {a["image_id"]: next(iter(captions_of(a["caption"])), "") for a in reversed(annotations)}
            images = [(str(image["file_name"]), captions.get(image["id"], "")) for image in of_images]
        except (ValueError, KeyError, TypeError) as error:
            what = (
                f"an image or annotation has no {error}"
                if isinstance(error, KeyError)
                else "an image or annotation is no object with an id"
                if isinstance(error, TypeError)
                else error
            )
            raise ValueError(f"{path}: not COCO's captions JSON with images and annotations ({what})") from None
    fs, path_of_pictures = store_of(pictures)
    if not fs.isdir(path_of_pictures):
        raise ValueError(f"--reference …={path},{pictures}: {pictures} is no folder; expected that of the pictures")
    folder = PictureFolder(pictures)
    located = [(name, folder.find(name), caption) for name, caption in images]
    missing = [name for name, within, _ in located if within is None]
    if missing:
        raise ValueError(f"{pictures}: {len(missing)} pictures of {path} are not there, first {missing[0]}")
    root = pictures.rstrip("/")
    return [Reference(name, f"{root}/{within}", caption=caption) for name, within, caption in located]


def _unique(references: Sequence[Reference]) -> list[Reference]:
    """Ids are names without folders, as long as no two are the same."""
    names = [reference.id.rsplit("/", 1)[-1] for reference in references]
    if len(set(names)) < len(names):
        times = Counter(reference.id for reference in references)
        if len(times) < len(references):
            twice = next(reference for reference in references if times[reference.id] > 1)
            raise ValueError(f"{twice.file}: the reference '{twice.id}' is there twice; names must be different")
        return list(references)
    return [replace(reference, id=name) for name, reference in zip(names, references, strict=True)]


def sha256_of(reference: Reference) -> str:
    """sha256 of its bytes, in hex."""
    return hashlib.sha256(reference.read()).hexdigest()
