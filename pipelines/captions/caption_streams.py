"""Captions on their way to a vocabulary: all of a dataset's or some lists', or a seeded sample, one shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow.compute as pc

from pipelines.lists import ListOptions, open_source
from pipelines.lists.presets import PRESETS
from schemas.folder import Folder
from schemas.manifest import fingerprint, lineage_from
from schemas.opening import check_unchanged, open_dataset
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet


class CaptionSource(Protocol):
    """Where captions come from."""

    def inputs(self) -> list[dict[str, Any]]:
        """Name and sha256 of each input."""

    def lineage(self) -> list[dict[str, Any]]:
        """The datasets behind it."""

    def portions(self) -> Iterator[list[str]]:
        """All captions, some thousands at a time, in the same order each time."""


class DatasetCaptions:
    """All captions of the kept rows of a dataset of pairs."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._manifest = open_dataset(folder, table="pairs")

    def inputs(self) -> list[dict[str, Any]]:
        """The manifest, which names every file by its sha256."""
        return [{"name": "manifest.json", "sha256": fingerprint(self._manifest)}]

    def lineage(self) -> list[dict[str, Any]]:
        """The dataset's own, and the dataset."""
        return lineage_from(self._manifest)

    def portions(self) -> Iterator[list[str]]:
        """One for each shard."""
        for shard in self._manifest["shards"]:
            rows = read_parquet(self._folder, f"{shard['name']}.parquet", ["status", "captions"])
            check_unchanged(self._folder, shard["name"], fingerprint(shard["files"]))
            kept = rows.filter(pc.equal(rows["status"], SUCCESS))
            yield [caption for caption in pc.list_flatten(kept["captions"]).to_pylist() if caption]


class ListCaptions:
    """All captions of some lists, whose pictures are not looked at.

    Args:
        names: `PRESET:PATH` each, such as `coco:captions_val2017.json`; a preset is a `--dataset` of
            `pipelines.ingest`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._sources = []
        for name in names:
            preset, colon, path = name.partition(":")
            if not colon or preset not in PRESETS:
                raise ValueError(f"--lists {name}: expected PRESET:PATH, where PRESET is one of {', '.join(PRESETS)}")
            self._sources.append(open_source(ListOptions(url_list=(path,), dataset=preset)))

    def inputs(self) -> list[dict[str, Any]]:
        """The lists' files."""
        return [file for source in self._sources for file in source.inputs(with_pictures=False)]

    def lineage(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def portions(self) -> Iterator[list[str]]:
        """One for each batch of rows."""
        for source in self._sources:
            for batch in source.rows():
                yield [caption for caption in pc.list_flatten(batch["captions"]).to_pylist() if caption]


def sample(
    portions: Callable[[], Iterator[list[str]]], limit: int, seed: int, report: Callable[[int, int], None]
) -> Iterator[str]:
    """A random sample of captions without replacement, in two passes over them and flat memory.

    Args:
        portions: gives all captions, the same ones in the same order in each call.
        limit: captions in the sample; all of them if there are no more, or if it is 0.
        seed: of the draw.
        report: called at the end with how many were taken and how many there were.
    """
    total = sum(map(len, portions()))
    wanted = min(limit, total) if limit else total
    rng, left, need = np.random.default_rng(seed), total, wanted
    for portion in portions():
        left -= len(portion)
        take = int(rng.hypergeometric(len(portion), left, need)) if left and need else need
        need -= take
        for index in np.sort(rng.choice(len(portion), take, replace=False)).tolist():
            yield portion[index]
    report(wanted, total)
