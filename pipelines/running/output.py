"""A job's output folder: what an earlier run left there, what a run may do to it, and how a dataset is finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.lists.slices import PLAN, Unit
from pipelines.running.units import FAILED, PROGRESS, failure, read_markers, undone
from schemas.folder import Folder
from schemas.manifest import MANIFEST, Counts, Marker, fingerprint, manifest, marker_name, read_manifest
from schemas.reasons import REASONS

IncrementalMode = Literal["incremental", "overwrite", "extend", "retry"]

RECIPE = "_recipe.json"
"""What an unfinished folder is being made from; the manifest takes its place."""


class JobFailed(RuntimeError):
    """The job could not be done to its end; what it says is for the user."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a dataset is made from: everything that decides its bytes."""

    job: str
    table: str
    inputs: Sequence[Mapping[str, Any]]
    """Name and sha256 of each input."""
    cut: Mapping[str, Any]
    """How the inputs are read and cut into units."""
    options: Mapping[str, Any]
    """Of the work on a unit."""
    versions: Mapping[str, str]
    lineage: Sequence[Mapping[str, Any]] = ()

    @property
    def all_options(self) -> dict[str, Any]:
        """Those of the cut and those of the work, as the manifest has them."""
        return {**self.cut, **self.options}

    @property
    def identity(self) -> str:
        """Of the inputs and how they are cut: units of two recipes with the same one hold the same rows."""
        return fingerprint({"inputs": [i["sha256"] for i in self.inputs], "cut": self.cut})

    def units(self, units: Sequence[Unit], hashes: Sequence[str]) -> tuple[Unit, ...]:
        """The units with their fingerprints."""
        return tuple(
            replace(
                unit,
                fingerprint=fingerprint([self.job, unit.shard, rows, self.cut, self.options, self.versions]),
            )
            for unit, rows in zip(units, hashes, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """As an unfinished folder keeps it."""
        return {
            "job": self.job,
            "inputs": [dict(i) for i in self.inputs],
            "options": self.all_options,
        }


@dataclass(frozen=True)
class Found:
    """What lies in an output folder."""

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
class Start:
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


def look(folder: Folder) -> Found:
    """See what an earlier run left."""
    names = folder.names()
    found = Found(
        unfinished=folder.read_json(RECIPE) if RECIPE in names else None,
        manifest=read_manifest(folder) if MANIFEST in names else None,
    )
    if found.recipe:
        return found
    return Found(foreign=next((name for name in names if not name.startswith((".", "_"))), None))


def start(folder: Folder, recipe: Recipe, mode: IncrementalMode) -> Start:
    """What a run of this recipe has to begin with; touches nothing.

    Raises:
        ValueError: if the folder was made by or from something else and the mode does not say what to do about it.
    """
    found = look(folder)
    if found.foreign:
        raise ValueError(
            f"{folder}: holds '{found.foreign}' but neither {MANIFEST} nor {RECIPE}, so no job of ours made it; "
            "give an empty --output_folder"
        )
    if found.recipe is None:
        return Start()
    if mode == "overwrite":
        return Start(anew=True)
    if found.recipe["job"] != recipe.job:
        raise ValueError(
            f"{folder}: was made by the job {found.recipe['job']}; give another --output_folder for {recipe.job}"
        )
    if mode == "extend" or (found.unfinished and found.unfinished.get("extends")):
        return _extend(folder, found, recipe)
    _check_same_inputs(folder, found.recipe, recipe)
    if changed := _changed(found.recipe["options"], recipe.all_options):
        return Start(notice=f"{folder}: was made with another {changed}; its shards are made anew")
    if found.manifest and not found.unfinished and _all_there(folder, found.manifest):
        return Start(finished=found.manifest)
    return Start()


def begin(folder: Folder, recipe: Recipe, begun: Start) -> None:
    """Make the folder ready for the run: called when its list is known to be good."""
    if begun.anew:
        _clear(folder)
    folder.write_json(RECIPE, {**recipe.to_json(), "extends": begun.before})


def start_again(folder: Folder, recipe: Recipe) -> tuple[Recipe, list[Unit]]:
    """Make a finished dataset ready for another try at what failed for a reason that may have passed.

    Args:
        folder: the dataset.
        recipe: with the options of the work and the versions of today.

    Returns:
        The dataset's own recipe, and the units with such rows.

    Raises:
        ValueError: if it is not finished, or was made with other options.
    """
    found = look(folder)
    made = found.manifest or (found.unfinished or {}).get("retries")
    if made is None or (found.unfinished and not found.unfinished.get("retries")):
        raise ValueError(f"{folder}: is not finished yet; run the job to its end first, then retry what failed")
    if made["job"] != recipe.job:
        raise ValueError(f"{folder}: was made by the job {made['job']}, which has nothing to fetch again")
    if changed := _changed(made["options"], recipe.options):
        raise ValueError(f"{folder}: was made with another {changed}; fetch again with the options it has")
    cut = {name: value for name, value in made["options"].items() if name not in recipe.options}
    again = replace(recipe, inputs=made["inputs"], cut=cut, versions=_merged(made["versions"], recipe.versions))
    folder.write_json(RECIPE, {**again.to_json(), "retries": made})
    units = [
        Unit(shard=s["name"], rows=Counts.of_json(s["counts"]).rows, source="", fingerprint=s["fingerprint"])
        for s in made["shards"]
    ]
    return again, units


def may_pass(folder: Folder, units: Sequence[Unit]) -> list[Unit]:
    """The units with rows that failed for a reason that may have passed."""
    found = zip(units, read_markers(folder, units), strict=True)
    return [unit for unit, marker in found if any(REASONS[reason].transient for _, reason in marker.counts.reasons)]


def _extend(folder: Folder, found: Found, recipe: Recipe) -> Start:
    if found.manifest is None or (found.unfinished and found.unfinished["inputs"] != list(recipe.inputs)):
        raise ValueError(
            f"{folder}: is not finished yet; run the job on {_spell(found.recipe or {})} to its end, then extend it"
        )
    before = found.manifest
    if all(given in before["inputs"] for given in recipe.inputs):
        return Start(finished=before)
    if changed := _changed(before["options"], recipe.all_options):
        raise ValueError(f"{folder}: was made with another {changed}; a dataset is extended with the options it has")
    return Start(first=1 + max((int(s["name"]) for s in before["shards"]), default=-1), before=before)


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


def _all_there(folder: Folder, finished: Mapping[str, Any]) -> bool:
    """Whether every file of the manifest is there; what is in the files is `pipelines.audit`'s business."""
    names = set(folder.names())
    return all({*shard["files"], marker_name(shard["name"])} <= names for shard in finished["shards"])


def _clear(folder: Folder) -> None:
    """Take away all that earlier runs left, but the new plan: what said that it was whole goes first."""
    folder.remove(MANIFEST)
    names = folder.names()
    for name in sorted(names, key=lambda name: not name.endswith("_stats.json")):
        if name[:1].isdigit():
            folder.remove(name)
    for leftover in (FAILED, PROGRESS):
        folder.remove_tree(leftover)


def check_all_done(folder: Folder, units: Sequence[Unit]) -> None:
    """Check that every unit is done.

    Raises:
        JobFailed: naming the first that is not.
    """
    failed = {unit.shard for unit in undone(folder, units)} | {
        name.removesuffix(".txt") for name in folder.names(FAILED)
    }
    if failed:
        first, more = min(failed), f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise JobFailed(
            f"unit {first}{more} of {len(units)} failed ({failure(folder, first)}); the others are done, the same "
            "command does only what is missing"
        )


def finish(
    folder: Folder, recipe: Recipe, units: Sequence[Unit], *, before: Mapping[str, Any] | None = None
) -> tuple[Counts, list[Marker]]:
    """Make the folder a dataset: check that every unit is done and every row accounted for, write the manifest.

    Args:
        folder: the output folder.
        recipe: what it was made from.
        units: all units of this run.
        before: the manifest of what is extended.

    Raises:
        JobFailed: naming the first unit that is not done.
    """
    check_all_done(folder, units)
    markers = read_markers(folder, units)
    for unit, marker in zip(units, markers, strict=True):
        marker.counts.check(unit.rows, f"{folder}: unit {unit.shard}")
    mine = {unit.shard for unit in units}
    kept = [shard for shard in before["shards"] if shard["name"] not in mine] if before else []
    earlier = [Marker.of_manifest(shard) for shard in kept]
    value = manifest(
        job=recipe.job,
        table=recipe.table,
        options=recipe.all_options,
        inputs=recipe.inputs if before is None else [*before["inputs"], *recipe.inputs],
        library_versions=_merged(before["versions"] if before else {}, recipe.versions),
        markers=[*earlier, *markers],
        lineage=recipe.lineage,
    )
    folder.write_json(MANIFEST, value)
    folder.remove(RECIPE)
    tidy(folder)
    return Counts.of_json(value["counts"]), markers


def tidy(folder: Folder) -> None:
    """Take away what a finished dataset does not need; also what a run that was killed while doing so left.

    Half-written files are among it where an engine did a unit again because a worker had died in the middle of it.
    """
    folder.sweep()
    for leftover in (PLAN, FAILED, PROGRESS):
        folder.remove_tree(leftover)


def _spell(recipe: Mapping[str, Any]) -> str:
    return " and ".join(f"{i['name']} ({i['sha256'][:12]})" for i in recipe["inputs"])


def _merged(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Versions of a dataset that was made in more than one go: all there were, in order."""
    merged = dict(new)
    for name, version in old.items():
        if version != new.get(name, version):
            merged[name] = f"{version}, {new[name]}"
    return merged
