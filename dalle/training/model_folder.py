"""The folder that a training leaves: what an earlier run left there, what a run may do to it, how it is finished.

    checkpoints/        where the training stands; the newest two
    log.jsonl           figures, and in tensorboard/ the same with pictures
    _recipe.json        what the model is being made from, while it is not finished
    model.safetensors   the weights, when all steps are done
    _next/              weights and manifest, until both are whole and take their place
    manifest.json       last of all: job, options, fingerprints of the inputs, lineage, sha256 of the weights; its
                        counts, which every manifest has, are those of no rows

The same command goes on where it was interrupted. A folder of another job, network, seed or data set is refused, unless
`--incremental_mode overwrite` says to begin anew; another job's is refused even then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dalle.training import checkpoint
from dalle.training.logs import LOG
from dalle.training.set_aside import CHECKPOINTS, set_aside
from schemas.commands.ending import CommandFailed
from schemas.draft import NEXT, Draft
from schemas.folder import RECIPE, Folder
from schemas.journal import JOURNAL, put_in_place
from schemas.manifest import MANIFEST, WEIGHTS, manifest, read_manifest, read_recipe, versions
from schemas.options import spelled
from schemas.output_place import check_whose

IncrementalMode = Literal["incremental", "renew", "overwrite"]

_MAKE_THE_WEIGHTS = ("numpy", "opencv-python-headless", "torch")
_MAY_CHANGE = ("steps",)
"""Options that are not worth a word when they differ."""
_BEFORE_THERE_WAS = {"moments": "float32"}
"""What older folders, which do not name an option, were made with."""


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """What a model is made from."""

    job: str
    network: Mapping[str, Any]
    """The network's sizes."""
    inputs: Sequence[Mapping[str, Any]]
    """Name and sha256 of each input."""
    options: Mapping[str, Any]
    """Those that change the weights; `seed` among them."""
    lineage: Sequence[Mapping[str, Any]] = ()
    """The datasets behind the inputs."""

    def to_json(self) -> dict[str, Any]:
        """As an unfinished folder keeps it."""
        return {
            "job": self.job,
            "inputs": [dict(i) for i in self.inputs],
            "options": {**self.options, "network": dict(self.network)},
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
        ValueError: if another job left the folder, or it was made from something else and is not to be overwritten, or
            it is finished and its options were others, or more steps are done than are asked for.
    """
    previous = recipe_in(folder)
    check_whose(Folder(folder), recipe.job)
    if previous is None:
        return Resumption()
    if mode == "overwrite" or (mode == "renew" and list(previous["inputs"]) != recipe.to_json()["inputs"]):
        return Resumption(anew=True)
    check_same(folder, previous, recipe.to_json())
    last = checkpoint.latest(folder / CHECKPOINTS)
    done = _steps_of(last) if last else 0
    if done > steps:
        raise ValueError(
            f"{folder}: {done:,} steps are done, more than --steps {steps}; give --steps {done} or more, or "
            "--incremental_mode overwrite to start anew"
        )
    finished = (done if last else previous["options"].get("steps")) == steps and _is_finished(folder)
    changed = _changed(previous["options"], recipe.to_json()["options"])
    if changed and finished:
        raise ValueError(
            f"{folder}: is finished, and was trained with another {changed}; --incremental_mode overwrite trains it "
            "anew, another --output_folder keeps it"
        )
    notice = ""
    if changed and last is not None:
        notice = f"{folder}: was begun with another {changed}; goes on with what is given now"
    return Resumption(checkpoint=last, finished=finished, notice=notice)


def recipe_in(folder: Path) -> Mapping[str, Any] | None:
    """Job, inputs and options of what was done in the folder last; None if nothing of ours is there."""
    for name in (RECIPE, MANIFEST):
        if (folder / name).is_file():
            return read_recipe(Folder(folder), name)
    return None


def begin(folder: Path, resumption: Resumption, recipe: ModelRecipe) -> None:
    """Make the folder ready for the run: called when its options are known to be good and its checkpoint is read.

    A finished model stays whole, until the new weights take its place.
    """
    if resumption.anew:
        set_aside(folder)
    model = Folder(folder)
    model.remove_tree(NEXT)
    model.write_json(RECIPE, recipe.to_json())
    for name in (RECIPE, JOURNAL, LOG, f"{CHECKPOINTS}/*.safetensors"):
        for leftover in folder.glob(f"{name}.tmp-*"):
            leftover.unlink()  # of a run that was killed while it wrote


def finish(folder: Path, recipe: ModelRecipe, save: Callable[[Path], Path]) -> None:
    """Write weights and manifest, and put them in the place of those that are there, if any.

    Args:
        folder: the model's, which this training alone holds.
        recipe: what it is made from.
        save: writes the weights into the folder that it is given, and gives the file.
    """
    model = Folder(folder)
    draft = Draft(model)
    (folder / NEXT).mkdir(exist_ok=True)
    weights = save(folder / NEXT).name
    made_from = recipe.to_json()
    value = manifest(
        job=recipe.job,
        table="model",
        options=made_from["options"],
        inputs=made_from["inputs"],
        library_versions=versions(*_MAKE_THE_WEIGHTS),
        markers=[],
        lineage=recipe.lineage,
    )
    files = {weights: {"sha256": draft.sha256(weights), "size": draft.size(weights)}}
    draft.write_json(MANIFEST, {**value, "files": files})
    put_in_place(draft, MANIFEST)
    model.remove(RECIPE)
    if not _is_finished(folder):
        raise CommandFailed(
            f"{folder}: the manifest was written and is not there; look whether the disk is, and try again"
        )


def _is_finished(folder: Path) -> bool:
    """Whether the manifest is there, and the weights that it tells of."""
    if (folder / RECIPE).exists() or not (folder / MANIFEST).is_file():
        return False
    files = read_manifest(Folder(folder), table="model").get("files", {})
    if WEIGHTS not in files:
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == f["size"] for name, f in files.items())


def _steps_of(path: Path) -> int:
    steps = checkpoint.outline(path).get("step")
    if steps != int(path.stem):
        raise ValueError(f"{path}: holds step {steps}, not that of its name; delete it to go on from another")
    return int(path.stem)


def check_same(
    folder: Path | Folder,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    instead: str = "--incremental_mode overwrite to start anew, or another --output_folder",
) -> None:
    """Check that what was begun in a folder is what is to go on there.

    Args:
        folder: for complaints.
        old: job, inputs and options of then.
        new: those of now.
        instead: what the user may give to begin another.

    Raises:
        ValueError: if network, seed, inputs or the format of moments are others.
    """
    for name, what in (
        ("network", "a network of"),
        ("seed", "the seed"),
        ("validation_share", "a validation share of"),
        ("moments", "moments of"),
    ):
        before, now = (each["options"].get(name, _BEFORE_THERE_WAS.get(name)) for each in (old, new))
        if before != now:
            if isinstance(before, Mapping) and isinstance(now, Mapping):
                before, now = (_sizes(*pair) for pair in ((before, now), (now, before)))
            before, now = spelled(before), spelled(now)
            raise ValueError(
                f"{folder}: was begun with {what} {before}, now it is {now}; give the options that it began with, "
                f"{instead}"
            )
    if list(old["inputs"]) != list(new["inputs"]):
        raise ValueError(
            f"{folder}: was made from {_spell(old['inputs'])}, now {_spell(new['inputs'])} is given; use "
            f"{instead.removeprefix('or ')}"
        )


def _sizes(some: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """Those that others do not have."""
    return (
        ", ".join(f"{name} {spelled(some[name])}" for name in sorted(some) if some[name] != others.get(name))
        or "no others"
    )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Names of the options that differ, with their old values."""
    names = [name for name, value in new.items() if name not in _MAY_CHANGE and old.get(name) != value]
    return ", ".join(f"{name} ({spelled(old.get(name))})" for name in names)


def _spell(inputs: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(f"{i['name']} ({i['sha256'][:12]})" for i in inputs)
