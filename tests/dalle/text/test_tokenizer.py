"""The tokenizer: the library's own file, every string comes back, dropout is seeded and equal to the library at 0."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from dalle.shipped import FILES
from dalle.text import tokenizer
from dalle.text.tokenizer import Tokenizer
from schemas.examples import TEXT_LENGTH, TEXT_VOCABULARY
from tests.conftest import ROOT
from tests.tampering import tampered

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
    theirs = tokenizers.Tokenizer.from_file(str(FILES["builtin", "vocabulary"]))
    assert theirs.encode("A Red BOAT, 1970").ids == BUILTIN.encode("A Red BOAT, 1970")
    assert TEXT_VOCABULARY == BUILTIN.vocab_size
    assert BUILTIN.fingerprint in (ROOT / "dalle/weights/vocabulary.md").read_text()


HERE = "@here@"
PROBES = [
    "A red boat's 3 dogs\non the Lake",
    "ÉCOLE Ünder 日本",
    "  two  spaces <pad> x",
    "\u1e9e \u0130I",
    "a\u0301 é",
]
OTHERS: dict[str, list] = {
    "type": ["NFC", "NFKD", "Strip", "Whitespace", "Metaspace", "BPE"],
    "normalizer": [None, {"type": "NFKD"}, {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}],
    "pre_tokenizer": [None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}],
    "truncation": [{"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}],
    "padding": [{"strategy": {"Fixed": 40}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 5, "pad_type_id": 0, "pad_token": "x"}],
    "post_processor": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}],
    "decoder": [None, {"type": "WordPiece", "prefix": "##", "cleanup": True}],
    "added_tokens": [[{"id": 258, "content": "XXX", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": True}]],
    "unk_token": ["a"],
    "continuing_subword_prefix": ["b"],
    "end_of_word_suffix": ["b"],
    "dropout": [0.5, 1.0],
}  # fmt: skip
"""Values that fields of the file may have in place of their own."""


def fields_of(value: object, path: tuple = ()) -> list[tuple]:
    """Where each field of a JSON stands."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [each for name, part in inside for each in fields_of(part, (*path, name))]


def mutations(file: dict) -> list[tuple[tuple, dict]]:
    """The file with one field changed, for every field and some values; of entries and merges a few."""
    changed = []
    many = [path for path in fields_of(file) if path[:2] not in (("model", "vocab"), ("model", "merges"))]
    for path in [*many, ("model", "vocab"), ("model", "merges"), ("unknown",)]:
        parent = json.loads(json.dumps(file))
        at = parent
        for name in path[:-1]:
            at = at[name]
        own: Any = at.get(path[-1]) if isinstance(at, dict) else at[path[-1]]
        others = [not own] if isinstance(own, bool) else [*OTHERS.get(path[-1], ["other"])]
        if path[-1] == "vocab":
            names = sorted(own, key=own.get)
            others = [
                {**own, names[i]: own[names[j]], names[j]: own[names[i]]}
                for i, j in ((0, 1), (64, 97), (256, len(own) - 1))
            ]
        if path[-1] == "merges":
            others = [[*own[:i], own[i + 1], own[i], *own[i + 2 :]] for i in (0, 5)] + [own[:-1], own[1:], own[:5]]
        for other in others:
            at[path[-1]] = other
            changed.append((path, json.loads(json.dumps(parent))))
    return changed


def tokens_of(words: Tokenizer) -> list[list[int]]:
    dropped = []
    for text in PROBES:
        try:
            dropped.append(words.encode_with_dropout(text, 0.3, np.random.default_rng(0)))
        except KeyError:  # what is no byte-level vocabulary any more cannot take every text apart
            dropped.append([])
    return [words.encode(text) for text in PROBES] + dropped + words.encode_captions(PROBES)[0]


def test_whatever_changes_a_token_changes_the_fingerprint() -> None:
    """Each field of the file in turn: other tokens, another fingerprint; the same one, the same tokens."""
    file = json.loads(tokenizer.train([*SENTENCES, "XXX red", "boat's 3 dogs"], 300).content)
    own = Tokenizer(json.dumps(file).encode())
    told = set()
    for path, changed in mutations(file):
        try:
            words = Tokenizer(json.dumps(changed).encode())
        except ValueError:
            continue
        if tokens_of(words) != tokens_of(own):
            assert words.fingerprint != own.fingerprint, path
            told.add(path[0] if path[0] != "model" else path[1])
    assert {"normalizer", "pre_tokenizer", "vocab", "merges", "end_of_word_suffix"} <= told
    laid_out = Tokenizer(json.dumps(dict(reversed(file.items())), indent=7).encode())
    assert laid_out.fingerprint == own.fingerprint
    for name in ("truncation", "padding", "decoder", "post_processor"):
        for other in OTHERS[name]:
            assert own.fingerprint == Tokenizer(json.dumps({**file, name: other}).encode()).fingerprint


def test_what_a_file_cuts_fills_up_or_drops_does_not_count() -> None:
    """All tokens of a text, always the same ones, whatever the file says for other uses."""
    file = json.loads(tokenizer.train(SENTENCES, 300).content)
    own = Tokenizer(json.dumps(file).encode())
    file |= {"truncation": OTHERS["truncation"][0], "padding": OTHERS["padding"][0]}
    file["model"]["dropout"] = 0.9
    assert tokens_of(own) == tokens_of(Tokenizer(json.dumps(file).encode()))


def test_a_token_beside_the_entries_is_refused() -> None:
    """It would have the number of the padding of a position."""
    file = json.loads(tokenizer.train(SENTENCES, 300).content)
    size = len(file["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file["added_tokens"] = [{"id": size, "content": "<pad>", **flags}]
    with pytest.raises(ValueError, match=r"^words\.json: adds the token '<pad>' to its vocabulary"):
        Tokenizer(json.dumps(file).encode(), "words.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"model": {"type": "BPE", "vocab": {}}}'])
def test_other_files_are_refused(content: bytes) -> None:
    """In one sentence that names the file."""
    with pytest.raises(ValueError, match=r"words\.json: not a vocabulary"):
        Tokenizer(content, "words.json")


def test_any_other_value_is_refused_or_usable() -> None:
    """In whichever place of the file, entries and merges aside: no panic of the library, no stack trace."""
    file = json.loads(tokenizer.train(SENTENCES, 300).content)
    many = {name: file["model"].pop(name) for name in ("vocab", "merges")}
    nested = "[" * 990 + "]" * 990
    contents = [{**file, "model": many | file["model"]}, {**file, "added_tokens": HERE}, {**file, "model": HERE}]
    for _, changed in tampered(file):
        if isinstance(changed, dict) and isinstance(changed.get("model"), dict):
            changed["model"] = many | changed["model"]
        contents.append(changed)
    refused = 0
    for content in contents:
        try:
            words = Tokenizer(json.dumps(content).replace(f'"{HERE}"', nested).encode(), "words.json")
        except ValueError as error:
            refused += 1
            assert str(error).startswith("words.json: ")
            assert 1 == len(str(error).splitlines())
        else:
            words.encode_captions(PROBES)
            assert 64 == len(words.fingerprint)
    assert 0 < refused < len(contents)


def test_another_model_is_refused(tmp_path: Path) -> None:
    """Such as word pieces."""
    path = tmp_path / "words.json"
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")).save(str(path))
    with pytest.raises(ValueError, match="is a WordLevel of 1 entries, expected byte-level BPE"):
        tokenizer.load(path)
