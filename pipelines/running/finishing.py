"""How a dataset is finished: every unit done, every row accounted for, the manifest written, leftovers gone."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.running.do_unit import failure
from pipelines.running.done_units import read_markers, undone
from pipelines.running.first_tar import without_empty_first_tars
from pipelines.running.output import recipe_of_draft
from pipelines.running.recipe import Recipe, merged_versions
from pipelines.running.unit import Unit
from schemas.claim import TakenOver
from schemas.commands.ending import CommandFailed
from schemas.draft import NEXT, Draft
from schemas.folder import RECIPE, Folder
from schemas.journal import put_in_place, put_last
from schemas.lock import LOCKS
from schemas.manifest import MANIFEST, Counts, Marker, fingerprint, manifest, read_manifest


class JobFailed(CommandFailed):
    """The job could not be done to its end; what it says is for the user."""


def check_all_done(folder: Folder, units: Sequence[Unit]) -> None:
    """Check that every unit is done; what a note of an earlier failure says counts for nothing.

    Raises:
        JobFailed: naming the first that is not.
    """
    failed = {unit.shard for unit in undone(folder, units)}
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
    if before is None:
        markers = without_empty_first_tars(folder, markers)
    for unit, marker in zip(units, markers, strict=True):
        marker.counts.check(unit.rows, f"{folder}: unit {unit.shard}")
    mine = {unit.shard for unit in units}
    kept = [shard for shard in before["shards"] if shard["name"] not in mine] if before else []
    of_before = [Marker.of_manifest(shard) for shard in kept]
    value = manifest(
        job=recipe.job,
        table=recipe.table,
        options=recipe.all_options,
        inputs=recipe.inputs if before is None else [*before["inputs"], *recipe.inputs],
        library_versions=merged_versions(before["versions"] if before else {}, recipe.versions),
        markers=[*of_before, *markers],
        lineage=recipe.lineage,
    )
    if isinstance(folder, Draft):
        folder.write_json(MANIFEST, value)
        put_in_place(folder, MANIFEST, recipe.rooms)
        tidy(folder.dataset)
    else:
        put_last(folder, MANIFEST, value)
        folder.remove(RECIPE)
        tidy(folder)
    return Counts.of_json(value["counts"]), markers


def has_a_change_begun(folder: Folder) -> bool:
    """Whether a change of a finished dataset was begun, and some command would still go on with it."""
    own = folder.inside(NEXT)
    if not folder.exists(MANIFEST):
        return own.exists(RECIPE)
    if (begun := recipe_of_draft(own)) is None:
        return False
    now = read_manifest(folder)
    if "retries" in begun:
        return bool(begun["retries"] == fingerprint(now))
    return bool(begun.get("anew") or begun["inputs"] == now["inputs"])


def tidy(folder: Folder) -> None:
    """Take away what a finished dataset does not need; also what a run that was killed while doing so left.

    Half-written files are among it where an engine did a unit again because a worker had died in the middle of it.
    What a run that was stopped goes on with stays: its recipe is there.
    """
    folder.sweep()
    if not has_a_change_begun(folder):
        folder.remove_tree(NEXT)
    for left in folder.names():
        if left.startswith(("_last-", "_journal-")):
            with contextlib.suppress(TakenOver):
                folder.remove(left)
    if not folder.exists(RECIPE):
        for leftover in folder.folders():
            if leftover.startswith("_") and leftover not in (NEXT, LOCKS):
                folder.remove_tree(leftover)
