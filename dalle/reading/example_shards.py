"""The examples of a dataset for a training: one caption and one crop drawn of several, the text padded."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dalle.reading.epoch_order import Piece, draws
from dalle.reading.example_files import ExampleFiles, Examples, joined_examples
from dalle.reading.identities import Identities
from dalle.reading.ragged import Lists
from dalle.reading.training_manifest import training_manifest
from dalle.text.padding import padding_tokens
from dalle.text.tokenizer import Tokenizer
from schemas.examples import TEXT_LENGTH
from schemas.folder import Folder
from schemas.manifest import Counts, fingerprint, lineage_from
from schemas.opening import check_unchanged

_CAPTION, _CROP, _DROPOUT = 1, 2, 3
"""What is drawn of an example each epoch."""


class ExampleShards:
    """The examples of a dataset that `pipelines.encode` left, for `dalle.reading.batches.Batches`.

    Batches have `text_tokens` [B, T] int64, padded as `dalle.text.padding` says, and `image_codes` [B, n] int64.

    Args:
        folder: a path or an fsspec URL.
        vocabulary, dvae: fingerprints of those that the model is for; None takes any.
        files: which files are read; auto: Parquet where it is there.
        dropout: share of merges passed over when the drawn caption is made into tokens (0.1 in the paper), 0 to 1;
            needs `tokenizer`.
        tokenizer: that of the dataset's vocabulary.
        text_length: T, positions of the text; longer ones are cut.
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
        text_length: int = TEXT_LENGTH,
        allow_undeduplicated: bool = False,
    ) -> None:
        manifest = training_manifest(Folder(folder), "examples", allow_undeduplicated=allow_undeduplicated)
        options = manifest["options"]
        _check_made_for(folder, options, {"vocabulary": vocabulary, "dvae": dvae})
        if dropout and (tokenizer is None or tokenizer.fingerprint != options["vocabulary"]):
            raise ValueError(
                f"{folder}: dropout needs the tokenizer of its vocabulary, {options['vocabulary'][:12]}; name it "
                "(--vocabulary), or take the dataset's tokens as they are (--bpe_dropout 0)"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout is {dropout}, expected 0 to 1")
        self.fingerprint, self.lineage = fingerprint(manifest), lineage_from(manifest)
        self.vocabulary, self.dvae = str(options["vocabulary"]), str(options["dvae"])
        self.vocab_size, self.codes = int(options["vocab_size"]), int(options["codes"])
        self.image_vocab_size = int(options["image_vocab_size"])
        self._names = [shard["name"] for shard in manifest["shards"]]
        self._sizes = [Counts.of_json(shard["counts"]).kept for shard in manifest["shards"]]
        self.counts = self._sizes
        self._reads = [fingerprint(shard["files"]) for shard in manifest["shards"]]
        self._first_ids = np.cumsum([0, *self._sizes])
        self._files = ExampleFiles(
            folder=Folder(folder),
            vocab_size=self.vocab_size,
            image_vocab_size=self.image_vocab_size,
            codes=self.codes,
            kind=files,
            with_texts=dropout > 0,
        )
        self._dropout, self._tokenizer = dropout, tokenizer
        self.text_length = text_length
        self._rows: list[np.ndarray] | None = None
        """Of each shard those that are read; None: all."""
        self._last_shard: tuple[int, Examples] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last_shard": None}  # a worker reads its own

    def identities(self, shard: int) -> Identities:
        """By what the examples of a shard are told apart, all of them.

        Raises:
            ValueError: naming shard and row, if a row is broken; if the dataset was changed since this object was made.
        """
        with self._unchanged(shard):
            return self._files.identities(self._names[shard], self._sizes[shard])

    def only(self, rows: Sequence[np.ndarray]) -> ExampleShards:
        """Some of the examples, as shards of their own.

        Args:
            rows: of each shard the numbers of its rows, [n] int64, ascending.
        """
        part = copy.copy(self)
        part._rows, part._last_shard = list(rows), None
        part.counts = [len(some) for some in rows]
        read = hashlib.sha256(b"".join(np.append(some, -1).astype("<i8").tobytes() for some in rows)).hexdigest()
        part.fingerprint = fingerprint([self.fingerprint, read])
        return part

    def without_dropout(self) -> ExampleShards:
        """The same with the tokens that the dataset holds."""
        part = copy.copy(self)
        part._dropout, part._last_shard = 0.0, None
        return part

    def too_few(self, batch_size: int) -> str:
        """That the dataset does not fill a batch, for an error."""
        return (
            f"{self._files.folder}: has {sum(self.counts)} examples, expected at least the {batch_size} of one batch; "
            "give more, or make --batch_size smaller"
        )

    def load(self, pieces: Sequence[Piece]) -> Examples:
        """The examples of some pieces, one after the other.

        Raises:
            ValueError: naming shard and row, if a row is broken; if the dataset was changed since this object was made.
        """
        return joined_examples([self._shard(piece.shard).part(piece.first, piece.end) for piece in pieces])

    def batch(self, examples: Examples, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """Those at some indices, one crop and one caption of each."""
        ids, counts = examples.ids[index], examples.captions.counts[index]
        crop = examples.crops.starts[index] + _choose(draws(seed, epoch, ids, _CROP), examples.crops.counts[index])
        caption = _choose(draws(seed, epoch, ids, _CAPTION), np.maximum(counts, 1))
        if self._dropout:
            lists = self._tokens_with_dropout(examples, index, caption, draws(seed, epoch, ids, _DROPOUT))
            chosen = np.arange(len(index))
        else:
            lists, chosen = examples.tokens, examples.captions.starts[index] + caption
        return {
            "text_tokens": self._padded(lists, chosen, counts > 0),
            "image_codes": examples.crops.values[crop].astype(np.int64),
        }

    def _padded(self, lists: Lists, chosen: np.ndarray, has_text: np.ndarray) -> np.ndarray:
        """[B, T] int64: the chosen lists, then padding; of examples without a caption only padding."""
        padding = padding_tokens(self.vocab_size, self.text_length)
        if not len(lists.values):
            return np.tile(padding, (len(chosen), 1))
        position = np.arange(self.text_length)
        chosen = np.minimum(chosen, len(lists.starts) - 2)
        start, count = lists.starts[chosen], np.where(has_text, lists.counts[chosen], 0)
        tokens = lists.values[np.minimum(start[:, None] + position, len(lists.values) - 1)]
        return np.where(position < count[:, None], tokens, padding)

    def _tokens_with_dropout(
        self, examples: Examples, index: np.ndarray, caption: np.ndarray, seeds: np.ndarray
    ) -> Lists:
        """Tokens of the drawn captions, made anew from their text."""
        assert examples.texts is not None
        assert self._tokenizer is not None
        sequences = []
        for example, which, seed in zip(index.tolist(), caption.tolist(), seeds.tolist(), strict=True):
            text = examples.texts[example][which] if examples.texts[example] else ""
            rng = np.random.default_rng(seed)
            sequences.append(self._tokenizer.encode_with_dropout(text, self._dropout, rng)[: self.text_length])
        values = np.array([token for tokens in sequences for token in tokens], np.uint16)
        return Lists(values, np.cumsum([0, *map(len, sequences)]))

    def _shard(self, number: int) -> Examples:
        """All examples of a shard; the last one that was read stays in memory."""
        if self._last_shard is None or self._last_shard[0] != number:
            self._last_shard = None  # the old one goes before the new one comes
            with self._unchanged(number):
                examples = self._files.read(self._names[number], int(self._first_ids[number]), self._sizes[number])
            self._last_shard = number, examples if self._rows is None else examples.take(self._rows[number])
        return self._last_shard[1]

    @contextlib.contextmanager
    def _unchanged(self, shard: int) -> Iterator[None]:
        """While a shard is read: a change of it is the cause of whatever else is wrong with it."""
        try:
            yield
        finally:
            check_unchanged(self._files.folder, self._names[shard], self._reads[shard])


def _check_made_for(folder: str, options: Mapping[str, Any], model: Mapping[str, str | None]) -> None:
    """Compare what the dataset was made with, from its manifest's options, with what the model is for."""
    for name, expected in model.items():
        if expected is not None and options[name] != expected:
            raise ValueError(
                f"{folder}: was made with the {name} {options[name][:12]}, the model is for {expected[:12]}; run "
                f"pipelines.encode with the model's {name}"
            )


def _choose(draw: np.ndarray, count: np.ndarray) -> np.ndarray:
    return (draw % count.astype(np.uint64)).astype(np.int64)
