"""The captions that pictures are drawn for: words of a command, lines of a file or of standard input.

A file of text has a caption in each line, `--captions_file -` reads them from standard input. A `.jsonl` has an object
in each line with `caption` and, if wanted, `id`, as `dalle.evaluate --captions` leaves it; the id comes back in
`samples.parquet`.

    >>> seed_of(0, "a red kite", 0) == seed_of(0, "a red kite", 0)
    True
    >>> len({seed_of(0, caption, sample) for caption in ("a red kite", "a blue kite") for sample in range(100)})
    200
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dalle.text.caption_file import caption_lines
from dalle.text.padding import padded
from dalle.text.tokenizer import Tokenizer
from schemas.commands.printing import one_line

_SHOWN = 60
_NOT_SEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")
"""Categories of characters of which nothing is seen: controls, formats, separators."""


@dataclass(frozen=True)
class Caption:
    """What one or more pictures are drawn for."""

    text: str
    id: str
    before: int = 0
    """How often the same text stands before it: its samples are others then."""


def seed_of(seed: int, caption: str, sample: int) -> int:
    """The seed of a sample, from 0 to below 2^63; it does not depend on which other captions there are.

    Args:
        seed: of all.
        caption: the text.
        sample: which of the caption's, from 0.
    """
    digest = hashlib.sha256(f"{seed}\n{sample}\n{caption}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def captions_of(words: Sequence[str], file: str | None) -> list[Caption]:
    """Those of the command and those of its file, in their order.

    Raises:
        ValueError: if there are none, one is empty or no text, or the file is not.
        OSError: if the file cannot be read.
    """
    pairs = [(word, "") for word in words]
    if file is not None:
        pairs += caption_lines(file)
    if not pairs:
        raise ValueError('no caption is given; put it in quotes: python -m dalle.generate "a red kite"')
    counts: Counter[str] = Counter()
    captions = []
    for number, (text, identity) in enumerate(pairs):
        if fault := _fault_of(text):
            where = "a caption" if number < len(words) else f"{file}: line {number - len(words) + 1}"
            raise ValueError(f"{where} {fault}")
        captions.append(Caption(text, identity or str(number), counts[text]))
        counts[text] += 1
    return captions


def _fault_of(text: str) -> str:
    """Why it cannot be drawn; nothing if it can."""
    if all(unicodedata.category(character) in _NOT_SEEN for character in text):
        return "is empty; say what is to be drawn, or leave it out"
    if any("\ud800" <= character <= "\udfff" for character in text):  # bytes of a command that are no text, or JSON's
        return "is no text: bytes or escapes in it are no characters; give it in UTF-8"
    return ""


def tokens_of(captions: Iterable[Caption], tokenizer: Tokenizer, length: int) -> np.ndarray:
    """[n, length] int64: text tokens of captions, padded.

    Raises:
        ValueError: if a caption has more tokens than the prior reads, or none.
    """
    rows = []
    for caption in captions:
        tokens = tokenizer.encode(caption.text)
        shown = one_line(caption.text[:_SHOWN]) + ("…" if len(caption.text) > _SHOWN else "")
        if len(tokens) > length:
            raise ValueError(f"the caption '{shown}' has {len(tokens):,} tokens, the prior reads {length}; shorten it")
        if not tokens:
            raise ValueError(f"the caption '{shown}' has no tokens of this vocabulary; say it in other words")
        rows.append(padded(tokens, tokenizer.vocab_size, length))
    return np.stack(rows)
