"""What a list is and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.running.options import no_change_of_bytes, words_of

InputFormat = Literal[
    "txt", "csv", "tsv", "json", "jsonl", "parquet", "txt.gz", "csv.gz", "tsv.gz", "json.gz", "jsonl.gz"
]  # fmt: skip
Dataset = Literal[
    "cc3m", "cc12m", "laion", "coyo", "datacomp", "yfcc100m", "wit", "sbu", "redcaps", "coco", "cub", "flickr8k",
    "flickr30k", "img2dataset", "webdataset", "folder"
]  # fmt: skip

_WITHOUT_COLUMNS: tuple[Dataset, ...] = ("sbu", "cub", "flickr8k", "flickr30k", "folder")


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What to collect."""

    url_list: str | None = no_change_of_bytes(default=None)
    """The list of pairs: a file, a folder of files, a glob or braces ({00000..00331}), a path or an fsspec URL."""
    dataset: Dataset | None = None
    """A layout known by name, which needs no other flag: its columns, header, order and encoding are known. folder:
    pictures with a .txt file beside each, or one captions.jsonl (file, captions)."""
    image_folder: str | None = no_change_of_bytes(default=None)
    """Where the pictures of coco, cub, flickr8k, flickr30k or redcaps lie, as published or all in one folder."""
    input_format: InputFormat | None = None
    """How the list is written; by default told from its name. Compression is told from the name as well."""
    url_col: str = "url"
    """Column that holds the address."""
    caption_col: str = "caption"
    """Column that holds the caption."""
    save_additional_columns: tuple[str, ...] = ()
    """Columns of the list to keep in the ledger and in each sample's JSON."""

    def __post_init__(self) -> None:
        """Spell out lists, as img2dataset's users type them."""
        columns = words_of("--save_additional_columns", self.save_additional_columns)
        object.__setattr__(self, "save_additional_columns", columns)
        for name in ("place", "problem"):
            if name in columns:
                raise ValueError(
                    f"--save_additional_columns {name}: this name has another meaning on the way; rename the column in "
                    "the list, or leave it out"
                )
        if columns and self.dataset in _WITHOUT_COLUMNS:
            raise ValueError(
                f"--dataset {self.dataset}: has no columns beyond pictures and captions, so none is kept or verified"
            )
