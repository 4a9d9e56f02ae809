"""Where pictures that are judged lie: a folder, what a generation left, a dataset of pairs; by their ids.

    folder/                 ids are names relative to it
    drawn/samples.parquet   ids are its files (`dalle.evaluation.samples`)
    pairs/manifest.json     ids are key.extension, as `pipelines.dedup` writes them into overlap-NAME.txt

A source of one's own has the members of `Source`, and may give arrays of pixels in place of bytes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dalle.evaluation.samples import SAMPLES, open_samples, read_picture
from dalle.pictures.folders import picture_names
from schemas.contents import job_in
from schemas.folder import Folder
from schemas.manifest import MANIFEST, Counts, fingerprint, lineage_from
from schemas.opening import check_unchanged, open_dataset
from schemas.pair_shards import read_ledger, read_pictures
from schemas.pairs import SUCCESS
from schemas.planning import NotThereYet, is_planning, reads


class Source(Protocol):
    """Some pictures, which can be gone through as often as one likes, always in the same order."""

    @property
    def name(self) -> str:
        """As the user gave it."""
        ...

    @property
    def kind(self) -> str:
        """What it is, in a word or two."""
        ...

    @property
    def lineage(self) -> Sequence[Mapping[str, Any]]:
        """Of the dataset or model behind it."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def ids(self) -> Sequence[str]:
        """What they are called, in their order."""
        ...

    def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
        """Id and either the file's bytes or [H, W, 3] uint8 of each; ids are different from each other."""
        ...

    @property
    def has_captions(self) -> bool:
        """Whether it is known what pictures are of."""
        ...

    def captions_of(self, ids: Sequence[str]) -> list[str | None]:
        """What these pictures are of, of several captions the first; None where that is not known."""
        ...


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """The pictures in a folder and its subfolders, in the order of their names."""

    name: str
    kind: str = "folder"
    lineage: Sequence[Mapping[str, Any]] = ()
    has_captions: bool = False

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """Relative to the folder.

        Raises:
            ValueError: if it is not there, or has no pictures.
        """
        return picture_names(Path(self.name))

    def __len__(self) -> int:
        return len(self.names)

    def ids(self) -> Sequence[str]:
        """See `Source`."""
        return self.names

    def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
        """See `Source`.

        Raises:
            ValueError: if it is not there, has no pictures, or one cannot be read.
        """
        for name in self.names:
            yield name, read_picture(Path(self.name) / name)

    def captions_of(self, ids: Sequence[str]) -> list[str | None]:
        """See `Source`; a folder says nothing of its pictures."""
        return [None for _ in ids]


@dataclass(frozen=True, kw_only=True)
class PairSource:
    """The pictures of a dataset of pairs that are kept, in the order of its shards."""

    name: str
    manifest: Mapping[str, Any] = field(repr=False)
    kind: str = "pairs"
    has_captions: bool = True

    @property
    def lineage(self) -> Sequence[Mapping[str, Any]]:
        """The dataset and those behind it."""
        return lineage_from(self.manifest)

    def __len__(self) -> int:
        return Counts.of_json(self.manifest["counts"]).kept

    def ids(self) -> Sequence[str]:
        """See `Source`; the shards are read for them."""
        return [name for name, _ in self.pictures()]

    def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
        """See `Source`.

        Raises:
            ValueError: if a shard is damaged, or the dataset is changed in the meantime.
        """
        folder = Folder(self.name)
        for shard in self.manifest["shards"]:
            try:
                for key, kind, data in read_pictures(folder, shard["name"]):
                    yield f"{key}.{kind}", data
            finally:  # a change is the cause of whatever else is wrong with it
                check_unchanged(folder, shard["name"], fingerprint(shard["files"]))

    def captions_of(self, ids: Sequence[str]) -> list[str | None]:
        """See `Source`.

        Raises:
            ValueError: if a ledger is damaged.
        """
        folder, found = Folder(self.name), dict[str, str | None]()
        for shard in self.manifest["shards"]:
            for row in read_ledger(folder, shard["name"]).select(["key", "text", "status"]).to_pylist():
                if row["status"] == SUCCESS:
                    found[row["key"]] = row["text"]
        return [found.get(name.partition(".")[0]) for name in ids]


def open_source(path: str, flag: str, captions: frozenset[str] | None = None) -> Source:
    """The pictures that a path names.

    Args:
        path: a folder, a samples.parquet or its folder, or a dataset of pairs.
        flag: that named it, for errors.
        captions: of samples, only those of these captions.

    Raises:
        ValueError: if it is none of these.
        OSError: if it is not there.
    """
    reads(path)
    if "://" not in path and not path.endswith(".parquet") and not os.path.exists(path):
        why = "is not there; expected a folder of pictures, a samples.parquet, or a dataset"
        raise NotThereYet(f"{flag} {path}: {why}", path)
    folder = Folder(path)
    if is_planning() and not folder.exists(SAMPLES) and job_in(folder) == "generate":
        raise NotThereYet(f"{flag} {path}: is not drawn to its end", path)
    here = folder.root if folder.is_local and "://" in path else path
    if folder.is_local and here.endswith(".parquet"):
        return open_samples(Path(here), captions)
    if folder.is_local and os.path.isfile(here):
        raise ValueError(f"{flag} {path}: is a file; expected a folder of pictures, a samples.parquet, or a dataset")
    if folder.is_local and folder.exists(SAMPLES):
        return open_samples(Path(here) / SAMPLES, captions)
    if folder.exists(MANIFEST):
        return PairSource(name=path, manifest=open_dataset(folder, table="pairs"))
    if not folder.is_local:
        raise ValueError(
            f"{flag} {path}: is no dataset, and pictures and samples are read from local folders; give one"
        )
    return FolderSource(name=here)
