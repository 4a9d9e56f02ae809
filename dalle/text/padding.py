"""The padding token of each position: how a text of fewer than 256 tokens fills up all positions.

The paper learns a padding token of its own for every position (Ramesh et al. 2021, §2.2). They come after the
vocabulary: position i after a text's end holds `vocab_size + i`. So a token says by itself whether it is text.

    >>> padded([65, 1209, 14], vocab_size=16_384, length=6)
    array([   65,  1209,    14, 16387, 16388, 16389])
    >>> is_text(padded([65, 1209, 14], vocab_size=16_384, length=6), vocab_size=16_384)
    array([ True,  True,  True, False, False, False])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from schemas.examples import TEXT_LENGTH

if TYPE_CHECKING:
    from torch import Tensor

    Tokens = TypeVar("Tokens", np.ndarray, Tensor)


def padding_tokens(vocab_size: int, length: int = TEXT_LENGTH) -> np.ndarray:
    """[length] int64: the padding token of each position."""
    return vocab_size + np.arange(length, dtype=np.int64)


def vocab_size_with_padding(vocab_size: int, length: int = TEXT_LENGTH) -> int:
    """How many different tokens a padded text can hold: those of the vocabulary and one for each position."""
    return vocab_size + length


def padded(tokens: Sequence[int] | np.ndarray, vocab_size: int, length: int = TEXT_LENGTH) -> np.ndarray:
    """[length] int64: a text's tokens, then the padding tokens of the positions after it.

    Raises:
        ValueError: if there are more tokens than positions, or a token that is not of the vocabulary.
    """
    if len(tokens) > length:
        raise ValueError(f"the text has {len(tokens)} tokens, expected at most {length}; cut it to the first {length}")
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"the text holds token {token}, expected 0 to {vocab_size - 1}")
    sequence = padding_tokens(vocab_size, length)
    sequence[: len(tokens)] = tokens
    return sequence


def is_text(tokens: Tokens, vocab_size: int) -> Tokens:
    """Booleans in the shape of `tokens`, an array or a torch tensor: true where it is text, false where padding."""
    return tokens < vocab_size
