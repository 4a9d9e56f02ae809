"""The reader's laws: each example once, the same order for any number of ranks and workers, resumed exactly."""

from __future__ import annotations

import functools
import itertools
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from dalle.pictures.augment import dvae_view
from dalle.reading.batches import Batch, Batches, Reading
from dalle.reading.epoch_order import EpochOrder, draws
from dalle.reading.example_shards import ExampleShards
from dalle.reading.pair_shards import PairShards
from dalle.text.padding import is_text
from tests.examples import CODES, WORDS, example_rows, write_dataset, write_pictures

COUNTS = (9, 4, 0, 13, 1, 6)
TOTAL = sum(COUNTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_dataset(tmp_path_factory.mktemp("examples"), COUNTS)


@pytest.fixture(scope="module")
def shards(folder: str) -> ExampleShards:
    return ExampleShards(folder)


def who(batch: Batch) -> list[tuple[int, int]]:
    """Shard and row of each example, from its codes."""
    return [tuple(codes[:2].tolist()) for codes in batch["image_codes"]]  # type: ignore[misc]


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(torch.equal(a[k], b[k]) for a, b in zip(one, other, strict=True) for k in a)


def merged(ranks: list[list[Batch]]) -> list[Batch]:
    """The batches of all ranks together."""
    return [{k: torch.cat([part[k] for part in parts]) for k in parts[0]} for parts in zip(*ranks, strict=True)]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(1, 20), st.integers(0, 9), st.integers(0, 3))
def test_an_epoch_is_a_permutation(counts: list[int], window: int, seed: int, epoch: int) -> None:
    """Every example of every shard once, whatever the shards and the window; pieces and positions agree."""
    order = EpochOrder(counts, window, seed, epoch)
    seen = []
    for number, index in order.windows(0, order.total):
        rows = [(piece.shard, row) for piece in order.pieces(number) for row in range(piece.first, piece.end)]
        assert len(rows) == len(index)
        seen += [rows[i] for i in index]
    assert [(shard, row) for shard, n in enumerate(counts) for row in range(n)] == sorted(seen)


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 32), st.integers(1, 32))
def test_positions_do_not_depend_on_what_was_read_before(window: int, seed: int, first: int, size: int) -> None:
    """Any stretch of an epoch is what a reading of all of it has there."""
    order = EpochOrder(COUNTS, window, seed, 1)
    end = min(TOTAL, first + size)
    whole = [(n, i) for n, index in order.windows(0, TOTAL) for i in index.tolist()]
    assert whole[first:end] == [(n, i) for n, index in order.windows(first, end) for i in index.tolist()]


@pytest.mark.slow
@given(
    st.sampled_from([1, 2, 3, 4, 6]),
    st.integers(1, 4),
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([1, 2, 3, 4, 6, 12])), max_size=4),
)
def test_ranks_workers_and_interruptions_change_nothing(
    shards: ExampleShards, ranks: int, workers: int, window: int, stops: list[tuple[int, int]]
) -> None:
    """Two epochs in one go are two epochs with any ranks and workers, interrupted and resumed with others."""
    alone = Batches(shards, batch_size=12, seed=5, window=window)
    expected = [*alone, *alone]
    state, seen = Batches(shards, batch_size=12, seed=5, window=window).state_dict(), []
    for taken, ranks_now in [*stops, (99, ranks)]:
        if len(seen) == len(expected):
            break
        everyone = []
        for rank in range(ranks_now):
            mine = Batches(shards, batch_size=12, seed=5, window=window, rank=rank, ranks=ranks_now)
            mine.load_state_dict(state)
            everyone.append((mine, list(took(mine, min(taken, len(expected) - len(seen)), workers))))
        states = [mine.state_dict() for mine, _ in everyone]
        assert all(each == states[0] for each in states)
        state = states[0]
        seen += merged([batches for _, batches in everyone])
    assert same(expected, seen)


def took(batches: Batches, count: int, workers: int) -> Iterator[Batch]:
    """So many batches, read as `workers` processes read them between them, over the ends of epochs."""
    while count:
        _, seed, window = batches._order
        readings = [
            Reading(batches._shards, 12, seed, window, batches._epoch, batches._consumed, *batches._share)
            for _ in range(workers)
        ]
        turns = [reading.batches(worker, workers) for worker, reading in enumerate(readings)]
        ours = iter(batches)
        for turn in range(min(count, len(batches))):
            batch = next(turns[turn % workers])
            assert who(batch) == who(next(ours))
            yield batch
            count -= 1
        if not len(batches):
            assert None is next(ours, None)


@pytest.mark.slow
@given(st.integers(1, 5), st.integers(1, TOTAL), st.integers(0, TOTAL))
def test_workers_take_turns_over_the_ends_of_epochs(
    shards: ExampleShards, workers: int, batch_size: int, consumed: int
) -> None:
    """Read for ever, what each worker has in its turn is what one epoch after the other has."""
    batches = Batches(shards, batch_size=batch_size, seed=5)
    batches.load_state_dict(batches.state_dict() | {"consumed": consumed})
    expected = [batch for _ in range(4) for batch in batches][:12]
    reading = Reading(shards, batch_size, 5, 16_384, 0, consumed, 0, 1, endless=True)
    turns = itertools.cycle([reading.batches(worker, workers) for worker in range(workers)])
    assert same(expected, [next(worker) for worker, _ in zip(turns, expected, strict=False)])


def test_no_example_twice_and_the_rest_is_said(shards: ExampleShards, caplog: pytest.LogCaptureFixture) -> None:
    """33 examples in batches of 12: 24 in an epoch, 9 left over; other orders and other leftovers each epoch."""
    with caplog.at_level("INFO"):
        batches = Batches(shards, batch_size=12, window=10)
    assert "33 examples: 2 batches of 12, 9 left over" in caplog.text
    epochs = [[example for batch in batches for example in who(batch)] for _ in range(3)]
    assert [24] * 3 == [len(set(epoch)) for epoch in epochs] == [len(epoch) for epoch in epochs]
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.slow
def test_worker_processes_and_tars_give_the_same(folder: str, shards: ExampleShards) -> None:
    """Two real workers; the state counts what was taken, not what they read ahead; tars as Parquet."""
    expected = list(Batches(shards, batch_size=6, window=10))
    batches = Batches(ExampleShards(folder, files="tar"), batch_size=6, window=10, workers=2)
    seen = []
    for batch in batches:
        seen.append(batch)
        assert 6 * len(seen) == batches.state_dict()["consumed"]
    assert same(expected, seen)


def test_shards_on_an_object_store(shards: ExampleShards) -> None:
    """Read through fsspec, the same batches; a reader that has read is handed to workers without what it holds."""
    remote = ExampleShards(write_dataset("memory://reader/examples", COUNTS))
    small = len(pickle.dumps(remote))
    assert same(list(Batches(shards, batch_size=8)), list(Batches(remote, batch_size=8)))
    assert small == len(pickle.dumps(remote))


def test_text_is_padded_with_a_token_for_every_position(shards: ExampleShards) -> None:
    """What is there is one of the row's captions; one of several and one crop of several, others each epoch."""
    batches = Batches(shards, batch_size=33)
    seen = set()
    for _ in range(20):
        for batch in batches:
            assert (torch.int64, (33, 256)) == (batch["text_tokens"].dtype, tuple(batch["text_tokens"].shape))
            assert (torch.int64, (33, CODES)) == (batch["image_codes"].dtype, tuple(batch["image_codes"].shape))
            for tokens, (shard, row), codes in zip(batch["text_tokens"], who(batch), batch["image_codes"], strict=True):
                text = tokens[is_text(tokens, WORDS.vocab_size)]
                expected = WORDS.vocab_size + torch.arange(len(text), 256)
                assert torch.equal(expected, tokens[len(text) :])
                caption = WORDS.decode(text.tolist())
                assert caption in {f"row {row} of shard {shard}, caption {i}" for i in range(1 + row % 3)}
                seen.add((shard, row, caption[-1], int(codes[2])))
    assert 0.9 * sum(2 * (1 + row % 3) for n in COUNTS for row in range(n)) < len(seen)


def test_draws_are_uniform() -> None:
    """Over examples, epochs and purposes."""
    for varied in ([draws(0, 0, np.arange(30_000), 1)], [draws(0, epoch, np.arange(10), 1) for epoch in range(3000)]):
        counts = np.bincount((np.concatenate(varied) % 5).astype(int))
        assert np.abs(counts / 6000 - 1).max() < 0.05


def test_dropout_is_seeded_and_spells_the_same(folder: str, shards: ExampleShards) -> None:
    """Other tokens, the same captions; the same again with the same seed."""
    plain = next(iter(Batches(shards, batch_size=33)))
    dropped, again = (
        next(iter(Batches(ExampleShards(folder, dropout=0.5, tokenizer=WORDS), batch_size=33))) for _ in range(2)
    )
    assert same([dropped], [again])
    assert not torch.equal(plain["text_tokens"], dropped["text_tokens"])
    for one, other in zip(plain["text_tokens"], dropped["text_tokens"], strict=True):
        spelled = [WORDS.decode(tokens[is_text(tokens, WORDS.vocab_size)].tolist()) for tokens in (one, other)]
        assert spelled[0] == spelled[1]


def test_pictures_of_pairs(tmp_path: Path) -> None:
    """uint8 [B, 3, H, W], each once, the same with a view and without; too few in a shard is an error."""
    folder = write_pictures(tmp_path / "pairs", (5, 7))
    stored = list(Batches(PairShards(folder), batch_size=4, window=5))
    assert [(4, 3, 8, 8)] * 3 == [tuple(batch["images"].shape) for batch in stored]
    greys = sorted(int(g) for batch in stored for g in batch["images"][:, 0, 0, 0])
    assert sorted([*range(5), *range(10, 17)]) == greys
    view = functools.partial(dvae_view, resolution=8)
    seen = list(Batches(PairShards(folder, view=view), batch_size=4, window=5))
    assert same(stored, seen)  # a view of one grey is that grey
    (tmp_path / "pairs/00001.tar").write_bytes((tmp_path / "pairs/00000.tar").read_bytes())
    with pytest.raises(ValueError, match="has fewer pictures than the 7 that the manifest says"):
        list(Batches(PairShards(folder), batch_size=4, window=50))


@pytest.mark.parametrize(
    ("column", "row", "value", "expected"),
    [
        ("image_codes", 2, [[1] * 15], "row 2: image_codes has 15 values, expected 16"),
        ("image_codes", 3, [], "row 3: image_codes has no crop, expected one or more"),
        ("image_codes", 0, [[512] * 16], "row 0: image_codes holds 512, expected codes below 512"),
        ("image_codes", 1, None, "row 1: image_codes is missing"),
        ("image_codes", 1, [[1] * 16, None], "row 1: image_codes holds a list that is missing"),
        ("text_tokens", 3, [[1], [None]], "row 3: text_tokens holds a number that is missing"),
        ("text_tokens", 1, [[1], [1] * 257], "row 1: text_tokens has 257 values, expected at most 256"),
        ("text_tokens", 2, [[1, 16384]], "row 2: text_tokens holds 16384, expected tokens below 16384"),
        ("text_tokens", 2, [[1, -1]], "row 2: text_tokens holds -1, expected 0 to 65,535"),
    ],
)
def test_a_broken_row_is_an_error(tmp_path: Path, column: str, row: int, value: object, expected: str) -> None:
    """With shard and row; nothing is put in its place."""
    folder = write_dataset(tmp_path / "examples", (4,))
    rows = example_rows(0, 4).to_pylist()
    rows[row][column] = value
    kinds = {"image_codes": pa.list_(pa.list_(pa.int32())), "text_tokens": pa.list_(pa.list_(pa.int32()))}
    table = pa.table({name: pa.array([r[name] for r in rows], kind) for name, kind in kinds.items()})
    pq.write_table(table, tmp_path / "examples/00000.parquet")
    with pytest.raises(ValueError, match=r"00000\.parquet, " + re.escape(expected)):
        list(Batches(ExampleShards(folder), batch_size=2))


def test_what_is_not_for_this_model_is_refused(tmp_path: Path, folder: str) -> None:
    """Another vocabulary, another dVAE, data never deduplicated, other tables, missing rows: one sentence each."""
    with pytest.raises(ValueError, match=r"was made with the vocabulary .*, the model is for 0000"):
        ExampleShards(folder, vocabulary="0" * 64)
    with pytest.raises(ValueError, match=r"was made with the dvae dddddddddddd, the model is for 0000"):
        ExampleShards(folder, vocabulary=WORDS.fingerprint, dvae="0" * 64)
    raw = write_dataset(tmp_path / "raw", (4, 4), lineage=[{**{"job": "ingest", "manifest": "", "options": {}}}])
    with pytest.raises(ValueError, match="was never cleaned of near-duplicates"):
        ExampleShards(raw)
    assert 8 == sum(ExampleShards(raw, allow_undeduplicated=True).counts)
    pairs = write_pictures(tmp_path / "pairs", (5,), lineage=())
    with pytest.raises(ValueError, match="was never cleaned of near-duplicates"):
        PairShards(pairs)
    with pytest.raises(ValueError, match="holds pairs, expected examples; give the folder"):
        ExampleShards(pairs)
    with pytest.raises(ValueError, match="dropout needs the tokenizer of its vocabulary"):
        ExampleShards(folder, dropout=0.1)
    (tmp_path / "raw/00001.parquet").write_bytes((tmp_path / "raw/00000.parquet").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"00001\.parquet: not a whole Parquet file"):
        list(Batches(ExampleShards(raw, allow_undeduplicated=True), batch_size=8))


def test_bad_batches_and_states_are_refused(shards: ExampleShards, tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(ValueError, match="expected a batch that is shared out equally"):
        Batches(shards, batch_size=10, ranks=3)
    with pytest.raises(ValueError, match="has 33 examples, expected at least the 34 of one batch"):
        Batches(shards, batch_size=34)
    state = Batches(shards, batch_size=4, seed=1).state_dict()
    with pytest.raises(ValueError, match="the state is of a reading with seed 1, expected 2"):
        Batches(shards, batch_size=4, seed=2).load_state_dict(state)
    other = ExampleShards(write_dataset(tmp_path / "other", (9,)))
    with pytest.raises(ValueError, match="the state is of a reading with data"):
        Batches(other, batch_size=4, seed=1).load_state_dict(state)


@pytest.mark.parametrize("numbers", [{"batch_size": n} for n in ("4", None, 4.0, True, 0, -4, float("nan"))]
    + [{"ranks": 0}, {"ranks": None}, {"rank": 1}, {"rank": "0"}, {"window": 0}, {"window": 1e3}, {"seed": -1}, {"workers": "2"}],
    ids=str,
)  # fmt: skip
def test_numbers_that_are_none(shards: ExampleShards, numbers: dict[str, object]) -> None:
    """Each in one sentence that names it."""
    with pytest.raises(ValueError, match=f"{next(iter(numbers)).removesuffix('s')}.*expected a") as caught:
        Batches(shards, **{"batch_size": 4, **numbers})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


BAD = ("x", None, -1, 1.5, float("nan"), float("inf"), 10**30, True, [1], {})


@pytest.mark.parametrize(
    "change",
    [{name: value} for name in ("epoch", "consumed") for value in BAD]
    + [{name: value} for name in ("data", "seed", "window") for value in ("x", None, -1)]
    + [{"consumed": TOTAL + 1}],
    ids=str,
)  # fmt: skip
def test_states_that_nothing_saved(shards: ExampleShards, change: dict[str, object]) -> None:
    """One sentence each, and the reading is where it was."""
    batches = Batches(shards, batch_size=4)
    next(iter(batches))
    before = batches.state_dict()
    with pytest.raises(ValueError, match=f"(?=.*{next(iter(change))})(?=.*expected|.*begin anew)") as caught:
        batches.load_state_dict(before | change)
    assert "\n" not in str(caught.value)
    assert before == batches.state_dict()


def test_states_without_members(shards: ExampleShards) -> None:
    """The sentence says which; what is there beside them is left alone, and numbers may come from numpy or torch."""
    batches = Batches(shards, batch_size=4)
    state = batches.state_dict()
    for names in itertools.chain.from_iterable(itertools.combinations(state, n) for n in range(1, 6)):
        with pytest.raises(ValueError, match=f"the state has no {' and no '.join(names)}: "):
            batches.load_state_dict({name: value for name, value in state.items() if name not in names})
    for other in (None, [], "state", 3):
        with pytest.raises(TypeError, match="expected what state_dict"):
            batches.load_state_dict(other)  # type: ignore[arg-type]
    batches.load_state_dict(state | {"epoch": np.int64(2), "consumed": torch.tensor(8), "by": "us"})
    assert {"epoch": 2, "consumed": 8}.items() <= batches.state_dict().items()


def test_batches_as_other_things(shards: ExampleShards) -> None:
    """Around a `DataLoader` they say what to do, with and without its processes; copied they read on by themselves."""
    batches = Batches(shards, batch_size=4)
    for loader in (DataLoader(batches), DataLoader(batches, batch_size=None), DataLoader(batches, shuffle=True)):
        with pytest.raises(TypeError, match=r"read it by `for batch in batches`, without a DataLoader"):
            next(iter(loader))
    first, second = list(batches), list(batches)
    assert (TOTAL // 4, TOTAL // 4, 2) == (len(first), len(second), batches.epoch)
    assert not same(first, second)
    again = Batches(shards, batch_size=4)
    reading = iter(again)
    taken = [next(reading), next(reading)]
    other = pickle.loads(pickle.dumps(again))
    assert len(other) == len(again) == TOTAL // 4 - 2
    assert same(first, taken + list(other))
    assert same(first, taken + list(reading))
