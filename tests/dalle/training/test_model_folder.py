"""What a training may do to its output folder: goes on, refuses, or begins anew where it is told to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dalle.training import checkpoint
from dalle.training.model_folder import CHECKPOINTS, ModelRecipe, Resumption, begin, decide, finish, is_stale
from schemas.folder import Folder
from schemas.manifest import WEIGHTS, read_manifest

RECIPE = ModelRecipe(
    job="train_toy",
    network={"width": 4},
    inputs=[{"name": "pairs", "sha256": "a" * 64}],
    options={"steps": 10, "learning_rate": 0.1},
)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leave(folder: Path, recipe: ModelRecipe = RECIPE, *, step: int = 10, finished: bool = True) -> Path:
    """A folder as a training leaves it, after so many steps."""
    checkpoint.save(folder / CHECKPOINTS, step, {"step": step, "recipe": recipe.to_json(), "w": torch.ones(2)})
    (folder / "log.jsonl").write_text('{"step": 10, "loss": 1}\n')
    (folder / "tensorboard").mkdir()
    if finished:
        (folder / WEIGHTS).write_bytes(b"weights")
        finish(folder, recipe, folder / WEIGHTS)
    return folder


def test_what_a_run_does_to_what_it_finds(tmp_path: Path) -> None:
    """Nothing there, begun, finished, finished and to go on longer, told to overwrite; deciding writes nothing."""
    assert Resumption() == decide(tmp_path / "none", RECIPE, 10, "incremental")
    assert not (tmp_path / "none").exists()
    begun = leave(tmp_path / "begun", step=4, finished=False)
    done = leave(tmp_path / "done")
    before = files(tmp_path)
    last = begun / CHECKPOINTS / "00000004.safetensors"
    assert Resumption(checkpoint=last) == decide(begun, RECIPE, 10, "incremental")
    assert decide(done, RECIPE, 10, "incremental").finished
    longer = decide(done, RECIPE, 20, "incremental")
    assert (False, False, "00000010") == (longer.finished, longer.anew, longer.checkpoint and longer.checkpoint.stem)
    assert decide(done, RECIPE, 10, "overwrite").anew
    assert before == files(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (replace(RECIPE, job="train_other"), "was made by the job train_toy; give another --output_folder for train_other"),
        (replace(RECIPE, network={"width": 8}), r"was begun with a network of \{'width': 4\}, now it is \{'width': 8\}"),
        (
            replace(RECIPE, inputs=[{"name": "pairs", "sha256": "b" * 64}]),
            r"was made from pairs \(aaaaaaaaaaaa\), now pairs \(bbbbbbbbbbbb\) is given; use --incremental_mode overwrite",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("finished", [True, False])
def test_another_training_is_refused(tmp_path: Path, recipe: ModelRecipe, message: str, finished: bool) -> None:
    """Begun or finished; only another network or data set may be overwritten, never another job's."""
    folder = leave(tmp_path / "model", finished=finished)
    before = files(folder)
    with pytest.raises(ValueError, match=message):
        decide(folder, recipe, 10, "incremental")
    if recipe.job == RECIPE.job:
        assert decide(folder, recipe, 10, "overwrite").anew
    else:
        with pytest.raises(ValueError, match=message):
            decide(folder, recipe, 10, "overwrite")
    assert before == files(folder)


@pytest.mark.parametrize("mode", ["incremental", "overwrite"])
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, mode: str) -> None:
    """Somebody's files, a dataset of the pipelines, checkpoints without a recipe."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"cat")
    with pytest.raises(ValueError, match=r"photos: holds 'cat.jpg' but neither manifest.json nor checkpoints"):
        decide(tmp_path / "photos", RECIPE, 10, mode)
    dataset = {"format_version": 1, "table": "pairs", "job": "dedup", "options": {}, "inputs": [], "lineage": []}
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean/manifest.json").write_text(json.dumps(dataset))
    with pytest.raises(
        ValueError, match="clean: was made by the job dedup; give another --output_folder for train_toy"
    ):
        decide(tmp_path / "clean", RECIPE, 10, mode)
    checkpoint.save(tmp_path / "old" / CHECKPOINTS, 3, {"updates": 3})
    with pytest.raises(ValueError, match="old: was made by the job of another version or kind of training"):
        decide(tmp_path / "old", RECIPE, 10, mode)


def test_other_options_are_said(tmp_path: Path) -> None:
    """They may change on the way; a finished model is not trained anew without being told to."""
    other = replace(RECIPE, options={"steps": 10, "learning_rate": 0.2})
    begun = leave(tmp_path / "begun", step=4, finished=False)
    assert "was begun with another learning_rate (0.1); goes on" in decide(begun, other, 10, "incremental").notice
    done = decide(leave(tmp_path / "done"), other, 10, "incremental")
    assert done.finished
    assert "was trained with another learning_rate (0.1); --incremental_mode overwrite trains it anew" in done.notice


def test_overwriting_takes_away_what_was_there_and_no_more(tmp_path: Path) -> None:
    """A person's notes stay; half-written files of a killed run go in any case."""
    folder = leave(tmp_path / "model")
    (folder / "notes.txt").write_text("mine")
    (folder / CHECKPOINTS / "00000011.safetensors.tmp-1234abcd").write_bytes(b"half")
    begin(folder, decide(folder, RECIPE, 10, "overwrite"))
    assert {"notes.txt": b"mine"} == files(folder)


def test_the_manifest_says_what_the_model_is(tmp_path: Path) -> None:
    """Job, options, inputs and the weights' sum; no paths."""
    folder = leave(tmp_path / "model")
    manifest = read_manifest(Folder(folder), table="model")
    assert ("train_toy", {"width": 4}) == (manifest["job"], manifest["options"]["network"])
    assert [WEIGHTS] == list(manifest["files"])
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
    assert not is_stale(folder, "a" * 64)
    assert is_stale(folder, "b" * 64)
    assert not is_stale(tmp_path / "none", "b" * 64)
