"""What a list is and how it is written: the flags of `pipelines.ingest` about it."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.lists.columns import ListColumns
from pipelines.lists.formats import INPUT_FORMATS, InputFormat
from pipelines.lists.presets import PRESETS, Dataset, Preset
from pipelines.lists.rows import LOCATION
from pipelines.lists.text import known_encoding
from schemas.options import no_change_of_bytes, unless_default, words_of


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What to collect."""

    url_list: tuple[str, ...] | None = no_change_of_bytes(default=None)
    """The list of pairs: files, folders of files, globs or braces ({00000..00331}), each as a path or an fsspec URL, in
    the order in which they are read; a zip or a tar stands for the lists in it."""
    dataset: Dataset | None = None
    """Name of a published layout, whose columns, header, order and encoding are known, so that no other flag is needed.
    folder is a folder of pictures with a .txt file beside each, with one captions.jsonl (file, captions), or with
    Hugging Face's metadata.jsonl, .csv or .parquet (file_name, text). By default the list is read by its
    --input_format and columns."""
    image_folder: str | None = no_change_of_bytes(default=None)
    """Folder with the pictures of coco, cub, flickr8k, flickr30k or redcaps, laid out as published or all in one
    folder, as a path or an fsspec URL. By default they are fetched from their links, where the dataset has links."""
    input_format: InputFormat | None = None
    """How the list is written, by default as its name says; by what it is compressed, its first bytes say."""
    encoding: str | None = unless_default(default=None)
    """Encoding of text that is neither UTF-8 nor begins with a byte order mark, such as cp1252 or shift_jis: of lists,
    and of texts beside pictures and in tars."""
    url_col: str = "url"
    """Name of the list's column that holds the links; every --dataset but folder has its own."""
    caption_col: str = "caption"
    """Name of the list's column that holds the captions; every --dataset but folder and webdataset has its own."""
    save_additional_columns: tuple[str, ...] = ()
    """Names of further columns of the list to keep in the ledger and in each sample's JSON; by default none is kept."""

    def __post_init__(self) -> None:
        """Spell out lists, as img2dataset's users type them; bad values fail before anything starts."""
        if isinstance(self.url_list, str):
            object.__setattr__(self, "url_list", (self.url_list,))
        if self.url_list is not None and not (self.url_list and all(self.url_list)):
            raise ValueError("--url_list is empty; name a file, a folder, a glob or braces")
        object.__setattr__(self, "encoding", known_encoding(self.encoding))
        additional = words_of("--save_additional_columns", self.save_additional_columns)
        object.__setattr__(self, "save_additional_columns", additional)
        for name in (LOCATION, "problem"):
            if name in additional:
                raise ValueError(
                    f"--save_additional_columns {name}: this name has another meaning on the way; rename the column in "
                    "the list, or leave it out"
                )
        if self.input_format is not None and self.input_format not in INPUT_FORMATS:
            raise ValueError(f"--input_format {self.input_format}: expected one of {', '.join(INPUT_FORMATS)}")
        if self.dataset is None:
            return
        if self.dataset not in PRESETS:
            raise ValueError(f"--dataset {self.dataset}: expected one of {', '.join(PRESETS)}")
        self._check_names(PRESETS[self.dataset])
        if additional and not PRESETS[self.dataset].has_columns:
            raise ValueError(
                f"--dataset {self.dataset}: has no columns beyond pictures and captions, so none is kept or verified"
            )

    def _check_names(self, preset: Preset) -> None:
        for name in ("url_col", "caption_col"):
            value, default = getattr(self, name), getattr(ListColumns, name)
            if value != default and name not in preset.takes:
                raise ValueError(f"--{name} {value}: --dataset {self.dataset} knows its own columns; leave it out")

    @property
    def columns(self) -> ListColumns:
        """Which columns are read."""
        return ListColumns(
            url_col=self.url_col,
            caption_col=self.caption_col,
            save_additional_columns=self.save_additional_columns,
            dataset=self.dataset,
            encoding=self.encoding,
        )
