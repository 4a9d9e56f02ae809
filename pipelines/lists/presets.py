"""Data sets known by name: what their files end with, who reads them, where their pictures are.

A new one is a line of `PRESETS` and its reader: the choices of `--dataset` are the table's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from pipelines.lists import archives, caption_sets, web_sets
from pipelines.lists.columns import ListColumns
from pipelines.lists.folder import read_folder
from pipelines.lists.local_pictures import PictureFolder

Reader = Callable[[str, ListColumns, PictureFolder | None], Iterator[pa.RecordBatch]]
"""From a file's path, the columns that are read and the local pictures to batches of `pipelines.lists.rows.ROWS`."""


@dataclass(frozen=True)
class Preset:
    """How one data set is read."""

    read: Reader
    extensions: tuple[str, ...] = ()
    """What its files end with, where a folder is given; none if the folder itself is read."""
    pictures: Literal["web", "either", "here", "beside"] = "web"
    """Where its pictures are. web: behind links; either: behind links, or in --image_folder; here: in --image_folder,
    or where the list says; beside: where the list lies."""
    subfolder: str | None = None
    """Of a folder that is read itself: the folder in it that holds the pictures, relative to it; empty for itself."""
    takes: tuple[str, ...] = ()
    """Which of --url_col and --caption_col it takes; it knows the others."""
    has_columns: bool = True
    """Whether its files have more than pictures and captions, for --save_additional_columns and --verify_hash."""


def _alone(read: Callable[[str, ListColumns], Iterator[pa.RecordBatch]]) -> Reader:
    return lambda path, columns, _: read(path, columns)


PRESETS: dict[str, Preset] = {
    "cc3m": Preset(_alone(web_sets.cc3m), ("tsv",)),
    "cc12m": Preset(_alone(web_sets.cc12m), ("tsv",)),
    "laion": Preset(_alone(web_sets.laion), ("parquet",)),
    "coyo": Preset(_alone(web_sets.coyo), ("parquet",)),
    "datacomp": Preset(_alone(web_sets.datacomp), ("parquet",)),
    "yfcc100m": Preset(_alone(web_sets.yfcc100m), ("tsv", "yfcc100m_dataset")),
    "wit": Preset(_alone(web_sets.wit), ("tsv",)),
    "sbu": Preset(_alone(web_sets.sbu), ("json",), has_columns=False),
    "redcaps": Preset(web_sets.redcaps, ("json",), "either"),
    "coco": Preset(caption_sets.coco, ("json",), "either"),
    "cub": Preset(caption_sets.cub, (), "here", subfolder="images", has_columns=False),
    "flickr8k": Preset(caption_sets.flickr8k, ("token.txt", "captions.txt"), "here", has_columns=False),
    "flickr30k": Preset(caption_sets.flickr30k, ("token", "csv", "json"), "here", has_columns=False),
    "img2dataset": Preset(_alone(archives.img2dataset), ("parquet",), "beside"),
    "webdataset": Preset(_alone(archives.webdataset), ("tar",), "beside", takes=("caption_col",)),
    "folder": Preset(
        _alone(read_folder), (), "beside", subfolder="", takes=("url_col", "caption_col"), has_columns=False
    ),
}

if TYPE_CHECKING:
    Dataset = str  # mypy cannot read choices that are made when the module is loaded
else:
    Dataset = Literal[tuple(PRESETS)]
