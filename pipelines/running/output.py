"""A job's output folder: what the run before this one left there, and what this one may do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.running.do_unit import FAILED, PROGRESS
from pipelines.running.done_units import read_markers
from pipelines.running.recipe import Recipe, merged_versions
from pipelines.running.unit import PLAN, Unit
from schemas.draft import Draft
from schemas.folder import RECIPE, Folder
from schemas.lock import LOCKS
from schemas.manifest import MANIFEST, Counts, fingerprint, marker_name, read_manifest, read_recipe
from schemas.options import spelled
from schemas.output_place import check_whose
from schemas.reasons import REASONS

_MOST_SPELLED = 4
"""Inputs that a sentence names."""

IncrementalMode = Literal["incremental", "renew", "overwrite", "extend", "retry"]


@dataclass(frozen=True)
class PreviousRun:
    """What the runs before this one left in an output folder."""

    unfinished: Mapping[str, Any] | None = None
    """The recipe of a run that did not end; beside a manifest, of one that adds to the dataset."""
    manifest: Mapping[str, Any] | None = None
    """Of a finished dataset."""

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Job, inputs and options of what is here."""
        return self.manifest or self.unfinished


@dataclass(frozen=True)
class Decision:
    """What a run begins with."""

    first: int = 0
    """Number of its first shard."""
    extends: Mapping[str, Any] | None = None
    """The manifest of the dataset that it adds to."""
    replaces: bool = False
    """Whether a finished dataset is here, whose next state is made beside it."""
    anew: bool = False
    """Whether nothing of what is here is taken over."""
    finished: Mapping[str, Any] | None = None
    """The manifest, if there is nothing to do."""
    notice: str = ""
    """What the user should know before it begins."""


def previous_run(folder: Folder) -> PreviousRun:
    """What the runs before this one left; writes nothing."""
    names = folder.names()
    return PreviousRun(
        unfinished=read_recipe(folder) if RECIPE in names else None,
        manifest=read_manifest(folder) if MANIFEST in names else None,
    )


def forget_what_is_done(folder: Folder) -> None:
    """Take away the recipe of a run that was stopped when its manifest was there already."""
    if not (folder.exists(RECIPE) and folder.exists(MANIFEST)):  # as nearly always: no manifest is read for nothing
        return
    inputs = read_manifest(folder)["inputs"]
    if all(source in inputs for source in read_recipe(folder)["inputs"]):
        folder.remove(RECIPE)


def decide(folder: Folder, recipe: Recipe, mode: IncrementalMode) -> Decision:
    """What a run of this recipe has to begin with; only reads.

    Raises:
        ValueError: if the folder was made by or from something else and the mode does not say what to do about it.
    """
    previous = previous_run(folder)
    check_whose(folder, recipe.job)  # another's is never overwritten: it may be a model, or what was cleaned by hand
    if previous.recipe is None:
        return Decision()
    is_finished = previous.manifest is not None
    if mode == "renew" and list(previous.recipe["inputs"]) != list(recipe.inputs):
        mode = "overwrite"
    if mode == "overwrite":
        return Decision(anew=True, replaces=is_finished)
    if mode == "extend" or _goes_on_extending(previous, recipe):
        return _extend(folder, previous, recipe)
    _check_same_inputs(folder, previous.recipe, recipe)
    if changed := _changed(previous.recipe["options"], _options_beside(previous.recipe, recipe)):
        notice = f"{folder}: was made with another {changed}; its shards are made anew"
        return Decision(notice=notice, replaces=is_finished)
    if previous.manifest and _all_there(folder, previous.manifest, recipe.files):
        return Decision(finished=previous.manifest)
    return Decision(replaces=is_finished)


def output_of(folder: Folder, decision: Decision) -> Folder:
    """Where the run writes: the folder, or the draft of the next state of the dataset in it."""
    return Draft(folder, hides=decision.anew) if decision.replaces else folder


def begin(output: Folder, recipe: Recipe, decision: Decision) -> None:
    """Write that the run has begun: called when its list is known to be good. What it does not go on with goes."""
    begun = {**recipe.to_json(), "anew": decision.anew, "extends": decision.extends is not None}
    if isinstance(output, Draft):
        begin_draft(output, begun)
        return
    if decision.anew:
        _clear(output, recipe.rooms)
    elif decision.extends is not None:
        _drop_another_extension(output, decision.extends, begun)
    output.write_json(RECIPE, begun)


def begin_draft(draft: Draft, begun: Mapping[str, Any]) -> None:
    """Write what a draft is made from, and take away one that was made from something else, but for the plan."""
    own = draft.own
    if recipe_of_draft(own) == begun:
        own.sweep()
        return
    own.remove(RECIPE)
    for name in own.names():
        own.remove(name)
    for name in own.folders():
        if name not in (PLAN, LOCKS):
            own.remove_tree(name)
    own.write_json(RECIPE, begun)


def recipe_of_draft(own: Folder) -> Mapping[str, Any] | None:
    """What a draft is being made from; None if nobody can say, as after it was tampered with."""
    try:
        return read_recipe(own) if own.exists(RECIPE) else None
    except ValueError:
        return None


def begin_retry(folder: Folder, recipe: Recipe) -> tuple[Draft, Recipe, list[Unit]]:
    """Write that a retry has begun: a finished dataset is to be tried again where a reason may have passed.

    Args:
        folder: the dataset.
        recipe: with the options of the work, the versions of today, and the inputs that were named, as far as they are
            there; there may be fewer than the dataset was made from.

    Returns:
        The draft of its next state, the dataset's own recipe, and all its units.

    Raises:
        ValueError: if it is not finished, or was made with other options or from something else.
    """
    previous = previous_run(folder)
    made = previous.manifest
    if made is None:
        state = "is not finished yet" if previous.recipe else "holds no dataset yet"
        raise ValueError(f"{folder}: {state}; run the job to its end first, then retry what failed")
    if made["job"] != recipe.job:
        raise ValueError(f"{folder}: was made by the job {made['job']}, which has nothing to fetch again")
    if not all(source in made["inputs"] for source in recipe.inputs):
        raise ValueError(
            f"{folder}: was made from {_spell(made)}, not from {_spell(recipe.to_json())}, of which nothing could be "
            "fetched again; give its own list, or --incremental_mode extend to add another"
        )
    if changed := _changed(made["options"], recipe.options):
        raise ValueError(f"{folder}: was made with another {changed}; fetch again with the options it has")
    cut = {name: value for name, value in made["options"].items() if name not in recipe.options}
    retried = replace(
        recipe, inputs=made["inputs"], cut=cut, versions=merged_versions(made["versions"], recipe.versions)
    )
    draft = Draft(folder)
    begin_draft(draft, {**retried.to_json(), "retries": fingerprint(made)})
    units = [
        Unit(shard=s["name"], rows=Counts.of_json(s["counts"]).rows, fingerprint=s["fingerprint"])
        for s in made["shards"]
    ]
    return draft, retried, units


def may_pass(folder: Folder, units: Sequence[Unit]) -> list[Unit]:
    """The units with rows that failed, in the dataset as it is, for a reason that may have passed."""
    markers = read_markers(folder, units)
    return [
        unit
        for unit, marker in zip(units, markers, strict=True)
        if any(REASONS[reason].transient for _, reason in marker.counts.reasons)
    ]


def _goes_on_extending(previous: PreviousRun, recipe: Recipe) -> bool:
    """Whether the same list was being added when the run before was stopped."""
    if previous.manifest is None or previous.unfinished is None:
        return False
    return bool(previous.unfinished["inputs"] == list(recipe.inputs) != previous.manifest["inputs"])


def _extend(folder: Folder, previous: PreviousRun, recipe: Recipe) -> Decision:
    before = previous.manifest
    if before is None:
        raise ValueError(
            f"{folder}: is not finished yet; run the job on {_spell(previous.recipe or {})} to its end, then extend it"
        )
    if all(source in before["inputs"] for source in recipe.inputs):
        return Decision(finished=before)
    if changed := _changed(before["options"], _options_beside(before, recipe)):
        raise ValueError(f"{folder}: was made with another {changed}; a dataset is extended with the options it has")
    notice = ""
    if previous.unfinished and previous.unfinished["inputs"] != list(recipe.inputs):
        notice = f"{folder}: was being extended by {_spell(previous.unfinished)}, which is dropped"
    return Decision(
        first=1 + max((int(s["name"]) for s in before["shards"]), default=-1), extends=before, notice=notice
    )


def _drop_another_extension(folder: Folder, before: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
    """Take away shards that another list left which was being added; the dataset's own stay."""
    if not folder.exists(RECIPE) or folder.read_json(RECIPE) == begun:
        return
    own = {name for shard in before["shards"] for name in (marker_name(shard["name"]), *shard["files"])}
    for name in _markers_first(folder):
        if name not in own:
            folder.remove(name)
    folder.remove_tree(FAILED)


def _options_beside(old: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A recipe's options; None for those that it leaves out and an earlier one does not."""
    return {**{name: None for name in recipe.left_out if name in old["options"]}, **recipe.all_options}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Names of the options that differ, with their old values."""
    return ", ".join(f"{name} ({spelled(old.get(name))})" for name, value in new.items() if old.get(name) != value)


def _check_same_inputs(folder: Folder, old: Mapping[str, Any], recipe: Recipe) -> None:
    if list(old["inputs"]) != list(recipe.inputs):
        add = "extend to add it, " if recipe.job == "ingest" else ""  # the one job that can
        raise ValueError(
            f"{folder}: was made from {_spell(old)}, now {_spell(recipe.to_json())} is given; use --incremental_mode "
            f"{add}overwrite to start anew, or another --output_folder"
        )
    for name, value in _options_beside(old, replace(recipe, options={})).items():
        if old["options"].get(name) != value:
            raise ValueError(
                f"{folder}: was made with {name} {spelled(old['options'].get(name))}, now it is {spelled(value)}, "
                "which would give rows other keys; use --incremental_mode overwrite to start anew, or another "
                "--output_folder"
            )


def _all_there(folder: Folder, finished: Mapping[str, Any], beside: Sequence[str]) -> bool:
    """Whether every file of the manifest is there; what is in the files is `pipelines.audit`'s business."""
    names = set(folder.names())
    return names.issuperset(beside) and all(
        {*shard["files"], marker_name(shard["name"])} <= names for shard in finished["shards"]
    )


def _clear(folder: Folder, rooms: Sequence[str]) -> None:
    """Take away all that an unfinished run left, but the new plan."""
    for name in _markers_first(folder):
        folder.remove(name)
    for leftover in (*rooms, FAILED, PROGRESS):
        folder.remove_tree(leftover)


def _markers_first(folder: Folder) -> list[str]:
    """Names of all files of shards; what says that a shard is whole comes first."""
    return sorted(
        (name for name in folder.names() if name[:1].isdigit()), key=lambda name: not name.endswith("_stats.json")
    )


def _spell(recipe: Mapping[str, Any]) -> str:
    inputs = [f"{i['name']} ({i['sha256'][:12]})" for i in recipe["inputs"]]
    if len(inputs) > _MOST_SPELLED:
        inputs[_MOST_SPELLED - 1 :] = [f"{len(inputs) - _MOST_SPELLED + 1:,} other files"]
    return " and ".join(inputs) or "nothing"
