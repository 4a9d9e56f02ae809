"""A shard of examples, read from Parquet or from a tar, checked, as flat arrays."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from dalle.reading.identities import Identities, hashes
from dalle.reading.ragged import Column, Lists, joined
from schemas.examples import CODES, TEXT_LENGTH
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.shards import read_parquet, read_tar

_SAMPLE = {
    "uid": pa.string(),
    "text_tokens": pa.list_(pa.list_(pa.uint16())),
    "image_codes": pa.list_(pa.list_(pa.uint16())),
    "captions": pa.list_(pa.string()),
}
"""What is read of a sample in a tar."""
EXAMPLE = ("text_tokens", "image_codes", "captions")
"""Columns that make an example."""


@dataclass(frozen=True)
class Examples:
    """Some examples: the crops of each, the captions of each, the tokens of each caption."""

    crops: Lists
    """Values are [crops, n] uint16 codes."""
    captions: Lists
    """Values are indices into `tokens`."""
    tokens: Lists
    """Values are uint16."""
    texts: list[list[str]] | None
    """The captions themselves, where they were asked for."""
    ids: np.ndarray
    """[examples] int64: the number of each in the dataset."""

    def part(self, first: int, end: int) -> Examples:
        """Examples `first` to `end`."""
        return Examples(
            crops=self.crops.part(first, end),
            captions=self.captions.part(first, end),
            tokens=self.tokens.part(*self.captions.starts[[first, end]]),
            texts=self.texts[first:end] if self.texts is not None else None,
            ids=self.ids[first:end],
        )

    def take(self, rows: np.ndarray) -> Examples:
        """Those with some numbers, [n] int64, in their order."""
        captions = self.captions.take(rows)
        return Examples(
            crops=self.crops.take(rows),
            captions=Lists(np.arange(captions.starts[-1]), captions.starts),
            tokens=self.tokens.take(captions.values),
            texts=[self.texts[row] for row in rows.tolist()] if self.texts is not None else None,
            ids=self.ids[rows],
        )


def joined_examples(parts: list[Examples]) -> Examples:
    """All examples of all parts."""
    captions = joined([part.captions for part in parts])
    texts = [part.texts for part in parts if part.texts is not None]
    return Examples(
        crops=joined([part.crops for part in parts]),
        captions=Lists(np.arange(captions.starts[-1]), captions.starts),
        tokens=joined([part.tokens for part in parts]),
        texts=[of_example for part in texts for of_example in part] if texts else None,
        ids=np.concatenate([part.ids for part in parts]),
    )


@dataclass(frozen=True)
class ExampleFiles:
    """The files of a dataset of examples, and what its manifest says of every example in them."""

    folder: Folder
    vocab_size: int
    """Text tokens are below it."""
    image_vocab_size: int
    """Codes are below it."""
    codes: int
    """How many codes a crop has."""
    kind: Literal["auto", "parquet", "tar"] = "auto"
    """Which files are read; auto: Parquet where it is there."""
    with_texts: bool = False
    """Whether the captions themselves are read, too."""

    def read(self, shard: str, first_id: int, count: int) -> Examples:
        """The examples of a shard.

        Args:
            shard: its name, without a suffix.
            first_id: the number in the dataset of its first example.
            count: how many it has.

        Raises:
            ValueError: naming the file and the row, if a row is broken or their number is another.
        """
        columns = ["text_tokens", "image_codes", *(["captions"] if self.with_texts else [])]
        table, path = self._table(shard, columns, count)
        return self._checked(table, path, np.arange(first_id, first_id + count))

    def identities(self, shard: str, count: int) -> Identities:
        """Of the examples of a shard; arguments and errors are those of `read`."""
        table, path = self._table(shard, ["uid", "image_codes"], count)
        codes = Column(table["image_codes"], "image_codes", path)
        uids = table["uid"].to_pylist()
        if None in uids:
            codes.fail_at_row(uids.index(None), "has no uid beside it")
        starts = codes.lists.starts.tolist()
        crops = (codes.lists.values[start:end].tobytes() for start, end in itertools.pairwise(starts))
        return Identities(hashes(uid.encode() for uid in uids), Lists(hashes(crops), codes.rows))

    def _table(self, shard: str, columns: list[str], count: int) -> tuple[pa.Table, str]:
        """Columns of a shard, and the file's path for complaints."""
        tar = self.kind == "tar" or (self.kind == "auto" and not self.folder.exists(f"{shard}.parquet"))
        file = f"{shard}.tar" if tar else f"{shard}.parquet"
        table = self._read_tar(file, columns) if tar else read_parquet(self.folder, file, columns)
        path = self.folder.path(file)
        if table.num_rows != count:
            raise ValueError(f"{path}: has {table.num_rows} rows, the manifest says {count}; run pipelines.audit")
        return table, path

    def _read_tar(self, file: str, columns: list[str]) -> pa.Table:
        path, rows = self.folder.path(file), []
        with self.folder.open(file) as opened:
            for key, members in read_tar(opened, path):
                try:
                    rows.append(row_of_sample(members, columns))
                except ValueError as error:
                    raise ValueError(f"{path}, sample {key}: {error}; make the shard again") from None
        return pa.table({name: pa.chunked_array([row[name] for row in rows], _SAMPLE[name]) for name in columns})

    def _checked(self, table: pa.Table, path: str, ids: np.ndarray) -> Examples:
        codes = Column(table["image_codes"], "image_codes", path)
        tokens = Column(table["text_tokens"], "text_tokens", path)
        for row in np.flatnonzero(np.diff(codes.rows) < 1)[:1]:
            codes.fail_at_row(int(row), "has no crop, expected one or more")
        for crop in np.flatnonzero(codes.lists.counts != self.codes)[:1]:
            codes.fail(int(crop), f"has {codes.lists.counts[crop]} values, expected {self.codes}")
        for text in np.flatnonzero(tokens.lists.counts > TEXT_LENGTH)[:1]:
            tokens.fail(int(text), f"has {tokens.lists.counts[text]} values, expected at most {TEXT_LENGTH}")
        codes.below(self.image_vocab_size, "codes")
        tokens.below(self.vocab_size, "tokens")
        return Examples(
            crops=Lists(codes.lists.values.reshape(-1, self.codes), codes.rows),
            captions=Lists(np.arange(tokens.rows[-1]), tokens.rows),
            tokens=tokens.lists,
            texts=table["captions"].to_pylist() if self.with_texts else None,
            ids=ids,
        )


def row_of_sample(members: Mapping[str, bytes], columns: Sequence[str] = EXAMPLE) -> dict[str, pa.Array]:
    """What the reader wants of a sample in a tar: a row of some columns.

    Raises:
        ValueError: if something of it is missing, or is no list of numbers or captions.
    """
    try:
        row = parse_json(members["json"])
        row["image_codes"] = list(np.lib.format.read_array(io.BytesIO(members[CODES]), allow_pickle=False))
        return {name: pa.array([row[name]], _SAMPLE[name]) for name in columns}
    except KeyError as error:
        raise ValueError(f"has no {error}") from None
    except (TypeError, ValueError, OverflowError, EOFError, MemoryError) as error:
        raise ValueError(f"cannot be read ({' '.join(str(error).split())})") from None
