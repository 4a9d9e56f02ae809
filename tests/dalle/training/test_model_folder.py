"""What a training may do to its output folder: goes on, refuses, or begins anew where it is told to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dalle.training import checkpoint
from dalle.training.model_folder import ModelRecipe, Resumption, begin, decide, finish
from dalle.training.set_aside import ASIDE, CHECKPOINTS, is_set_aside, set_aside, settle
from schemas.folder import RECIPE, Folder
from schemas.manifest import MANIFEST, WEIGHTS, read_manifest

TOY = ModelRecipe(
    job="train_toy",
    network={"width": 4},
    inputs=[{"name": "pairs", "sha256": "a" * 64}],
    options={"steps": 10, "learning_rate": 0.1, "seed": 0},
)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leave(folder: Path, recipe: ModelRecipe = TOY, *, step: int = 10, finished: bool = True) -> Path:
    """A folder as a training leaves it, after so many steps."""
    folder.mkdir(parents=True)
    begin(folder, Resumption(), recipe)
    checkpoint.save(folder / CHECKPOINTS, step, {"step": step, "run": {"weights": {"w": torch.ones(2)}}})
    (folder / "log.jsonl").write_text('{"step": 10, "loss": 1}\n')
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard/events.out.tfevents.1").write_bytes(b"events")
    if finished:
        finish(folder, recipe, write_weights)
    return folder


def write_weights(folder: Path) -> Path:
    """As a training does."""
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder / WEIGHTS


def test_what_a_run_does_to_what_it_finds(tmp_path: Path) -> None:
    """Nothing there, begun, finished, finished and to go on longer, told to overwrite; deciding writes nothing."""
    assert Resumption() == decide(tmp_path / "none", TOY, 10, "incremental")
    assert not (tmp_path / "none").exists()
    begun = leave(tmp_path / "begun", step=4, finished=False)
    done = leave(tmp_path / "done")
    before = files(tmp_path)
    last = begun / CHECKPOINTS / "00000004.safetensors"
    assert Resumption(checkpoint=last) == decide(begun, TOY, 10, "incremental")
    assert decide(done, TOY, 10, "incremental").finished
    longer = decide(done, TOY, 20, "incremental")
    assert (False, False, "00000010") == (longer.finished, longer.anew, longer.checkpoint and longer.checkpoint.stem)
    assert decide(done, TOY, 10, "overwrite").anew
    assert before == files(tmp_path)
    shutil.rmtree(done / CHECKPOINTS)  # as where only the model was downloaded
    assert decide(done, TOY, 10, "incremental").finished
    assert Resumption() == decide(done, TOY, 20, "incremental")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (replace(TOY, job="train_other"), "was made by the job train_toy; give another --output_folder for train_other"),
        (replace(TOY, network={"width": 8}), "was begun with a network of width 4, now it is width 8"),
        (replace(TOY, options={**TOY.options, "seed": 1}), "was begun with the seed 0, now it is 1; give the options"),
        (
            replace(TOY, options={**TOY.options, "moments": "paper"}),
            "was begun with moments of float32, now it is paper; give the options",
        ),
        (
            replace(TOY, inputs=[{"name": "pairs", "sha256": "b" * 64}]),
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
    if recipe.job == TOY.job:
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
    with pytest.raises(ValueError, match=r"photos: holds 'cat.jpg', which no job of ours made"):
        decide(tmp_path / "photos", TOY, 10, mode)
    dataset = {"format_version": 1, "table": "pairs", "job": "dedup", "options": {}, "inputs": [], "lineage": []}
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean/manifest.json").write_text(json.dumps(dataset))
    with pytest.raises(
        ValueError, match="clean: was made by the job dedup; give another --output_folder for train_toy"
    ):
        decide(tmp_path / "clean", TOY, 10, mode)
    checkpoint.save(tmp_path / "old" / CHECKPOINTS, 3, {"updates": 3})
    with pytest.raises(ValueError, match=r"old: holds 'checkpoints', which no job of ours made"):
        decide(tmp_path / "old", TOY, 10, mode)
    (tmp_path / "log").mkdir()
    (tmp_path / "log/log.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"log: holds 'log.jsonl', which no job of ours made"):
        decide(tmp_path / "log", TOY, 10, mode)


def test_other_options_are_said(tmp_path: Path) -> None:
    """They may change on the way; a finished model is not trained anew without being told to."""
    other = replace(TOY, options={**TOY.options, "learning_rate": 0.2})
    begun = leave(tmp_path / "begun", step=4, finished=False)
    assert "was begun with another learning_rate (0.1); goes on" in decide(begun, other, 10, "incremental").notice
    done = leave(tmp_path / "done")
    with pytest.raises(
        ValueError, match=r"was trained with another learning_rate \(0.1\); --incremental_mode overwrite"
    ):
        decide(done, other, 10, "incremental")


def test_what_is_not_whole_is_not_finished(tmp_path: Path) -> None:
    """Weights that are gone or cut off are made again from the checkpoint; a checkpoint answers for its name."""
    folder = leave(tmp_path / "model")
    for damage in (lambda: (folder / WEIGHTS).write_bytes(b"cut"), (folder / WEIGHTS).unlink):
        damage()
        decision = decide(folder, TOY, 10, "incremental")
        assert (False, True) == (decision.finished, decision.checkpoint is not None)
    with pytest.raises(ValueError, match="10 steps are done, more than --steps 4; give --steps 10 or more, or"):
        decide(folder, TOY, 4, "incremental")
    newest = folder / CHECKPOINTS / "00000010.safetensors"
    newest.rename(newest.with_stem("99999999"))
    with pytest.raises(ValueError, match=r"99999999.safetensors: holds step 10, not that of its name; delete it"):
        decide(folder, TOY, 10, "incremental")


def test_overwriting_keeps_the_old_until_the_new_has_a_checkpoint(tmp_path: Path) -> None:
    """A person's files stay where they are; half-written files of a killed run go."""
    folder = leave(tmp_path / "model")
    for name in ("notes.txt", "draft.tmp-old", "checkpoints/best.pt", "tensorboard/mine"):
        (folder / name).write_text("mine")
    before = files(folder)
    (folder / CHECKPOINTS / "00000011.safetensors.tmp-1234abcd").write_bytes(b"half")
    begin(folder, decide(folder, TOY, 10, "overwrite"), TOY)
    assert is_set_aside(folder)
    (folder / "log.jsonl").write_text("of the new one")
    settle(folder)  # it came to nothing
    assert before == files(folder)
    begin(folder, decide(folder, TOY, 10, "overwrite"), TOY)
    checkpoint.save(folder / CHECKPOINTS, 2, {"step": 2})
    settle(folder)
    mine = {name: content for name, content in files(folder).items() if content == b"mine"}
    assert {"notes.txt", "draft.tmp-old", "checkpoints/best.pt", "tensorboard/mine"} == set(mine)
    assert {RECIPE, "checkpoints/00000002.safetensors", WEIGHTS, MANIFEST} == set(files(folder)) - set(mine)
    assert before[WEIGHTS] == (folder / WEIGHTS).read_bytes(), "until the new one has weights of its own"


def test_stopped_at_any_point_of_setting_aside_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of its moves, and then at each move of putting it back: the next command has the old model whole."""
    replace_file, points = os.replace, 0
    for first in range(99):
        for second in range(99):
            folder = leave(tmp_path / f"{first}-{second}")
            before = files(folder)
            stopped = [_stops(set_aside, folder, first, monkeypatch), _stops(settle, folder, second, monkeypatch)]
            monkeypatch.setattr(os, "replace", replace_file)
            settle(folder)
            assert before == files(folder)
            assert not (folder / ASIDE).exists()
            points += 1
            if not stopped[1]:
                break
        if not stopped[0]:
            break
    assert points > 5


def _stops(function: Callable[[Path], None], folder: Path, after: int, patch: pytest.MonkeyPatch) -> bool:
    """Run it and stop it after so many moves; whether it was stopped."""
    replace_file = os.replace
    moves = iter([True] * after)

    def move(source: Path, target: Path) -> None:
        if not next(moves, False):
            raise KeyboardInterrupt
        replace_file(source, target)

    with patch.context() as inside:
        inside.setattr(os, "replace", move)
        try:
            function(folder)
        except KeyboardInterrupt:
            return True
    return False


def test_the_manifest_says_what_the_model_is(tmp_path: Path) -> None:
    """Job, options, inputs and the weights' sum; no paths."""
    folder = leave(tmp_path / "model")
    manifest = read_manifest(Folder(folder), table="model")
    assert ("train_toy", {"width": 4}) == (manifest["job"], manifest["options"]["network"])
    assert [WEIGHTS] == list(manifest["files"])
    assert str(tmp_path) not in (folder / "manifest.json").read_text()


@pytest.mark.parametrize("finished", [True, False])
def test_renew_begins_anew_where_the_input_has_changed(tmp_path: Path, finished: bool) -> None:
    """And goes on where it has not, refusing what incremental refuses."""
    folder = leave(tmp_path / "model", step=10 if finished else 5, finished=finished)
    other = replace(TOY, inputs=[{"name": "pairs", "sha256": "b" * 64}])
    assert decide(folder, TOY, 10, "renew") == decide(folder, TOY, 10, "incremental")
    assert Resumption(anew=True) == decide(folder, other, 10, "renew")
    with pytest.raises(ValueError, match="the seed"):
        decide(folder, replace(TOY, options={**TOY.options, "seed": 1}), 10, "renew")
    begin(folder, Resumption(anew=True), other)
    assert Resumption() == decide(folder, other, 10, "renew")  # killed before its first checkpoint
