"""What a prior has to beat: models that look at one token before each, or at none, fitted on the same examples.

Each is interpolated with the one below it, a bigram model with the unigrams and those with equal chances, by how often
something new was seen (Witten & Bell 1991): nothing is tuned, and no token is impossible.

    >>> grams = NGrams(vocab_size=3)
    >>> grams.add(np.array([[0, 1, 0, 1, 0, 1, 2]]))
    >>> unigram, bigram = grams.nats(np.array([[0, 1, 0, 1]]))
    >>> f"{unigram:.2f} {bigram:.2f}"
    '0.92 0.32'
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dalle.reading.batches import Batch
from dalle.text.padding import is_text

NOTHING = -1
"""Stands where a sequence has ended."""
AT_ONCE = 1 << 22
"""Pairs that are counted batch by batch before they are added up."""


class NGrams:
    """Counts of tokens and of pairs of tokens.

    Args:
        vocab_size: V; tokens are below it.
    """

    def __init__(self, vocab_size: int) -> None:
        self._size = vocab_size
        self._tokens = np.zeros(vocab_size, np.int64)
        self._keys, self._counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        """Of the pairs that were seen: V times the first token and the second, ascending, and how often."""
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, sequences: np.ndarray) -> None:
        """Count those of some sequences, [B, L] int64, -1 after the end of each."""
        before, token = self._pairs_of(sequences)
        self._tokens += np.bincount(token, minlength=self._size)
        self._waiting.append(np.unique(before * self._size + token, return_counts=True))
        if sum(len(keys) for keys, _ in self._waiting) > max(AT_ONCE, len(self._keys)):
            self._merge()

    def _merge(self) -> None:
        """Add up what was counted batch by batch."""
        parts = [(self._keys, self._counts), *self._waiting]
        keys, counts = (np.concatenate(some) for some in zip(*parts, strict=True))
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        firsts = np.flatnonzero(np.diff(keys, prepend=-1))
        self._keys, self._waiting = keys[firsts], []
        self._counts = np.add.reduceat(counts, firsts) if len(firsts) else counts

    def nats(self, sequences: np.ndarray) -> tuple[float, float]:
        """Mean nats of a token of some sequences, by unigrams and by bigrams; 0 if there is no token.

        Args:
            sequences: [B, L] int64, -1 after the end of each.
        """
        before, token = self._pairs_of(sequences)
        if not len(token):
            return 0.0, 0.0
        seen, kinds = self._tokens.sum(), np.count_nonzero(self._tokens)
        unigram = (self._tokens[token] + kinds / self._size) / max(seen + kinds, 1)
        if not seen:
            unigram = np.full(len(token), 1 / self._size)
        self._merge()
        after = np.bincount(self._keys // self._size, self._counts, minlength=self._size + 1)[before]
        new = np.bincount(self._keys // self._size, minlength=self._size + 1)[before]
        wanted = before * self._size + token
        place = np.searchsorted(self._keys, wanted).clip(max=max(len(self._keys) - 1, 0))
        together = np.where(self._keys[place] == wanted, self._counts[place], 0) if len(self._keys) else 0
        with np.errstate(invalid="ignore"):
            bigram = np.where(after > 0, (together + new * unigram) / (after + new), unigram)
        return float(-np.log(unigram).mean()), float(-np.log(bigram).mean())

    def _pairs_of(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of every token the one before it, V at the beginning, and the token itself, [n] int64 each."""
        first = np.full((len(sequences), 1), self._size)
        before = np.concatenate([first, sequences[:, :-1]], axis=1)
        there = sequences != NOTHING
        return before[there], sequences[there]


@dataclass(frozen=True)
class Baselines:
    """Mean nats of a token of the held-out examples."""

    text: tuple[float, float]
    """Of a text token, by unigrams and by bigrams."""
    image: tuple[float, float]
    """Of a code."""


def baselines(
    training: Iterable[Batch], validation: Iterable[Batch], *, vocab_size: int, image_vocab_size: int
) -> Baselines:
    """Fit on some batches, and see how well others are foretold.

    Args:
        training, validation: `text_tokens` [B, T] with padding and `image_codes` [B, N], int64.
        vocab_size, image_vocab_size: text tokens and codes are below them.
    """
    text, image = NGrams(vocab_size), NGrams(image_vocab_size)
    for batch in training:
        text.add(_without_padding(batch, vocab_size))
        image.add(batch["image_codes"].numpy())
    batches = [(_without_padding(batch, vocab_size), batch["image_codes"].numpy()) for batch in validation]
    texts, images = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Baselines(text=text.nats(texts), image=image.nats(images))


def _without_padding(batch: Batch, vocab_size: int) -> np.ndarray:
    tokens = batch["text_tokens"].numpy()
    return np.where(is_text(tokens, vocab_size), tokens, NOTHING)
