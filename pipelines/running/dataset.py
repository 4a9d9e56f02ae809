"""What surrounds the work of every job: its folder held, a decision, a word to the user, and at last the manifest."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.running.finishing import finish, tidy
from pipelines.running.output import Decision, IncrementalMode, begin, decide, forget_what_is_done, output_of
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.manifest import Counts, Marker
from schemas.opening import settle


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
    folder = Folder(url)
    folder.make()
    with only_run(folder) as folder:
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
        return Made(Counts.of_json(decision.finished["counts"]), (), already=True)
    output = output_of(folder, decision)
    steps = prepare(output, decision)
    begin(output, recipe, decision)
    learnt = steps.do() or {}
    whole = replace(recipe, options={**recipe.options, **learnt})
    return Made(*finish(output, whole, steps.units, before=decision.extends))
