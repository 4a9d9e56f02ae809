"""The tokenizer: the library's own file, every string comes back, dropout is seeded and equal to the library at 0."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from dalle.text import tokenizer
from dalle.text.tokenizer import Tokenizer
from schemas.examples import TEXT_LENGTH, TEXT_VOCABULARY
from tests.conftest import ROOT

BUILTIN = tokenizer.load()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.lists(
    st.sampled_from(["a", "photograph", "Red", "boat's", "  ", "3 dogs", "日本", "\n"]), max_size=12
).map(" ".join)
SENTENCES = ["a red boat on the water", "a red ball", "two boats on the red water", "the ball is on the boat"] * 3


@given(TEXTS)
def test_every_lower_cased_string_comes_back(text: str) -> None:
    """With and without dropout, whatever is in it."""
    lower = BUILTIN.lower(text)
    assert lower == BUILTIN.decode(BUILTIN.encode(text))
    assert lower == BUILTIN.decode(BUILTIN.encode_with_dropout(text, 0.4, np.random.default_rng(0)))


@given(TEXTS)
def test_no_dropout_is_the_library(text: str) -> None:
    """Our merge loop at 0 gives the library's tokens; at 1 it gives bytes."""
    assert BUILTIN.encode(text) == BUILTIN.encode_with_dropout(text, 0, np.random.default_rng(0))
    assert len(BUILTIN.lower(text).encode()) == len(BUILTIN.encode_with_dropout(text, 1, np.random.default_rng(0)))


def test_dropout_is_seeded() -> None:
    """The same generator, the same tokens; other ones give others; more tokens than without."""
    text = "an elephant standing beside a photographer in the shallow water"
    ways = [BUILTIN.encode_with_dropout(text, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    assert ways[0] == ways[1]
    assert len({tuple(way) for way in ways}) == 3
    assert len(BUILTIN.encode(text)) < np.mean([len(way) for way in ways])


def test_long_captions_are_cut_and_counted() -> None:
    """At 256 tokens; none is an error."""
    tokens, cut = BUILTIN.encode_captions(["boat " * 400, "a boat", "", "?" * 3])
    assert 1 == cut
    assert [TEXT_LENGTH, 2, 0] == [len(each) for each in tokens[:3]]
    assert tokens[1] == BUILTIN.encode("A Boat")


def test_the_same_captions_give_the_same_bytes() -> None:
    """In any order and in another process; fewer merges than asked for make a smaller vocabulary."""
    learnt = tokenizer.train(SENTENCES, 300)
    assert learnt.content == tokenizer.train(reversed(SENTENCES), 300).content
    code = f"from dalle.text import tokenizer; import hashlib; print(hashlib.sha256(tokenizer.train({SENTENCES!r}, 300).content).hexdigest())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert hashlib.sha256(learnt.content).hexdigest() == run.stdout.strip()
    assert 300 >= tokenizer.train(SENTENCES).vocab_size > 256


def test_the_file_is_the_librarys() -> None:
    """`tokenizers` reads it and gives the same tokens, lower-casing included."""
    theirs = tokenizers.Tokenizer.from_file(str(tokenizer.BUILTIN))
    assert theirs.encode("A Red BOAT, 1970").ids == BUILTIN.encode("A Red BOAT, 1970")
    assert TEXT_VOCABULARY == BUILTIN.vocab_size
    assert BUILTIN.fingerprint in (tokenizer.BUILTIN.parent / "vocabulary.md").read_text()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"model": {"type": "BPE", "vocab": {}}}'])
def test_other_files_are_refused(content: bytes) -> None:
    """In one sentence that names the file."""
    with pytest.raises(ValueError, match=r"words\.json: not a vocabulary"):
        Tokenizer(content, "words.json")


def test_another_model_is_refused(tmp_path: Path) -> None:
    """Such as word pieces."""
    path = tmp_path / "words.json"
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")).save(str(path))
    with pytest.raises(ValueError, match="is a WordLevel of 1 entries, expected byte-level BPE"):
        tokenizer.load(path)
