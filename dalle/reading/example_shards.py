"""Shards of examples as a reader wants them: checked, as flat arrays, one caption and one crop drawn of several."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from dalle.reading.epoch_order import Piece, draws
from dalle.reading.ragged import Column, Lists, joined
from dalle.text.tokenizer import Tokenizer
from schemas.examples import CODES, TEXT_LENGTH
from schemas.folder import Folder
from schemas.manifest import Counts, fingerprint, is_deduplicated, read_manifest
from schemas.shards import read_parquet, read_tar

_CAPTION, _CROP, _DROPOUT = 1, 2, 3
"""What is drawn of an example each epoch."""


@dataclass(frozen=True)
class Rows:
    """Some examples: the crops of each, the captions of each, the tokens of each caption."""

    crops: Lists
    """Values are [crops, n] uint16 codes."""
    captions: Lists
    """Values are indices into `tokens`."""
    tokens: Lists
    """Values are uint16."""
    texts: list[list[str]] | None
    """The captions themselves, where tokens are made anew."""
    ids: np.ndarray
    """[rows] int64; of each example in the dataset."""


class ExampleShards:
    """The examples of a dataset that `pipelines.encode` left, for `dalle.reading.batches.Batches`.

    Batches have `text_tokens` [B, 256] int64, where place i after the text holds `vocab_size + i`, the paper's
    padding token of its own for every place, and `image_codes` [B, n] int64.

    Args:
        folder: a path or an fsspec URL.
        vocabulary, dvae: fingerprints of those that the model is for; None takes any.
        files: which files are read; auto: Parquet where it is there.
        dropout: share of merges passed over when the drawn caption is made into tokens (0.1 in the paper); needs
            `tokenizer`.
        tokenizer: that of the dataset's vocabulary.
        allow_undeduplicated: read a dataset that was never cleaned of near-duplicates.

    Raises:
        ValueError: if it is not a dataset of examples, or not one for this model.
    """

    def __init__(
        self,
        folder: str,
        *,
        vocabulary: str | None = None,
        dvae: str | None = None,
        files: Literal["auto", "parquet", "tar"] = "auto",
        dropout: float = 0.0,
        tokenizer: Tokenizer | None = None,
        allow_undeduplicated: bool = False,
    ) -> None:
        self._folder = Folder(folder)
        manifest = training_manifest(self._folder, "examples", allow_undeduplicated=allow_undeduplicated)
        said = manifest["options"]
        for name, expected in (("vocabulary", vocabulary), ("dvae", dvae)):
            if expected is not None and said[name] != expected:
                raise ValueError(
                    f"{folder}: was made with the {name} {said[name][:12]}, the model is for {expected[:12]}; run "
                    f"pipelines.encode with the model's {name}"
                )
        if dropout and (tokenizer is None or tokenizer.fingerprint != said["vocabulary"]):
            raise ValueError(f"{folder}: dropout needs the tokenizer of its vocabulary, {said['vocabulary'][:12]}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout is {dropout}, expected 0 to 1")
        self.fingerprint = fingerprint(manifest)
        self.vocabulary, self.dvae = str(said["vocabulary"]), str(said["dvae"])
        self.vocab_size, self.codes = int(said["vocab_size"]), int(said["codes"])
        self.image_vocab_size = int(said["image_vocab_size"])
        self._names = [shard["name"] for shard in manifest["shards"]]
        self.counts = [Counts.of_json(shard["counts"]).kept for shard in manifest["shards"]]
        self._first_ids = np.cumsum([0, *self.counts])
        self._files, self._dropout, self._tokenizer = files, dropout, tokenizer
        self._last: tuple[int, Rows] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}  # a worker reads its own

    def load(self, pieces: Sequence[Piece]) -> Rows:
        """The rows of some pieces, one after the other.

        Raises:
            ValueError: naming shard and row, if a row is broken.
        """
        parts = [self._part(piece) for piece in pieces]
        captions = joined([part.captions for part in parts])
        return Rows(
            crops=joined([part.crops for part in parts]),
            captions=Lists(np.arange(captions.starts[-1]), captions.starts),
            tokens=joined([part.tokens for part in parts]),
            texts=[text for part in parts for text in part.texts or ()] if self._dropout else None,
            ids=np.concatenate([part.ids for part in parts]),
        )

    def batch(self, rows: Rows, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The examples at some indices."""
        ids = rows.ids[index]
        crop = rows.crops.starts[index] + _choose(draws(seed, epoch, ids, _CROP), rows.crops.counts[index])
        caption = _choose(draws(seed, epoch, ids, _CAPTION), np.maximum(rows.captions.counts[index], 1))
        if self._dropout:
            lists = self._anew(rows, index, caption, draws(seed, epoch, ids, _DROPOUT))
            which = np.arange(len(index))
        else:
            lists, which = rows.tokens, rows.captions.starts[index] + caption
        return {
            "text_tokens": self._padded(lists, which, rows.captions.counts[index] > 0),
            "image_codes": rows.crops.values[crop].astype(np.int64),
        }

    def _padded(self, lists: Lists, which: np.ndarray, has_text: np.ndarray) -> np.ndarray:
        place = np.arange(TEXT_LENGTH)
        if not len(lists.values):
            return np.tile(self.vocab_size + place, (len(which), 1))
        which = np.minimum(which, len(lists.starts) - 2)
        start, count = lists.starts[which], np.where(has_text, lists.counts[which], 0)
        found = lists.values[np.minimum(start[:, None] + place, len(lists.values) - 1)]
        return np.where(place < count[:, None], found, self.vocab_size + place)

    def _anew(self, rows: Rows, index: np.ndarray, caption: np.ndarray, seeds: np.ndarray) -> Lists:
        """Tokens of the drawn captions with dropout."""
        assert rows.texts is not None
        assert self._tokenizer is not None
        found = []
        for row, which, seed in zip(index.tolist(), caption.tolist(), seeds.tolist(), strict=True):
            text = rows.texts[row][which] if rows.texts[row] else ""
            rng = np.random.default_rng(seed)
            found.append(self._tokenizer.encode_with_dropout(text, self._dropout, rng)[:TEXT_LENGTH])
        values = np.array([token for tokens in found for token in tokens], np.uint16)
        return Lists(values, np.cumsum([0, *map(len, found)]))

    def _part(self, piece: Piece) -> Rows:
        if self._last is None or self._last[0] != piece.shard:
            self._last = None  # the old one goes before the new one comes
            self._last = piece.shard, self._shard(piece.shard)
        rows, first, end = self._last[1], piece.first, piece.end
        captions = rows.captions.part(first, end)
        of_tokens = rows.captions.starts[[first, end]]
        return Rows(
            crops=rows.crops.part(first, end),
            captions=captions,
            tokens=rows.tokens.part(*of_tokens),
            texts=rows.texts[first:end] if rows.texts is not None else None,
            ids=rows.ids[first:end],
        )

    def _shard(self, number: int) -> Rows:
        name = self._names[number]
        tar = self._files == "tar" or (self._files == "auto" and not self._folder.exists(f"{name}.parquet"))
        file = f"{name}.tar" if tar else f"{name}.parquet"
        columns = ["text_tokens", "image_codes", *(["captions"] if self._dropout else [])]
        table = self._of_tar(file) if tar else read_parquet(self._folder, file, columns)
        rows = self._checked(table, self._folder.path(file), number)
        if len(rows.ids) != self.counts[number]:
            raise ValueError(
                f"{self._folder.path(file)}: has {len(rows.ids)} rows, the manifest says {self.counts[number]}; "
                "run pipelines.audit"
            )
        return rows

    def _of_tar(self, file: str) -> pa.Table:
        rows = []
        where = self._folder.path(file)
        with self._folder.open(file) as opened:
            for key, members in read_tar(opened, where):
                try:
                    row = json.loads(members["json"])
                    codes = np.load(io.BytesIO(members[CODES]), allow_pickle=False)
                    rows.append({"text_tokens": row["text_tokens"], "captions": row["captions"], "image_codes": codes})
                except (KeyError, ValueError) as error:
                    raise ValueError(f"{where}, sample {key}: {error!r}; make the shard again") from None
        codes = [list(row["image_codes"]) for row in rows]
        return pa.table(
            {
                "text_tokens": pa.array([r["text_tokens"] for r in rows], pa.list_(pa.list_(pa.uint16()))),
                "image_codes": pa.array(codes, pa.list_(pa.list_(pa.uint16()))),
                "captions": pa.array([r["captions"] for r in rows], pa.list_(pa.string())),
            }
        )

    def _checked(self, table: pa.Table, where: str, number: int) -> Rows:
        codes = Column(table["image_codes"], "image_codes", where)
        tokens = Column(table["text_tokens"], "text_tokens", where)
        for row in np.flatnonzero(np.diff(codes.rows) < 1)[:1]:
            codes.fail_at_row(int(row), "has no crop, expected one or more")
        for crop in np.flatnonzero(codes.lists.counts != self.codes)[:1]:
            codes.fail(int(crop), f"has {codes.lists.counts[crop]} values, expected {self.codes}")
        for text in np.flatnonzero(tokens.lists.counts > TEXT_LENGTH)[:1]:
            tokens.fail(int(text), f"has {tokens.lists.counts[text]} values, expected at most {TEXT_LENGTH}")
        codes.below(self.image_vocab_size, "codes")
        tokens.below(self.vocab_size, "tokens")
        first = int(self._first_ids[number])
        return Rows(
            crops=Lists(codes.lists.values.reshape(-1, self.codes), codes.rows),
            captions=Lists(np.arange(tokens.rows[-1]), tokens.rows),
            tokens=tokens.lists,
            texts=table["captions"].to_pylist() if self._dropout else None,
            ids=np.arange(first, first + table.num_rows),
        )


def training_manifest(folder: Folder, table: str, *, allow_undeduplicated: bool) -> dict[str, Any]:
    """The manifest of a dataset that a training may read.

    Raises:
        ValueError: if it holds something else, or was never cleaned of near-duplicates.
    """
    manifest = read_manifest(folder, table=table)
    if not allow_undeduplicated and not is_deduplicated(manifest):
        raise ValueError(
            f"{folder}: was never cleaned of near-duplicates (no dedup among the jobs behind it); run pipelines.dedup "
            "first, or say allow_undeduplicated"
        )
    return manifest


def _choose(draw: np.ndarray, count: np.ndarray) -> np.ndarray:
    return (draw % count.astype(np.uint64)).astype(np.int64)
