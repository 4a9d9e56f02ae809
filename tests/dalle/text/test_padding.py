"""Padding tokens: made and recognised by the same rule, in numpy and in torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.text.padding import is_text, padded, padding_tokens, vocab_size_with_padding
from tests.conftest import ROOT


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """A text's tokens, the size of its vocabulary and how many positions there are."""
    vocab_size, length = draw(st.integers(1, 20_000)), draw(st.integers(1, 300))
    return draw(st.lists(st.integers(0, vocab_size - 1), max_size=length)), vocab_size, length


@given(texts())
def test_a_padded_text_says_what_is_text(text: tuple[list[int], int, int]) -> None:
    """Its tokens come back, each position after it has its own padding token, and all tokens can be embedded."""
    tokens, vocab_size, length = text
    sequence = padded(tokens, vocab_size, length)
    assert (np.int64, (length,)) == (sequence.dtype, sequence.shape)
    assert tokens == sequence[is_text(sequence, vocab_size)].tolist()
    assert np.array_equal(padding_tokens(vocab_size, length)[len(tokens) :], sequence[len(tokens) :])
    assert sequence.max() < vocab_size_with_padding(vocab_size, length)
    again = torch.from_numpy(sequence)
    assert np.array_equal(is_text(sequence, vocab_size), is_text(again, vocab_size).numpy())


@given(st.integers(1, 20_000), st.integers(1, 300))
def test_each_position_has_a_padding_token_of_its_own(vocab_size: int, length: int) -> None:
    """That no text holds; with the vocabulary they are all the tokens there are."""
    tokens = padding_tokens(vocab_size, length)
    assert list(range(vocab_size, vocab_size_with_padding(vocab_size, length))) == tokens.tolist()
    assert not is_text(tokens, vocab_size).any()


def test_what_is_no_text_is_refused() -> None:
    """More tokens than positions, or a token that the vocabulary does not have."""
    with pytest.raises(ValueError, match="has 5 tokens, expected at most 4; cut it to the first 4"):
        padded([1] * 5, vocab_size=9, length=4)
    for token in (-1, 9):
        with pytest.raises(ValueError, match=f"holds token {token}, expected 0 to 8"):
            padded([1, token], vocab_size=9, length=4)


def test_it_is_light() -> None:
    """Importing it does not load torch."""
    code = "import sys, dalle.text.padding; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "False" == run.stdout.strip()
