"""A job's output folder: what the run before this one left there, and what this one may do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.running.do_unit import FAILED, PROGRESS
from pipelines.running.done_units import read_markers
from pipelines.running.recipe import Recipe, merged_versions
from pipelines.running.unit import Unit
from schemas.folder import Folder
from schemas.manifest import MANIFEST, RECIPE, Counts, marker_name, read_manifest
from schemas.reasons import REASONS

IncrementalMode = Literal["incremental", "overwrite", "extend", "retry"]


@dataclass(frozen=True)
class PreviousRun:
    """What the run before this one left in an output folder."""

    unfinished: Mapping[str, Any] | None = None
    """The recipe of a run that did not end."""
    manifest: Mapping[str, Any] | None = None
    """Of a finished dataset, which an unfinished run may be adding to."""
    foreign: str | None = None
    """A file that no job of ours made."""

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Job, inputs and options of what was done here last."""
        return self.unfinished or self.manifest


@dataclass(frozen=True)
class Decision:
    """What a run begins with."""

    first: int = 0
    """Number of its first shard."""
    before: Mapping[str, Any] | None = None
    """The manifest of the dataset that it adds to."""
    finished: Mapping[str, Any] | None = None
    """The manifest, if there is nothing to do."""
    anew: bool = False
    """Whether what is there is to go."""
    notice: str = ""
    """What the user should know before it begins."""


def previous_run(folder: Folder) -> PreviousRun:
    """What the run before this one left; writes nothing."""
    names = folder.names()
    previous = PreviousRun(
        unfinished=folder.read_json(RECIPE) if RECIPE in names else None,
        manifest=read_manifest(folder) if MANIFEST in names else None,
    )
    if previous.recipe:
        return previous
    return PreviousRun(foreign=next((name for name in names if not name.startswith((".", "_"))), None))


def decide(folder: Folder, recipe: Recipe, mode: IncrementalMode) -> Decision:
    """What a run of this recipe has to begin with; only reads.

    Raises:
        ValueError: if the folder was made by or from something else and the mode does not say what to do about it.
    """
    previous = previous_run(folder)
    if previous.foreign:
        raise ValueError(
            f"{folder}: holds '{previous.foreign}' but neither {MANIFEST} nor {RECIPE}, so no job of ours made it; "
            "give an empty --output_folder"
        )
    if previous.recipe is None:
        return Decision()
    if previous.recipe["job"] != recipe.job:  # never overwritten: it may be a model, or what was deduplicated by hand
        raise ValueError(
            f"{folder}: was made by the job {previous.recipe['job']}; give another --output_folder for {recipe.job}"
        )
    if mode == "overwrite":
        return Decision(anew=True)
    if mode == "extend" or (previous.unfinished and previous.unfinished.get("extends")):
        return _extend(folder, previous, recipe)
    _check_same_inputs(folder, previous.recipe, recipe)
    if changed := _changed(previous.recipe["options"], recipe.all_options):
        return Decision(notice=f"{folder}: was made with another {changed}; its shards are made anew")
    if previous.manifest and not previous.unfinished and _all_there(folder, previous.manifest, recipe.files):
        return Decision(finished=previous.manifest)
    return Decision()


def begin(folder: Folder, recipe: Recipe, decision: Decision) -> None:
    """Write that the run has begun: called when its list is known to be good. What is there goes if it is to."""
    if decision.anew:
        _clear(folder, recipe.rooms)
    folder.write_json(RECIPE, {**recipe.to_json(), "extends": decision.before})


def begin_retry(folder: Folder, recipe: Recipe) -> tuple[Recipe, list[Unit]]:
    """Write that a retry has begun: a finished dataset is to be tried again where a reason may have passed.

    Args:
        folder: the dataset.
        recipe: with the options of the work and the versions of today.

    Returns:
        The dataset's own recipe, and the units with such rows.

    Raises:
        ValueError: if it is not finished, or was made with other options.
    """
    previous = previous_run(folder)
    made = previous.manifest or (previous.unfinished or {}).get("retries")
    if made is None or (previous.unfinished and not previous.unfinished.get("retries")):
        raise ValueError(f"{folder}: is not finished yet; run the job to its end first, then retry what failed")
    if made["job"] != recipe.job:
        raise ValueError(f"{folder}: was made by the job {made['job']}, which has nothing to fetch again")
    if changed := _changed(made["options"], recipe.options):
        raise ValueError(f"{folder}: was made with another {changed}; fetch again with the options it has")
    cut = {name: value for name, value in made["options"].items() if name not in recipe.options}
    retried = replace(
        recipe, inputs=made["inputs"], cut=cut, versions=merged_versions(made["versions"], recipe.versions)
    )
    folder.write_json(RECIPE, {**retried.to_json(), "retries": made})
    units = [
        Unit(shard=s["name"], rows=Counts.of_json(s["counts"]).rows, fingerprint=s["fingerprint"])
        for s in made["shards"]
    ]
    return retried, units


def may_pass(folder: Folder, units: Sequence[Unit]) -> list[Unit]:
    """The units with rows that failed for a reason that may have passed."""
    markers = read_markers(folder, units)
    return [
        unit
        for unit, marker in zip(units, markers, strict=True)
        if any(REASONS[reason].transient for _, reason in marker.counts.reasons)
    ]


def _extend(folder: Folder, previous: PreviousRun, recipe: Recipe) -> Decision:
    if previous.manifest is None or (previous.unfinished and previous.unfinished["inputs"] != list(recipe.inputs)):
        raise ValueError(
            f"{folder}: is not finished yet; run the job on {_spell(previous.recipe or {})} to its end, then extend it"
        )
    before = previous.manifest
    if all(source in before["inputs"] for source in recipe.inputs):
        return Decision(finished=before)
    if changed := _changed(before["options"], recipe.all_options):
        raise ValueError(f"{folder}: was made with another {changed}; a dataset is extended with the options it has")
    return Decision(first=1 + max((int(s["name"]) for s in before["shards"]), default=-1), before=before)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Names of the options that differ, with their old values."""
    return ", ".join(f"{name} ({old.get(name)})" for name, value in new.items() if old.get(name) != value)


def _check_same_inputs(folder: Folder, old: Mapping[str, Any], recipe: Recipe) -> None:
    if list(old["inputs"]) != list(recipe.inputs):
        raise ValueError(
            f"{folder}: was made from {_spell(old)}, now {_spell(recipe.to_json())} is given; use --incremental_mode "
            "extend to add it, overwrite to start anew, or another --output_folder"
        )
    for name, value in recipe.cut.items():
        if old["options"].get(name) != value:
            raise ValueError(
                f"{folder}: was made with {name} {old['options'].get(name)}, now it is {value}, which would give "
                "rows other keys; use --incremental_mode overwrite to start anew, or another --output_folder"
            )


def _all_there(folder: Folder, finished: Mapping[str, Any], beside: Sequence[str]) -> bool:
    """Whether every file of the manifest is there; what is in the files is `pipelines.audit`'s business."""
    names = set(folder.names())
    return names.issuperset(beside) and all(
        {*shard["files"], marker_name(shard["name"])} <= names for shard in finished["shards"]
    )


def _clear(folder: Folder, rooms: Sequence[str]) -> None:
    """Take away all that runs before left, but the new plan: what said that it was whole goes first."""
    folder.remove(MANIFEST)
    names = folder.names()
    for name in sorted(names, key=lambda name: not name.endswith("_stats.json")):
        if name[:1].isdigit():
            folder.remove(name)
    for leftover in (*rooms, FAILED, PROGRESS):
        folder.remove_tree(leftover)


def _spell(recipe: Mapping[str, Any]) -> str:
    return " and ".join(f"{i['name']} ({i['sha256'][:12]})" for i in recipe["inputs"])
