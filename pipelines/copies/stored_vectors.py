"""Vectors of references that were stored before: by an earlier run of dedup, or by clip-retrieval.

    clean/dedup/references/coco    a reference set of an earlier run: references.parquet, img_emb_00000.npy, …
    clean/img_emb                  the pictures of a dataset that was cleaned: img_emb/ and metadata/ beside each other

Only a `detector.json` beside the vectors says which detector made them; those of another one cannot be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dalle.detectors import Embedder
from pipelines.lists.columns import few_of
from schemas.embeddings import DETECTOR_FILE, read_vectors, shape_of_vectors
from schemas.folder import Folder
from schemas.manifest import MANIFEST
from schemas.shapes import TEXT, misfit
from schemas.shards import read_parquet

TABLE = "references.parquet"
_MADE_BY = {"detector": TEXT}


@dataclass(frozen=True)
class StoredVectors:
    """Vectors on disk, with what is known of their pictures."""

    where: str
    """The path of `--reference`, for messages."""
    vectors: Folder
    files: tuple[str, ...]
    """The NumPy files in `vectors`, in order."""
    tables: Folder
    table_files: tuple[str, ...]
    """The Parquet files in `tables` that say what the vectors are of, in the same order."""

    def sums(self) -> list[str]:
        """sha256 of each file."""
        sums = [self.vectors.sha256(name) for name in self.files]
        return [*sums, *(self.tables.sha256(name) for name in self.table_files)]

    def picture_sums(self) -> list[str]:
        """sha256 of each picture, empty where it is not known."""
        return [sha256 for table in self.table_files for sha256 in list(_columns(self.tables, table))[1]]

    def ids(self) -> list[str]:
        """What the vectors are of, by their names."""
        return [name for table in self.table_files for name in next(_columns(self.tables, table))]

    def load(self, embedder: Embedder) -> tuple[list[str], list[str], list[str], np.ndarray]:
        """Ids, sha256s and captions ([R] each, empty where they are not known), and vectors [R, V, D] float32.

        Raises:
            ValueError: if another detector made them, or they do not fit together.
        """
        self._check_detector(embedder)
        columns: tuple[list[str], list[str], list[str]] = ([], [], [])
        for name in self.table_files:
            for column, values in zip(columns, _columns(self.tables, name), strict=True):
                column.extend(values)
        vectors = self._read_vectors(embedder)
        ids = columns[0]
        if len(ids) != len(vectors):
            raise ValueError(f"{self.where}: {len(vectors)} vectors, {len(ids)} rows say of what; make both anew")
        if len(set(ids)) < len(ids):
            twice = next(one for one, times in Counter(ids).items() if times > 1)
            raise ValueError(f"{self.where}: the reference '{twice}' is there twice; names must be different")
        return *columns, vectors

    def _read_vectors(self, embedder: Embedder) -> np.ndarray:
        shapes = {shape_of_vectors(self.vectors, name) for name in self.files}
        of_one = {shape[1:] for shape in shapes}
        if len(of_one) != 1 or next(iter(of_one))[-1] != embedder.dimension:
            raise ValueError(
                f"{self.where}: its vectors are {', '.join(map(str, sorted(shapes)))}, those of the detector "
                f"{embedder.fingerprint} have {embedder.dimension} numbers each; embed the pictures again"
            )
        vectors = np.concatenate([read_vectors(self.vectors, name) for name in self.files])
        return vectors.reshape(len(vectors), -1, embedder.dimension)

    def _check_detector(self, embedder: Embedder) -> None:
        if not self.vectors.exists(DETECTOR_FILE):
            raise ValueError(
                f"{self.where}: does not say which detector made its vectors; if it was {embedder.fingerprint}, put "
                f'{DETECTOR_FILE} with {{"detector": "{embedder.fingerprint}"}} beside them'
            )
        value = self.vectors.read_json(DETECTOR_FILE)
        if fault := misfit(value, _MADE_BY):
            raise ValueError(f"{self.vectors.path(DETECTOR_FILE)}: {fault}; it was changed after it was written")
        made_by = value["detector"]
        if made_by != embedder.fingerprint:
            raise ValueError(
                f"{self.where}: its vectors were made by the detector {made_by}, now it is {embedder.fingerprint}; "
                "give the pictures themselves, or the same --detector"
            )


def find_stored_vectors(path: str) -> StoredVectors | None:
    """The vectors that lie there, or None if there are pictures rather than vectors."""
    folder = Folder(path)
    if folder.exists(TABLE) and (files := _numbered(folder, "img_emb_", ".npy")):
        return StoredVectors(path, folder, files, folder, (TABLE,))
    root = path.rstrip("/")
    named = root.rpartition("/")[2] == "img_emb"
    if named:
        root = root.removesuffix("img_emb").rstrip("/") or "."
    elif folder.exists(MANIFEST):  # a dataset has its pictures, which tell more than one vector of each
        return None
    vectors, tables = Folder(f"{root}/img_emb"), Folder(f"{root}/metadata")
    files = _numbered(vectors, "img_emb_", ".npy")
    if not files:
        return None
    about = tuple(f"metadata_{name[len('img_emb_') : -len('.npy')]}.parquet" for name in files)
    if missing := set(about) - set(tables.names()):
        raise ValueError(f"{root}: has no metadata/{min(missing)}, which says what the vectors are of; make it again")
    return StoredVectors(path, vectors, files, tables, about)


def _numbered(folder: Folder, start: str, end: str) -> tuple[str, ...]:
    """By number, also where numbers have no leading zeros, as clip-retrieval's may."""
    return tuple(
        sorted((n for n in folder.names() if n.startswith(start) and n.endswith(end)), key=lambda n: (len(n), n))
    )


def _columns(folder: Folder, file: str) -> Iterator[list[str]]:
    """Ids, sha256s and captions: of our own tables, or of clip-retrieval's metadata."""
    table = read_parquet(folder, file)
    names = next((name for name in ("id", "image_path", "key") if name in table.column_names), None)
    if names is None:
        raise ValueError(
            f"{folder.path(file)}: no column id, image_path or key says what the vectors are of; its columns are "
            f"{few_of(table.column_names)}"
        )
    yield [str(value).rsplit("/", 1)[-1] for value in table[names].to_pylist()]
    for name in ("sha256", "caption"):
        known = table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        yield [str(value or "") for value in known]
