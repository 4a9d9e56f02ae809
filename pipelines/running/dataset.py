"""What surrounds the work of every job: its folder held, a decision, a word to the user, and at last the manifest."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.running.finishing import JobFailed, finish, has_a_change_begun, tidy
from pipelines.running.output import Decision, IncrementalMode, begin, decide, forget_what_is_done, output_of
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from schemas.commands.ending import cause_outside
from schemas.draft import NEXT
from schemas.exit_codes import NOTHING_KEPT, OK
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.manifest import MANIFEST, Counts, Marker, read_manifest
from schemas.opening import settle
from schemas.output_place import made

_WITH_ROWS = ("pairs", "examples")
"""Tables of datasets in which something should have been kept."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What a run does between its decision and its manifest."""

    do: Callable[[], Mapping[str, Any] | None]
    """Leaves every unit done; may give what only the work could tell, for the manifest's options."""
    units: Sequence[Unit] = ()
    """With their fingerprints."""


@dataclass(frozen=True)
class Made:
    """A finished dataset."""

    counts: Counts
    markers: Sequence[Marker]
    """Of the units of this run."""
    already: bool = False
    """Whether it was finished before this run, which had nothing to do."""


@contextlib.contextmanager
def output_folder(url: str) -> Iterator[Folder]:
    """The folder, made where there is none, held by this run alone, and without what a killed run left unfinished.

    Raises:
        FolderInUse: if another run holds it.
        OSError: if it cannot be made or written to.
    """
    with made(Folder(url)), only_run(Folder(url)) as folder:
        folder = settle(folder)
        forget_what_is_done(folder)
        folder.sweep()
        yield folder


def make_dataset(
    folder: Folder,
    recipe: Recipe,
    mode: IncrementalMode,
    prepare: Callable[[Folder, Decision], Steps],
    *,
    also_finished: bool = False,
) -> Made:
    """Make a dataset, or what is missing of it.

    Args:
        folder: the output folder, held.
        recipe: what the dataset is made from.
        mode: what may be done to what is there.
        prepare: plans the run, which writes to the folder that it is given; may refuse its inputs, for nothing of the
            dataset is changed before it returns.
        also_finished: go through a finished dataset once more, for what it has beside its shards.

    Raises:
        ValueError: if the folder was made by or from something else and the mode does not say what to do about it.
        JobFailed: naming the first unit that is not done.
    """
    decision = decide(folder, recipe, mode)
    if decision.notice:
        print(decision.notice, file=sys.stderr)
    if decision.finished and not also_finished:
        print(f"{folder}: is finished already, nothing to do", file=sys.stderr)
        tidy(folder)
        if has_a_change_begun(folder):
            print(
                f"{folder}: a change of it was begun and lies in {NEXT}; the command that began it goes on with it, or "
                "delete that folder",
                file=sys.stderr,
            )
        return Made(Counts.of_json(decision.finished["counts"]), (), already=True)
    output = output_of(folder, decision)
    steps = prepare(output, decision)
    begin(output, recipe, decision)
    try:
        learnt = steps.do() or {}
    except (ValueError, OSError) as error:  # of data that turned out to be damaged: something was written by now
        raise JobFailed(cause_outside(error) or str(error)) from error
    whole = replace(recipe, options={**recipe.options, **learnt})
    return Made(*finish(output, whole, steps.units, before=decision.extends))


def exit_code(folder: Folder, made: Made) -> int:
    """What a job that leaves a dataset ends with: whatever happened on the way, the manifest is on storage.

    Raises:
        JobFailed: if it is not.
    """
    try:
        there = read_manifest(folder)
    except (ValueError, OSError) as error:
        raise JobFailed(f"{error}; the same command goes on from there") from error
    if made.counts != Counts.of_json(there["counts"]):
        raise JobFailed(f"{folder.path(MANIFEST)}: is not the one that this run wrote; run the same command again")
    return NOTHING_KEPT if not made.counts.kept and there["table"] in _WITH_ROWS else OK
