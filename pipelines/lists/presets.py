"""Data sets known by name: what their files end with, who reads them, where their pictures are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipelines.lists import archives, caption_sets, web_sets
from pipelines.lists.folder import read_folder
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.options import ListOptions

Reader = Callable[[str, ListOptions, PictureFolder | None], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Preset:
    """How one data set is read."""

    read: Reader
    extensions: tuple[str, ...] = ()
    """What its files end with, where a folder is given; none if the folder itself is read."""
    pictures: Literal["web", "either", "here", "beside"] = "web"
    """web: links; either: links, or --image_folder; beside: where the list lies; here: --image_folder or the list."""


def _alone(read: Callable[[str, ListOptions], Iterator[pa.RecordBatch]]) -> Reader:
    return lambda path, options, _: read(path, options)


PRESETS: dict[str, Preset] = {
    "cc3m": Preset(_alone(web_sets.cc3m), ("tsv",)),
    "cc12m": Preset(_alone(web_sets.cc12m), ("tsv",)),
    "laion": Preset(_alone(web_sets.laion), ("parquet",)),
    "coyo": Preset(_alone(web_sets.coyo), ("parquet",)),
    "datacomp": Preset(_alone(web_sets.datacomp), ("parquet",)),
    "yfcc100m": Preset(_alone(web_sets.yfcc100m), ("tsv", "yfcc100m_dataset")),
    "wit": Preset(_alone(web_sets.wit), ("tsv",)),
    "sbu": Preset(_alone(web_sets.sbu), ("json",)),
    "redcaps": Preset(web_sets.redcaps, ("json",), "either"),
    "coco": Preset(caption_sets.coco, ("json",), "either"),
    "cub": Preset(caption_sets.cub, (), "here"),
    "flickr8k": Preset(caption_sets.flickr8k, ("token.txt", "captions.txt"), "here"),
    "flickr30k": Preset(caption_sets.flickr30k, ("token", "csv", "json"), "here"),
    "img2dataset": Preset(_alone(archives.img2dataset), ("parquet",), "beside"),
    "webdataset": Preset(_alone(archives.webdataset), ("tar",), "beside"),
    "folder": Preset(lambda path, _options, _pictures: read_folder(path), (), "beside"),
}
