"""Captions of a command, of files, and of any text at all: taken, or refused in a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.drawing.captions import captions_of, tokens_of
from tests.dalle.drawing.models import WORDS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"a cat\n\na dog\n", "line 2 is empty; say what is to be drawn, or leave it out"),
        ("a.txt", b"\n \n", "no caption is given"),
        ("a.txt", "café".encode("latin-1"), "byte 3 is not UTF-8; expected a caption in each line"),
        ("a.jsonl", b'{"caption": "x"}\n{"caption": 3}', "line 2: expected an object with a caption that is text"),
        ("a.jsonl", b'{"caption": "x"', "line 1 is not JSON ("),
        ("a.jsonl", b'{"caption": "x \\ud800"}', "line 1 is no text: bytes or escapes in it are no characters"),
    ],
)
def test_files_of_captions_that_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """In a sentence that names the line."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        captions_of([], str(tmp_path / name))


@given(st.text(max_size=60))
def test_any_caption_is_drawn_or_refused(words: str) -> None:
    """In one sentence: what is seen of it is text, and every text has tokens or is refused."""
    try:
        (caption,) = captions_of([words], None)
        tokens = tokens_of([caption], WORDS, 16)
    except ValueError as error:
        assert re.search("; say what is to be drawn|; give it in UTF-8|; shorten it", str(error))
    else:
        assert (1, 16) == tokens.shape
        assert words.strip()
