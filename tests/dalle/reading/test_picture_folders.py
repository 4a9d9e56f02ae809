"""Pictures of folders: each file once an epoch, shared out, resumed and refused as every dataset is."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.pictures.folders import picture_files
from dalle.reading.batches import Batches
from dalle.reading.endless import Endless
from dalle.reading.epoch_order import Piece
from dalle.reading.picture_folders import DRAWN_ALONE, PictureFolders
from tests.dalle.reading.test_batches import merged, same

COLOURS = 20
SIDE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of one grey each, 10 apart, in three subfolders that are sorted by it, and what is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for colour in range(COLOURS):
        path = folder / f"class {colour // 8}" / f"{colour:02d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((9 + colour, 12, 3), 10 * colour, np.uint8))
    (folder / "labels.txt").write_text("none")
    (folder / "holiday.jpg").mkdir()
    return folder


def shown(images: torch.Tensor) -> list[int]:
    """Which of the pictures each is; -1 is a drawn one."""
    flat = images.flatten(1)
    plain = (flat == flat[:, :1]).all(1)
    return [int(each[0]) // 10 if one else -1 for each, one in zip(flat, plain, strict=True)]


def images_of(batches: Batches) -> list[int]:
    return [picture for batch in batches for picture in shown(batch["images"])]


@given(st.integers(1, 20), st.integers(0, 9), st.integers(1, 50))
def test_every_file_once_an_epoch(folder: Path, batch_size: int, seed: int, window: int) -> None:
    """Less than a batch is left over, and no epoch's order is another's."""
    batches = Batches(PictureFolders([folder], resolution=SIDE), batch_size=batch_size, seed=seed, window=window)
    epochs = [images_of(batches) for _ in range(2)]
    for epoch in epochs:
        assert COLOURS - COLOURS % batch_size == len(epoch) == len(set(epoch))
        assert set(epoch) <= set(range(COLOURS))
    assert epochs[0] != epochs[1]


def test_an_order_knows_no_folders(folder: Path) -> None:
    """The files of the first subfolder stand anywhere in an epoch, even with a window of one picture."""
    batches = Batches(PictureFolders([folder], resolution=SIDE), batch_size=1, window=1)
    positions = [epoch.index(picture) for epoch in (images_of(batches) for _ in range(60)) for picture in range(8)]
    counts = np.bincount(positions, minlength=COLOURS)
    assert 480 == counts.sum()
    assert 8 < counts.min() < counts.max() < 45  # 24 each; a binomial's deviation is 4.8


def test_drawn_pictures_are_a_share_and_other_ones_each_epoch(folder: Path) -> None:
    """N s / (1 - s) of them stand among the files; the same seed draws the same."""
    shards = PictureFolders([folder], resolution=SIDE, drawn_share=0.6)
    batches = Batches(shards, batch_size=10, seed=4)
    epochs = [torch.cat([batch["images"] for batch in batches]) for _ in range(2)]
    assert [50, 50] == [len(epoch) for epoch in epochs]
    for epoch in epochs:
        assert [-1] * 30 + list(range(COLOURS)) == sorted(shown(epoch))
    drawn = [{picture.numpy().tobytes() for picture in epoch if shown(picture[None]) == [-1]} for epoch in epochs]
    assert [30, 30, 60] == [len(drawn[0]), len(drawn[1]), len(drawn[0] | drawn[1])]
    again = torch.cat([batch["images"] for batch in Batches(shards, batch_size=10, seed=4)])
    assert torch.equal(epochs[0], again)


def test_all_drawn_needs_no_folder() -> None:
    """An epoch has a fixed number of them."""
    batches = Batches(PictureFolders([], resolution=SIDE, drawn_share=1), batch_size=4)
    assert DRAWN_ALONE == 4 * len(batches)
    batch = next(iter(batches))["images"]
    assert (torch.uint8, (4, 3, SIDE, SIDE)) == (batch.dtype, tuple(batch.shape))
    with pytest.raises(ValueError, match="4096 drawn pictures are an epoch, expected at least the 5000 of one batch"):
        Batches(PictureFolders([], resolution=SIDE, drawn_share=1), batch_size=5000)


@pytest.mark.slow
@given(
    st.sampled_from([1, 2, 3, 6]),
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, 2, 3, 6])), max_size=3),
)
def test_ranks_and_interruptions_change_nothing(
    folder: Path, ranks: int, window: int, stops: list[tuple[int, int]]
) -> None:
    """Ten batches over three epochs are the same from any ranks, interrupted and resumed with others."""
    shards = PictureFolders([folder], resolution=SIDE, drawn_share=0.2)

    def reading(rank: int = 0, ranks: int = 1) -> Endless:
        return Endless(Batches(shards, batch_size=6, seed=5, window=window, rank=rank, ranks=ranks))

    expected = list(itertools.islice(reading(), 10))
    state, seen = reading().state_dict(), []
    for count, ranks_now in [*stops, (10, ranks)]:
        shares = []
        for rank in range(ranks_now):
            share = reading(rank, ranks_now)
            share.load_state_dict(state)
            taken = list(itertools.islice(share, min(count, len(expected) - len(seen))))
            shares.append((share.state_dict(), taken))
        state = shares[0][0]
        assert all(each == state for each, _ in shares)
        seen += merged([taken for _, taken in shares])
    assert same(expected, seen)


@pytest.mark.slow
def test_endless_is_epoch_after_epoch(folder: Path) -> None:
    """The same batches as an epoch for each `for`, with and without processes that read ahead; its epoch is known."""
    shards = PictureFolders([folder], resolution=SIDE)
    alone = Batches(shards, batch_size=6, seed=1)
    expected = [*alone, *alone, *alone]
    before = torch.get_rng_state()
    for workers in (0, 2):
        batches = Endless(Batches(shards, batch_size=6, seed=1, workers=workers))
        seen, epochs = [], []
        for batch in itertools.islice(batches, 9):
            seen.append(batch)
            epochs.append(batches.epoch)
        assert same(expected, seen)
        assert [0, 0, 0, 1, 1, 1, 2, 2, 2] == epochs
        assert {"epoch": 2, "consumed": 18}.items() <= batches.state_dict().items()
    assert torch.equal(before, torch.get_rng_state())  # reading takes nothing from the training's own generator


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_state_of_something_else_is_refused(folder: Path, copy: Path) -> None:
    """Another seed, another share, files that came, went or were renamed; a folder may move, and its order stays."""
    state = Batches(PictureFolders([folder], resolution=SIDE), batch_size=6, seed=1).state_dict()
    moved = Batches(PictureFolders([copy], resolution=SIDE), batch_size=6, seed=1)
    moved.load_state_dict(state)
    with pytest.raises(ValueError, match="the state is of a reading with seed 1, expected 2"):
        Batches(PictureFolders([copy], resolution=SIDE), batch_size=6, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="the state has no epoch and no consumed"):
        moved.load_state_dict({"batches": 3, "pictures": "as FolderBatches left it"})
    (copy / "class 0/00.png").rename(copy / "class 0/0.png")
    for folders, drawn_share in (([copy], 0.0), ([folder], 0.5), ([folder, folder], 0.0)):
        other = Batches(PictureFolders(folders, resolution=SIDE, drawn_share=drawn_share), batch_size=6, seed=1)
        with pytest.raises(ValueError, match="the state is of a reading with data"):
            other.load_state_dict(state)


class Counted(PictureFolders):
    """Counts how often an order is made, which asks for the counts, and how many pictures are loaded."""

    orders = loaded = 0

    @property
    def counts(self) -> Sequence[int]:
        self.orders += 1
        return super().counts

    def load(self, pieces: Sequence[Piece]) -> np.ndarray:
        self.loaded += len(pieces)
        return super().load(pieces)


def test_a_picture_costs_the_same_among_many(folder: Path) -> None:
    """With 200,000 files the order is made once an epoch, and only the window that is read is looked at."""
    shards = Counted([folder] * 10_000, resolution=SIDE)
    batches = Batches(shards, batch_size=4, window=64)
    assert (50_000, 1) == (len(batches), shards.orders)
    assert 128 == sum(len(batch["images"]) for batch in itertools.islice(batches, 32))
    assert (2, 128) == (shards.orders, shards.loaded)
    batches.load_state_dict(batches.state_dict() | {"consumed": 199_992})
    assert 4 == len(next(iter(batches))["images"])
    assert (3, 192) == (shards.orders, shards.loaded)


def test_an_epoch_has_one_order(folder: Path) -> None:
    """Three epochs, three orders, beside the one look at the counts in the beginning; a window is loaded once."""
    shards = Counted([folder], resolution=SIDE)
    list(itertools.islice(Endless(Batches(shards, batch_size=4, window=7)), 15))
    assert (4, 60) == (shards.orders, shards.loaded)


def breakages() -> Iterator[tuple[str, object, str]]:
    """How a picture can turn out not to be one, after the folder was listed."""
    yield (
        "cut short",
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        r"cannot be decoded as a picture \(.*take it",
    )
    yield "a text", lambda path: path.write_text("no picture"), r"cannot be decoded as a picture \(.*take it out"
    yield "gone", lambda path: path.unlink(), r"cannot be read \(No such file.*give it back"
    yield "a folder", lambda path: (path.unlink(), path.mkdir()), r"is no plain file; take it out"
    yield "a loop", lambda path: (path.unlink(), path.symlink_to(path)), r"cannot be read \(Too many levels"


@pytest.mark.parametrize(
    ("name", "spoil", "expected"), list(breakages()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_picture_that_cannot_be_read_is_named(copy: Path, name: str, spoil, expected: str) -> None:
    """In one sentence that says what to do; nothing is put in its stead."""
    shards = PictureFolders([copy], resolution=SIDE)
    spoil(copy / "class 1/11.png")
    with pytest.raises(ValueError, match=r"copy/class 1/11\.png: " + expected):
        list(Batches(shards, batch_size=4))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read_is_named(copy: Path) -> None:
    shards = PictureFolders([copy], resolution=SIDE)
    (copy / "class 1/11.png").chmod(0)
    with pytest.raises(ValueError, match=r"11\.png: cannot be read \(Permission denied\)"):
        list(Batches(shards, batch_size=4))


def test_a_process_that_reads_ahead_says_the_same(copy: Path) -> None:
    """One sentence, not the traceback of another process, which is in the notes."""
    shards = PictureFolders([copy], resolution=SIDE)
    (copy / "class 1/11.png").write_text("no picture")
    with pytest.raises(ValueError) as caught:
        list(Batches(shards, batch_size=4, workers=1))
    assert str(caught.value).startswith(f"{copy}/class 1/11.png: cannot be decoded as a picture (")
    assert "\n" not in str(caught.value)
    assert "Traceback" in caught.value.__notes__[0]


def test_too_little_is_refused(folder: Path, tmp_path: Path) -> None:
    """Before anything is read, in one sentence."""
    with pytest.raises(
        ValueError, match=f"20 pictures in {folder}, expected at least the 64 of one batch; add folders"
    ):
        Batches(PictureFolders([folder], resolution=SIDE), batch_size=64)
    with pytest.raises(ValueError, match=f"20 pictures in {folder} and 20 drawn ones, expected at least the 64 of"):
        Batches(PictureFolders([folder], resolution=SIDE, drawn_share=0.5), batch_size=64)
    with pytest.raises(ValueError, match=r"nowhere: cannot be listed \(No such file or directory\); expected a folder"):
        PictureFolders([folder, tmp_path / "nowhere"], resolution=SIDE)
    with pytest.raises(ValueError, match=r"labels\.txt: cannot be listed \(Not a directory\); expected a folder"):
        picture_files(folder / "labels.txt")
    with pytest.raises(ValueError, match=r": has no pictures, expected files that end in \.avif, .*leave it out"):
        PictureFolders([tmp_path], resolution=SIDE)
    for folders, share in (([], 0.5), ([], 0.0), ([folder], 1.0)):
        with pytest.raises(ValueError, match="give folders of pictures, or a drawn share of 1 and no folders"):
            PictureFolders(folders, resolution=SIDE, drawn_share=share)
    with pytest.raises(ValueError, match=r"--drawn_share is 1\.5, expected 0 to 1"):
        PictureFolders([folder], resolution=SIDE, drawn_share=1.5)


def test_pictures_come_by_name(folder: Path, tmp_path: Path) -> None:
    """By the parts of their paths, as pathlib sorts them; a folder that is called like a picture is none."""
    assert sorted(folder.rglob("*.png")) == picture_files(folder)
    names = ["a/b.JPG", "a b/c.jpeg", "a-b/c.webp", "a/a b.tif", "b.gif", "\udcff.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(tmp_path / name for name in names) == picture_files(tmp_path)
    assert 64 == len(PictureFolders([tmp_path], resolution=SIDE).fingerprint)
