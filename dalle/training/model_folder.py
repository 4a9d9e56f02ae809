"""The folder that a training leaves: what an earlier run left there, what a run may do to it, how it is finished.

    checkpoints/      where the training stands; the newest two
    log.jsonl         figures, and in tensorboard/ the same with pictures
    model.safetensors the weights, when all steps are done
    manifest.json     last of all: job, options, fingerprints of the inputs, lineage, sha256 of the weights

The same command goes on where it was interrupted. A folder of another job, network or data set is refused, unless
`--incremental_mode overwrite` says to begin anew; another job's is refused even then.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dalle.training import checkpoint
from dalle.training.logs import LOG, TENSORBOARD
from schemas.folder import Folder
from schemas.manifest import MANIFEST, WEIGHTS, manifest, read_manifest, versions

IncrementalMode = Literal["incremental", "overwrite"]

CHECKPOINTS = "checkpoints"
_MAKE_THE_WEIGHTS = ("numpy", "opencv-python-headless", "torch")


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """What a model is made from."""

    job: str
    network: Mapping[str, Any]
    """The network's sizes."""
    inputs: Sequence[Mapping[str, Any]]
    """Name and sha256 of each input."""
    options: Mapping[str, Any]
    """Those that change the weights."""
    lineage: Sequence[Mapping[str, Any]] = ()
    """The datasets behind the inputs."""

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return {
            "job": self.job,
            "network": dict(self.network),
            "inputs": [dict(i) for i in self.inputs],
            "options": dict(self.options),
        }


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """What a run does to the folder."""

    checkpoint: Path | None = None
    """Where it goes on from."""
    finished: bool = False
    """Whether there is nothing to do."""
    anew: bool = False
    """Whether what is there is to go."""
    notice: str = ""
    """What the user should know before it begins."""


def decide(folder: Path, recipe: ModelRecipe, steps: int, mode: IncrementalMode) -> Resumption:
    """What a run of this recipe does to the folder; writes nothing.

    Args:
        folder: the output folder; it need not be there.
        recipe: of this run.
        steps: how many this run is to have done at its end.
        mode: what to do about a model that was made from something else.

    Raises:
        ValueError: if another job left the folder, or it was made from something else and is not to be overwritten.
    """
    previous = recipe_in(folder)
    if previous is None:
        _check_nothing_foreign(folder)
        return Resumption()
    if previous["job"] != recipe.job:
        raise ValueError(
            f"{folder}: was made by the job {previous['job']}; give another --output_folder for {recipe.job}"
        )
    if mode == "overwrite":
        return Resumption(anew=True)
    _check_same(folder, previous, recipe)
    last = checkpoint.latest(folder / CHECKPOINTS)
    done = (folder / MANIFEST).exists() and last is not None and int(last.stem) >= steps
    changed = _changed(previous["options"], recipe.options, ignoring=("steps",))
    notice = ""
    if changed and done:
        notice = f"{folder}: was trained with another {changed}; --incremental_mode overwrite trains it anew"
    elif changed and last is not None:
        notice = f"{folder}: was begun with another {changed}; goes on with what is given now"
    return Resumption(checkpoint=last, finished=done, notice=notice)


def recipe_in(folder: Path) -> Mapping[str, Any] | None:
    """Job, network, inputs and options of what was done in the folder last; None if nothing of ours is there."""
    last = checkpoint.latest(folder / CHECKPOINTS)
    if last is not None:
        recipe = checkpoint.outline(last).get("recipe")
        return recipe if recipe is not None else {"job": "of another version or kind of training"}
    return read_manifest(Folder(folder)) if (folder / MANIFEST).exists() else None


def is_stale(folder: Path, sha256: str) -> bool:
    """Whether a model lies there that was made from another input than this one."""
    previous = recipe_in(folder)
    return previous is not None and sha256 not in [one["sha256"] for one in previous.get("inputs", ())]


def begin(folder: Path, decision: Resumption) -> None:
    """Make the folder ready for the run: called when its data and options are known to be good."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # what said that it was whole goes first
    if decision.anew:
        for name in (WEIGHTS, LOG):
            (folder / name).unlink(missing_ok=True)
        for name in (CHECKPOINTS, TENSORBOARD):
            shutil.rmtree(folder / name, ignore_errors=True)
    for leftover in (*folder.glob("*.tmp-*"), *(folder / CHECKPOINTS).glob("*.tmp-*")):
        leftover.unlink()  # of a run that was killed while it wrote


def finish(folder: Path, recipe: ModelRecipe, weights: Path) -> None:
    """Write the manifest, when the weights are there."""
    model = Folder(folder)
    value = manifest(
        job=recipe.job,
        table="model",
        options={**recipe.options, "network": dict(recipe.network)},
        inputs=recipe.inputs,
        library_versions=versions(*_MAKE_THE_WEIGHTS),
        markers=[],
        lineage=recipe.lineage,
    )
    files = {weights.name: {"sha256": model.sha256(weights.name), "size": model.size(weights.name)}}
    model.write_json(MANIFEST, {**value, "files": files})


def _check_nothing_foreign(folder: Path) -> None:
    ours = {CHECKPOINTS, LOG, TENSORBOARD}
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = next((n for n in names if n not in ours and not n.startswith((".", "_")) and ".tmp-" not in n), None)
    if foreign is not None:
        raise ValueError(
            f"{folder}: holds '{foreign}' but neither {MANIFEST} nor checkpoints, so no training of ours made it; give "
            "an empty --output_folder"
        )


def _check_same(folder: Path, previous: Mapping[str, Any], recipe: ModelRecipe) -> None:
    network = previous.get("network") or previous["options"].get("network")
    if network != dict(recipe.network):
        raise ValueError(
            f"{folder}: was begun with a network of {network}, now it is {dict(recipe.network)}; give the options "
            "that it began with, --incremental_mode overwrite to start anew, or another --output_folder"
        )
    if [dict(i) for i in previous["inputs"]] != [dict(i) for i in recipe.inputs]:
        raise ValueError(
            f"{folder}: was made from {_spell(previous['inputs'])}, now {_spell(recipe.inputs)} is given; use "
            "--incremental_mode overwrite to start anew, or another --output_folder"
        )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], ignoring: Sequence[str]) -> str:
    """Names of the options that differ, with their old values."""
    names = [name for name, value in new.items() if name not in ignoring and old.get(name) != value]
    return ", ".join(f"{name} ({old.get(name)})" for name in names)


def _spell(inputs: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(f"{i['name']} ({i['sha256'][:12]})" for i in inputs)
