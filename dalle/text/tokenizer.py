"""Captions to text tokens and back: byte-level BPE on lower-cased text (Ramesh et al. 2021, §2.2).

    >>> tokenizer = load()
    >>> tokens = tokenizer.encode("A red boat on the lake.")
    >>> tokens
    [64, 530, 751, 281, 271, 1396, 13]
    >>> tokenizer.decode(tokens)
    'a red boat on the lake.'
    >>> tokenizer.encode_with_dropout("A red boat on the lake.", 0.5, np.random.default_rng(0))
    [64, 359, 68, 67, 263, 78, 274, 281, 220, 83, 261, 1396, 13]

The file is the JSON of the Hugging Face `tokenizers` library, which reads it as it is; lower-casing is part of it.
Tokens are entries of the vocabulary only; `dalle.text.padding` fills up a text of fewer than 256.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from dalle.shipped import BUILTIN, shipped
from schemas.contents import is_awaited_of, why_not_left
from schemas.examples import TEXT_LENGTH, TEXT_VOCABULARY
from schemas.json_text import parse_json
from schemas.planning import NotThereYet, reads
from schemas.regular_file import check_regular
from schemas.stores import open_bytes

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are processes

FILE = "vocabulary.json"
"""What a folder that `pipelines.vocab` left calls it."""
_USUAL = {
    "model": {"type": "BPE"},
    "added_tokens": [],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
}
"""What beside entries and merges decides on tokens, in every vocabulary that is learnt here."""


class Tokenizer:
    """A vocabulary and how it is used."""

    def __init__(self, content: bytes, where: str = "the vocabulary") -> None:
        """From the library's JSON.

        Raises:
            ValueError: if it is not a byte-level BPE vocabulary of at most 16,384 entries.
        """
        try:
            file = parse_json(content)
            if not isinstance(file, dict) or not isinstance(file.get("model"), dict):
                raise ValueError("it has no model")
            model, added = file["model"], file.get("added_tokens") or []
            kind, entries = model["type"], model["vocab"]
            if model.get("continuing_subword_prefix"):  # longer than a part of a merge it makes the library panic
                raise ValueError("its model has a continuing_subword_prefix, which no byte-level BPE has")
            self._library = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:  # noqa: BLE001  the library raises Exception itself
            raise ValueError(
                f"{where}: not a vocabulary in the JSON of `tokenizers` ({error}); make one with python -m "
                "pipelines.vocab"
            ) from None
        if kind != "BPE" or not 0 < len(entries) <= TEXT_VOCABULARY:
            raise ValueError(
                f"{where}: is a {kind} of {len(entries)} entries, expected byte-level BPE of at most "
                f"{TEXT_VOCABULARY}; make one with python -m pipelines.vocab"
            )
        if fault := _fault_of(entries):
            raise ValueError(f"{where}: {fault}; make a vocabulary with python -m pipelines.vocab")
        if foreign := [each["content"] for each in added if entries.get(each["content"]) != each["id"]]:
            raise ValueError(
                f"{where}: adds the token {foreign[0]!r} to its vocabulary, whose number would be that of padding; put "
                "it among the entries, or leave it out"
            )
        self._library.no_truncation()  # what is cut, filled up and dropped is decided here, not in the file
        self._library.no_padding()
        if model.get("dropout"):
            self._library.model.dropout = None
        self.content = content
        self._entries: dict[str, int] = entries
        self._pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        decides = {name: value for name, value in model.items() if name not in ("vocab", "merges", "dropout")}
        self._rest = {
            "model": {name: value for name, value in decides.items() if value not in (None, False)},
            "added_tokens": added,
            **{name: file.get(name) for name in ("normalizer", "pre_tokenizer")},
        }
        """What else in the file decides on tokens."""

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[bytes]]:
        return Tokenizer, (self.content,)

    @property
    def vocab_size(self) -> int:
        """Entries; tokens are below it."""
        return len(self._entries)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that decides on tokens: the same however the JSON is laid out.

        Of entries and merges alone where the rest is what `train` makes of any captions.
        """
        rest = [] if self._rest == _USUAL else [self._rest]
        content = json.dumps([self._entries, self._pairs, *rest], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def lower(self, text: str) -> str:
        """The text as it comes back from `decode`."""
        normalizer = self._library.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def encode(self, text: str) -> list[int]:
        """All tokens of a text, however many."""
        return list(self._library.encode(text, add_special_tokens=False).ids)

    def encode_captions(self, captions: Sequence[str]) -> tuple[list[list[int]], int]:
        """The first 256 tokens of each caption, and how many captions were cut."""
        encoded = [each.ids for each in self._library.encode_batch_fast(list(captions), add_special_tokens=False)]
        return [tokens[:TEXT_LENGTH] for tokens in encoded], sum(len(tokens) > TEXT_LENGTH for tokens in encoded)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text; a character that was cut in the middle becomes U+FFFD."""
        return str(self._library.decode(list(map(int, tokens)), skip_special_tokens=False))

    def encode_with_dropout(self, text: str, dropout: float, rng: np.random.Generator) -> list[int]:
        """All tokens of a text, where each possible merge is passed over with a probability (BPE dropout).

        The library's own dropout cannot be seeded. At 0 this is `encode`; at 1 every byte is a token.

        Source: Provilkov et al. 2020 (arXiv 1910.13267), algorithm 1; 0.1 in Ramesh et al. 2021, App. B.
        """
        cut, lower = self._library.pre_tokenizer, self.lower(text)
        words = [lower] if cut is None else [word for word, _ in cut.pre_tokenize_str(lower)]
        return [self._entries[piece] for word in words for piece in self._merged(word, dropout, rng)]

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {(left, right): rank for rank, (left, right) in enumerate(self._pairs)}

    def _merged(self, word: str, dropout: float, rng: np.random.Generator) -> list[str]:
        """Merge the pair that was learnt first, leftmost of its like, until none is left or all were passed over."""
        pieces = list(word)
        while True:
            pairs = enumerate(itertools.pairwise(pieces))
            merges = [(rank, i) for i, pair in pairs if (rank := self._ranks.get(pair)) is not None]
            if dropout and merges:
                kept = rng.random(len(merges)) >= dropout
                merges = [merge for merge, keep in zip(merges, kept, strict=True) if keep]
            if not merges:
                return pieces
            _, i = min(merges)
            pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


def _fault_of(entries: Mapping[str, int]) -> str:
    """Why some text would have no tokens, or tokens that a network has no place for; nothing if all has."""
    if sorted(entries.values()) != list(range(len(entries))):
        return f"its {len(entries):,} entries are not numbered from 0 to {len(entries) - 1:,}, each once"
    missing = [byte for byte in sorted(pre_tokenizers.ByteLevel.alphabet()) if byte not in entries]
    return f"{len(missing)} of the 256 bytes are not among its entries, the first is {missing[0]!r}" if missing else ""


def load(path: str | os.PathLike[str] = BUILTIN) -> Tokenizer:
    """The tokenizer of a vocabulary.

    Args:
        path: a file or a folder that `pipelines.vocab` left, a path or an fsspec URL; or `builtin` or `drawings`,
            which come with the package.

    Raises:
        ValueError: if it is none, or not there.
        OSError: if it cannot be read.
    """
    own = shipped(str(path), "vocabulary")
    where = str(own or path)
    if own is None:
        reads(where)
    if "://" not in where and (why := why_not_left(where, "vocab", FILE)):
        raise NotThereYet(f"{where}: {why}", where) if is_awaited_of(where, "vocab") else ValueError(f"{where}: {why}")
    if not where.endswith(".json") and not os.path.isfile(where):
        where = f"{where.rstrip('/')}/{FILE}"
    if "://" not in where:
        check_regular(where)
    with open_bytes(where) as file:
        return Tokenizer(file.read(), where)


def train(captions: Iterable[str], vocab_size: int = TEXT_VOCABULARY) -> Tokenizer:
    """Learn a vocabulary; only the words of the captions and their counts are held in memory.

    The same captions give the same bytes, in any order. Where they give fewer merges than asked for, the vocabulary
    is smaller.

        >>> learnt = train(["a red boat", "a red ball"] * 2, vocab_size=260)    # 256 bytes and four merges
        >>> [learnt.decode([token]) for token in learnt.encode("a red boat")]
        ['a', ' red', ' b', 'o', 'a', 't']

    Raises:
        ValueError: if not even the 256 bytes have room.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if not len(alphabet) <= vocab_size <= TEXT_VOCABULARY:
        raise ValueError(f"vocab_size is {vocab_size}, expected {len(alphabet)} to {TEXT_VOCABULARY}")
    library = tokenizers.Tokenizer(models.BPE())
    library.normalizer = normalizers.Lowercase()
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, min_frequency=2, show_progress=False, special_tokens=[]
    )
    library.train_from_iterator(captions, trainer)
    return Tokenizer(library.to_str(pretty=True).encode() + b"\n")
