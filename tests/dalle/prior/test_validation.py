"""What is held out of a training: a law over all ways in which the same pairs can lie in shards."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.prior.validation import split
from dalle.reading.batches import Batches
from dalle.reading.example_shards import ExampleShards
from dalle.reading.holding_out import LEAST, MOST, Split
from dalle.reading.identities import Identities
from dalle.reading.ragged import Lists
from dalle.text.padding import is_text
from dalle.training.ranks import Ranks
from tests.examples import CODES, WORDS, example_rows, with_codes, write_dataset

ALONE = Ranks(rank=0, count=1, device=torch.device("cpu"))


class Uids:
    """Shards of which only the uids matter."""

    def __init__(self, shards: list[list[int]], read: tuple[tuple[int, ...], ...] | None = None) -> None:
        self.shards = shards
        self.counts = [len(some) for some in (read if read is not None else shards)]
        self.read = read

    def identities(self, shard: int) -> Identities:
        digests = b"".join(hashlib.blake2b(b"%d" % uid, digest_size=8).digest() for uid in self.shards[shard])
        crops = np.array(self.shards[shard], np.uint64) % 50
        return Identities(np.frombuffer(digests, "<u8"), Lists(crops, np.arange(len(crops) + 1)))

    def without_dropout(self) -> Uids:
        return self

    def only(self, rows: list[np.ndarray]) -> Uids:
        chosen = tuple(
            tuple(shard[row] for row in some.tolist()) for shard, some in zip(self.shards, rows, strict=True)
        )
        return Uids(self.shards, chosen)

    def all(self) -> list[int]:
        return sorted(uid for some in self.read or () for uid in some)


def split_of(shards: Uids, share: float) -> Split:
    return split(cast(ExampleShards, shards), share, ALONE)


def cut(uids: list[int], ends: list[int]) -> list[list[int]]:
    bounds = [0, *sorted(end % (len(uids) + 1) for end in ends), len(uids)]
    return [uids[first:end] for first, end in itertools.pairwise(bounds)]


@given(
    st.lists(st.integers(0, 900), max_size=600),
    st.floats(0.001, 1),
    st.lists(st.integers(0, 600), max_size=4),
    st.randoms(),
)
def test_the_same_pairs_are_held_out_in_any_order(uids: list[int], share: float, ends: list[int], chance) -> None:
    """Whatever the shards: at least 64 if there are enough, at most a quarter, and never one uid on both sides."""
    one = split_of(Uids(cut(uids, ends)), share)
    again = uids.copy()
    chance.shuffle(again)
    other = split_of(Uids(cut(again, ends[1:])), share)
    ours, theirs, rest = (cast(Any, part) for part in (one.validation, other.validation, one.training))
    assert (ours is None) == (theirs is None)
    if ours is None:
        most = max((uids.count(uid) for uid in set(uids)), default=0)
        assert len(uids) < MOST or most > 1 or share * len(uids) < 30
        return
    assert ours.all() == theirs.all()
    assert sorted([*ours.all(), *rest.all()]) == sorted(uids)
    assert not set(ours.all()) & set(rest.all())
    assert 1 <= one.held_out <= len(uids) // MOST
    assert one.equal_pictures == sum(uid % 50 in {held % 50 for held in ours.all()} for uid in rest.all())
    if len(set(uids)) == len(uids) >= MOST * LEAST:
        assert one.held_out >= LEAST


def test_more_pairs_hold_out_the_same_ones() -> None:
    """With the paper's share of a set that is large enough, what is held out stays so when others are collected too."""
    few, many = (cast(Any, split_of(Uids([list(range(n))]), 0.0024).validation) for n in (60_000, 90_000))
    assert {uid for uid in many.all() if uid < 60_000} == set(few.all())
    assert 100 < len(few.all()) < 190


@pytest.mark.parametrize("files", ["parquet", "tar"])
def test_batches_of_either_side(tmp_path: Path, files: str) -> None:
    """Every example of a dataset is on one side, with the captions, codes and draws that it has in the whole."""
    shards = ExampleShards(write_dataset(tmp_path / "examples", (90, 0, 70, 130)), files=files)
    parts = split(shards, 0.01, ALONE)
    assert LEAST == parts.held_out
    whole, sides = {}, []
    for part in (shards, parts.training, parts.validation):
        side = {}
        for batch in Batches(part, batch_size=1, seed=5, window=40):
            side[tuple(batch["image_codes"][0, :2].tolist())] = batch
        sides.append(side)
    whole, training, validation = sides
    assert not training.keys() & validation.keys()
    assert whole.keys() == training.keys() | validation.keys()
    for side in (training, validation):
        for name, batch in side.items():
            assert all(torch.equal(batch[key], whole[name][key]) for key in batch)
    assert 3 == len({shards.fingerprint, parts.training.fingerprint, parts.validation.fingerprint})


def rows_of(shards: ExampleShards | None) -> list[int]:
    """Rows of examples, as their captions tell them."""
    assert shards is not None
    texts = (batch["text_tokens"][0] for batch in Batches(shards, batch_size=1))
    captions = (WORDS.decode(text[is_text(text, WORDS.vocab_size)].tolist()) for text in texts)
    return [int(caption.split()[1]) for caption in captions]


@pytest.mark.parametrize("crops", [1, 2])
def test_equal_pictures_are_counted(crops: int, tmp_path: Path) -> None:
    """Pictures that are there again under other captions; of several crops one is enough, be it another in each."""
    codes = [[[row % 150, 0, 2] + [7] * (CODES - 3)] for row in range(300)]
    for row in range(300 * (crops - 1)):  # beside the common crop one of its own, before it or after it
        codes[row].insert(row // 150, [row, 1, 2, *codes[row][0][3:]])
    folder = write_dataset(tmp_path / "examples", (300,), rows=lambda *of: with_codes(example_rows(*of), codes))
    parts = split(ExampleShards(folder), 0.001, ALONE)
    held = {row % 150 for row in rows_of(parts.validation)}
    expected = sum(row % 150 in held for row in rows_of(parts.training))
    assert expected == parts.equal_pictures > 30
