"""Pairs with their captions: whatever the order, the shards and what is left out, each pair stays what it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dalle.contrastive.pairs import as_judged
from dalle.pictures.squares import drawn_square
from dalle.reading.batches import Batches
from dalle.reading.captioned_pairs import CaptionedPairs
from dalle.reading.holding_out import hold_out
from dalle.text import tokenizer
from dalle.text.ended import EndedCaptions
from dalle.training.ranks import Ranks
from schemas.pairs import LEDGER
from tests.examples import write_scenes

ALONE = Ranks(rank=0, count=1, device=torch.device("cpu"))
WORDS = EndedCaptions(tokenizer.load(), 20)
DRAWN = partial(drawn_square, side=16, least_area=0.5)


def read(pairs: CaptionedPairs, **more: Any) -> dict[bytes, bytes]:
    """The first epoch: what was drawn of each picture, by its tokens and pixels as they are judged."""
    plain = pairs.seen_through(partial(as_judged, side=16))
    sides = [list(Batches(each, batch_size=1, seed=3, window=20, **more)) for each in (plain, pairs)]
    return {
        one["images"].numpy().tobytes() + one["text_tokens"].numpy().tobytes(): two["images"].numpy().tobytes()
        for one, two in zip(*sides, strict=True)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_scenes(tmp_path_factory.mktemp("pairs") / "clean", (23, 0, 40, 30), side=24)


def test_each_side_of_a_split_is_as_in_the_whole(folder: str) -> None:
    """The same views, captions and draws; every pair on one side; the same ones held out from other shards."""
    pairs = CaptionedPairs(folder, DRAWN, WORDS)
    parts = hold_out(pairs, 0.1, ALONE, least=20)
    assert parts.validation is not None
    assert (20, 73) == (parts.held_out, sum(parts.training.counts))
    whole, training, validation = read(pairs), read(parts.training), read(parts.validation)
    assert 93 == len(whole)
    assert whole == training | validation
    assert not training.keys() & validation.keys()
    assert 3 == len({pairs.fingerprint, parts.training.fingerprint, parts.validation.fingerprint})
    halves = parts.training.only([np.arange(0, count, 2) for count in parts.training.counts])
    assert read(halves).items() <= training.items()
    assert sum(halves.counts) == len(read(halves))


def test_the_same_pairs_are_held_out_of_other_shards(folder: str, tmp_path: Path) -> None:
    """Whatever the size of the shards."""
    sets = []
    for each in (folder, write_scenes(tmp_path / "other", (50, 43), side=24)):
        held = hold_out(CaptionedPairs(each, DRAWN, WORDS), 0.1, ALONE, least=20).validation
        assert held is not None
        images = held.seen_through(partial(as_judged, side=16))
        sets.append({batch["images"].numpy().tobytes() for batch in Batches(images, batch_size=1)})
    assert sets[0] == sets[1]


def test_captions_are_drawn_anew_each_epoch(folder: str) -> None:
    """Both of a pair come in time."""
    batches = Batches(CaptionedPairs(folder, DRAWN, WORDS), batch_size=93, seed=0)
    first, second = ({tuple(row) for batch in batches for row in batch["text_tokens"].tolist()} for _ in range(2))
    assert len(first & second) > 20
    assert len(first - second) > 20


def test_pairs_without_a_caption_are_left_out(tmp_path: Path) -> None:
    """Of none, of an empty one, of spaces; a caption in `text` alone is one."""
    folder = tmp_path / "clean"
    write_scenes(folder, (6, 3), side=24)
    table = pq.read_table(folder / "00000.parquet")
    captions = [None, [], [""], ["  "], ["a dog", ""], None]
    texts = [None, "", None, " ", None, "a cat"]
    for name, values in (("captions", captions), ("text", texts)):
        index = LEDGER.get_field_index(name)
        table = table.set_column(index, LEDGER.field(index), pa.array(values, LEDGER.field(index).type))
    pq.write_table(table, folder / "00000.parquet")
    pairs = CaptionedPairs(str(folder), DRAWN, WORDS).with_a_caption(ALONE)
    assert [2, 3] == list(pairs.counts)
    tokens = {tuple(batch["text_tokens"][0].tolist()) for batch in Batches(pairs, batch_size=1)}
    assert {tuple(row) for row in WORDS(["a dog", "a cat"]).tolist()} < tokens
    whole = CaptionedPairs(write_scenes(tmp_path / "whole", (4,), side=24), DRAWN, WORDS)
    assert whole is whole.with_a_caption(ALONE)
