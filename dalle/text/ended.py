"""Captions for a text tower that looks at the token which ends a text: tokens, the end, zeros.

The end is the largest number there is, one above the vocabulary, so that a tower finds it as open_clip's do (`argmax`).
The tower is causal: nothing of what stands after the end reaches it.

    >>> from dalle.text import tokenizer
    >>> words = EndedCaptions(tokenizer.load(), length=6)
    >>> words(["a red boat", "a", ""])
    array([[   64,   530,   751, 16384,     0,     0],
           [   64, 16384,     0,     0,     0,     0],
           [16384,     0,     0,     0,     0,     0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalle.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class EndedCaptions:
    """How captions become tokens of one length; longer ones are cut."""

    tokenizer: Tokenizer
    length: int
    """Positions, the end's among them, 2 or more."""

    @property
    def vocab_size(self) -> int:
        """Different tokens, the end among them."""
        return self.tokenizer.vocab_size + 1

    def __call__(self, captions: Sequence[str]) -> np.ndarray:
        """[captions, length] int64."""
        tokens = np.zeros((len(captions), self.length), np.int64)
        for row, found in zip(tokens, self.tokenizer.encode_captions(captions)[0], strict=True):
            kept = found[: self.length - 1]
            row[: len(kept)] = kept
            row[len(kept)] = self.tokenizer.vocab_size
        return tokens
