"""Shards of pairs as a model of pictures and texts wants them: a picture and the tokens of one of its captions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dalle.pictures.pixels import Pixels
from dalle.reading.epoch_order import Piece, draws
from dalle.reading.holding_out import Processes, rows_of_all
from dalle.reading.identities import Identities, hashes
from dalle.reading.pair_shards import PairShards, StoredPictures, View
from dalle.reading.ragged import Lists

_CAPTION = 1
"""What is drawn of an example each epoch, beside its view; as `dalle.reading.example_shards` numbers them."""

Encode = Callable[[Sequence[str]], np.ndarray]
"""Captions to tokens, [captions, T] int64; picklable, such as `dalle.text.ended.EndedCaptions`."""


@dataclass(frozen=True)
class StoredPairs:
    """Some pairs as they are stored."""

    pictures: StoredPictures
    captions: list[list[str]]
    """Of each picture, one or more."""


class CaptionedPairs:
    """The pairs of a dataset for `dalle.reading.batches.Batches`: `images` [B, 3, S, S] uint8, `text_tokens` [B, T].

    Of several captions of a picture one is drawn anew each epoch.

    Args:
        folder: a path or an fsspec URL; tars or Parquet.
        view: what of a picture is seen, [S, S, 3].
        encode: captions to tokens.
        allow_undeduplicated: read a dataset that was never cleaned of near-duplicates.

    Raises:
        ValueError: if it is not a dataset of pairs, or never cleaned.
    """

    def __init__(self, folder: str, view: View, encode: Encode, *, allow_undeduplicated: bool = False) -> None:
        self.folder, self._encode = folder, encode
        self._pairs = PairShards(folder, view=view, allow_undeduplicated=allow_undeduplicated)
        self.fingerprint, self.lineage = self._pairs.fingerprint, self._pairs.lineage

    @property
    def counts(self) -> Sequence[int]:
        """Pairs of each shard."""
        return self._pairs.counts

    def too_few(self, batch_size: int) -> str:
        """That the dataset does not fill a batch, for an error."""
        return (
            f"{self.folder}: has {sum(self.counts)} pairs with a caption to train on, expected at least the "
            f"{batch_size} of one batch; give more, or make --batch_size smaller"
        )

    def only(self, rows: Sequence[np.ndarray]) -> CaptionedPairs:
        """Some of the pairs, as shards of their own; see `PairShards.only`."""
        part = copy.copy(self)
        part._pairs = self._pairs.only(rows)
        part.fingerprint = part._pairs.fingerprint
        return part

    def seen_through(self, view: Callable[[Pixels, np.random.Generator], Pixels]) -> CaptionedPairs:
        """The same pairs through another view."""
        part = copy.copy(self)
        part._pairs = self._pairs.seen_through(view)
        return part

    def with_a_caption(self, ranks: Processes) -> CaptionedPairs:
        """Those that have a caption; the very same if all have. Each process looks at its share of the shards."""
        mine = range(ranks.rank, len(self.counts), ranks.count)
        captioned = {
            shard: np.array([row for row, captions in enumerate(self._captions(shard)) if captions], np.int64)
            for shard in mine
        }
        rows = rows_of_all(captioned, len(self.counts), ranks)
        return self if sum(map(len, rows)) == sum(self.counts) else self.only(rows)

    def identities(self, shard: int) -> Identities:
        """By what the pairs of a shard are told apart.

        Raises:
            ValueError: naming the shard, if a pair has no uid.
        """
        ledger = self._pairs.ledger(shard, ["uid", "stored_sha256"])
        uids, pictures = ledger["uid"].to_pylist(), ledger["stored_sha256"].to_pylist()
        if None in uids:
            raise ValueError(f"{self._pairs.where(shard)}.parquet: a pair has no uid; run pipelines.audit")
        of_pictures = hashes((picture or uid).encode() for picture, uid in zip(pictures, uids, strict=True))
        return Identities(hashes(uid.encode() for uid in uids), Lists(of_pictures, np.arange(len(uids) + 1)))

    def load(self, pieces: Sequence[Piece]) -> StoredPairs:
        """The stored pairs of some pieces, one after the other; errors are those of `PairShards.load`."""
        captions = [some for piece in pieces for some in self._captions(piece.shard)[piece.first : piece.end]]
        return StoredPairs(self._pairs.load(pieces), captions)

    def batch(self, examples: StoredPairs, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The pairs at some indices, one caption of each; errors are those of `PairShards.batch`."""
        drawn = draws(seed, epoch, examples.pictures.ids[index], _CAPTION)
        chosen = [examples.captions[each] for each in index.tolist()]
        captions = [some[draw % len(some)] for some, draw in zip(chosen, drawn.tolist(), strict=True)]
        return self._pairs.batch(examples.pictures, index, seed, epoch) | {"text_tokens": self._encode(captions)}

    def _captions(self, shard: int) -> list[list[str]]:
        """Of each pair of a shard those captions that are not empty."""
        ledger = self._pairs.ledger(shard, ["captions", "text"])
        rows = zip(ledger["captions"].to_pylist(), ledger["text"].to_pylist(), strict=True)
        return [[each for each in captions or [text] if each and each.strip()] for captions, text in rows]
