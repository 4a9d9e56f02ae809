"""A second place for checkpoints: whole ones or none, of one training, from which a machine without any goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dalle.training import checkpoint, checkpoint_store
from dalle.training.checkpoint_store import CheckpointStore
from dalle.training.model_folder import ModelRecipe
from dalle.training.options import LoopOptions
from dalle.training.ranks import alone
from dalle.training.set_aside import CHECKPOINTS
from schemas.folder import RECIPE, Folder
from schemas.lock import FolderInUse

MADE = ModelRecipe(
    job="train_toy", network={"width": 4}, inputs=[{"name": "pairs", "sha256": "ab" * 32}], options={"seed": 0}
)


def store_of(tmp_path: Path, machine: str, place: str = "store") -> CheckpointStore:
    (tmp_path / machine).mkdir(exist_ok=True)
    (tmp_path / place).mkdir(exist_ok=True)
    return CheckpointStore(Folder(tmp_path / place), tmp_path / machine, alone())


def save(folder: Path, step: int) -> None:
    checkpoint.save(folder / CHECKPOINTS, step, {"step": step, "weights": torch.full((3,), float(step))})


def steps(folder: Path) -> list[int]:
    return [int(path.stem) for path in checkpoint.checkpoints(folder)]


def test_another_machine_goes_on_from_the_newest(tmp_path: Path) -> None:
    """As many are kept as in the output folder; what is fetched is the same, with whose it is."""
    one, other = store_of(tmp_path, "one"), store_of(tmp_path, "other")
    assert one.fetch(MADE, anew=True) == ""
    for step in range(2, 12, 2):
        save(tmp_path / "one", step)
        one.keep(MADE)
    assert steps(tmp_path / "one" / CHECKPOINTS) == steps(tmp_path / "store")
    assert other.fetch(MADE, anew=False).endswith("store/00000010.safetensors")
    assert [10] == steps(tmp_path / "other" / CHECKPOINTS)
    same = [(tmp_path / place / "00000010.safetensors").read_bytes() for place in ("store", f"other/{CHECKPOINTS}")]
    assert same[0] == same[1]
    assert (tmp_path / "store" / RECIPE).read_bytes() == (tmp_path / "other" / RECIPE).read_bytes()


def test_the_later_one_counts(tmp_path: Path) -> None:
    """A machine that has gone further keeps its own; one that has not takes the store's."""
    one, other = store_of(tmp_path, "one"), store_of(tmp_path, "other")
    save(tmp_path / "one", 5)
    one.keep(MADE)
    for step, fetched in ((4, True), (5, False), (6, False)):
        save(tmp_path / "other", step)
        assert bool(other.fetch(MADE, anew=False)) == fetched
    assert [4, 5, 6][-2:] == steps(tmp_path / "other" / CHECKPOINTS)[-2:]


@pytest.mark.parametrize(
    ("recipe", "anew", "message"),
    [
        (replace(MADE, job="train_other"), False, "store: holds checkpoints of train_toy; give another"),
        (
            replace(MADE, network={"width": 8}),
            False,
            "store: was begun with a network of width 4, .* began with, or another --checkpoint_store",
        ),
        (
            replace(MADE, inputs=[{"name": "pairs", "sha256": "cd" * 32}]),
            False,
            "store: was made from .*; use another --checkpoint_store",
        ),
        (MADE, True, "store: holds checkpoints, which --incremental_mode overwrite would mix with new ones"),
    ],
)
def test_a_store_is_one_trainings(tmp_path: Path, recipe: ModelRecipe, anew: bool, message: str) -> None:
    save(tmp_path / "one", 5)
    store_of(tmp_path, "one").keep(MADE)
    with pytest.raises(ValueError, match=message):
        store_of(tmp_path, "other").fetch(recipe, anew=anew)
    assert not any((tmp_path / "other").iterdir())


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """Checkpoints without what says whose they are; the output folder; a folder that another training holds."""
    save(tmp_path / "x", 5)
    with pytest.raises(ValueError, match=f"holds checkpoints but no {RECIPE}, so it is no store of a training"):
        store_of(tmp_path, "other", f"x/{CHECKPOINTS}").fetch(MADE, anew=False)
    for place in ("model", f"model/{CHECKPOINTS}"):
        options = LoopOptions(output_folder=tmp_path / "model", checkpoint_store=str(tmp_path / place))
        with pytest.raises(ValueError, match="is the output folder"), checkpoint_store.opened(options, alone()):
            pass
    options = LoopOptions(output_folder=tmp_path / "model", checkpoint_store=str(tmp_path / "held"))
    with (
        checkpoint_store.opened(options, alone()),
        pytest.raises(FolderInUse),
        checkpoint_store.opened(options, alone()),
    ):
        pass


def test_none_is_asked_for(tmp_path: Path) -> None:
    with checkpoint_store.opened(LoopOptions(output_folder=tmp_path), alone()) as store:
        assert store is None


@pytest.mark.parametrize("name", ["manifest.json", "00000.tar", "checkpoints/00000001.safetensors", "best.safetensors"])
def test_nobody_elses_folder_becomes_a_store(tmp_path: Path, name: str) -> None:
    """A dataset, a model, a training: its recipe would make of them something unfinished. Nothing is written there."""
    (tmp_path / "other" / name).parent.mkdir(parents=True)
    (tmp_path / "other" / name).write_bytes(b"of somebody else")
    options = LoopOptions(output_folder=tmp_path / "model", checkpoint_store=str(tmp_path / "other"))
    with (
        pytest.raises(ValueError, match=r"other: holds '.*', so it is no store"),
        checkpoint_store.opened(options, alone()),
    ):
        pass
    assert [tmp_path / "other" / name] == [path for path in (tmp_path / "other").rglob("*") if path.is_file()]


def test_places_that_are_none(tmp_path: Path) -> None:
    """One that is empty, of no known protocol, a file, and the output folder by another name."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "model")
    names = ["", "nope://x", str(tmp_path / "file"), str(tmp_path / "link"), f"{tmp_path}/model/../model"]
    for name in names:
        options = LoopOptions(output_folder=tmp_path / "model", checkpoint_store=name)
        with pytest.raises(ValueError, match="--checkpoint_store"), checkpoint_store.opened(options, alone()):
            pass
    assert not any((tmp_path / "model").iterdir())


def test_what_a_killed_copy_left_goes(tmp_path: Path) -> None:
    left = tmp_path / "store" / "00000005-a-1-of-2.safetensors.tmp-1-ab"
    left.parent.mkdir()
    left.write_bytes(b"half of it")
    options = LoopOptions(output_folder=tmp_path / "model", checkpoint_store=str(tmp_path / "store"))
    with checkpoint_store.opened(options, alone()) as store:
        assert store is not None
        assert not left.exists()


def test_more_steps_than_are_asked_for(tmp_path: Path) -> None:
    """Said before anything is copied: the exit code is that of a user's mistake."""
    save(tmp_path / "one", 5)
    store_of(tmp_path, "one").keep(MADE)
    with pytest.raises(
        ValueError, match=r"store: 5 steps are done, more than --steps 4; .* another --checkpoint_store"
    ):
        store_of(tmp_path, "other").fetch(MADE, 4, anew=False)
    assert not any((tmp_path / "other").iterdir())
    assert store_of(tmp_path, "other").fetch(MADE, 5, anew=False)
