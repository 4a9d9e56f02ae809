"""Checkpoints in a second place, such as an object store: a machine that has none goes on from there.

A checkpoint is written to the output folder first, then copied, by each process the part that it wrote and by the first
one what describes the parts: so a store has whole checkpoints, or none. A later one than the output folder has is
fetched before a training begins. The store belongs to one training, which its `recipe.json` names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dalle.training.model_folder import ModelRecipe, check_same
from dalle.training.options import LoopOptions
from dalle.training.ranks import Ranks
from dalle.training.set_aside import CHECKPOINTS
from dalle.training.sharded_checkpoint import all_did
from dalle.training.stored_checkpoint import drop_old, is_description, is_part, names, parts_of, steps_of
from dalle.training.tensor_reader import read_header
from schemas.contents import OF_THE_DISK
from schemas.folder import RECIPE, FileRecord, Folder, Staging
from schemas.lock import FolderInUse, only_run
from schemas.manifest import read_recipe
from schemas.output_place import check_can_be_made
from schemas.ranges import MOST_STEPS


class CheckpointStore:
    """The second place, held by this training alone.

    Args:
        folder: the place.
        output: the output folder.
        ranks: the processes that train.
    """

    def __init__(self, folder: Folder, output: Path, ranks: Ranks) -> None:
        self._folder, self._output, self._ranks = folder, Folder(output), ranks

    def fetch(self, recipe: ModelRecipe, steps: int = MOST_STEPS, *, anew: bool) -> str:
        """Copy the newest checkpoint to the output folder if it has no later one; called on the first process alone.

        Args:
            recipe: of this training.
            steps: how many it is to have done at its end.
            anew: whether it is not to go on from anything.

        Returns:
            the path of what was copied; empty if nothing was.

        Raises:
            ValueError: if the store is another training's, holds checkpoints although nothing is to be gone on from, or
                more steps are done there than are asked for.
        """
        store, local, found = self._folder, self._local, names(self._folder)
        if found and anew:
            raise ValueError(
                f"{store}: holds checkpoints, which --incremental_mode overwrite would mix with new ones; delete them "
                "or give another --checkpoint_store"
            )
        new = recipe.to_json()
        if store.exists(RECIPE):
            old = read_recipe(store, RECIPE)
            if old["job"] != recipe.job:
                raise ValueError(f"{store}: holds checkpoints of {old['job']}; give another --checkpoint_store")
            check_same(store, old, new, "or another --checkpoint_store")
        elif found:
            raise ValueError(
                f"{store}: holds checkpoints but no {RECIPE}, so it is no store of a training; give another "
                "--checkpoint_store"
            )
        if not found or ((here := names(local)) and steps_of(here[-1]) >= steps_of(found[-1])):
            return ""
        if (done := steps_of(found[-1])) > steps:
            raise ValueError(
                f"{store}: {done:,} steps are done, more than --steps {steps}; give --steps {done} or more, or another "
                "--checkpoint_store"
            )
        if not self._output.exists(RECIPE):
            self._output.write_json(RECIPE, read_recipe(store, RECIPE))
        for record in [*self._parts(store, found[-1]), self._whole(store, found[-1])]:
            _copy(store, local, record)
        return store.path(found[-1])

    def keep(self, recipe: ModelRecipe) -> None:
        """Copy the newest checkpoint of the output folder; called as checkpoints are written.

        Raises:
            OSError, CommandFailed: if it cannot be.
        """
        together = self._ranks.together
        count = self._ranks.shard if together else 1
        name = names(self._local)[-1] if self._ranks.rank < count else ""

        def copy_part() -> dict[str, Any]:
            parts = self._parts(self._local, name)
            for record in parts[self._ranks.rank : self._ranks.rank + 1]:
                _copy(self._local, self._folder, record)
            return {}

        def copy_rest() -> dict[str, Any]:
            self._folder.write_json(RECIPE, recipe.to_json())
            _copy(self._local, self._folder, self._whole(self._local, name))
            drop_old(self._folder)
            return {}

        if together:
            all_did(self._ranks, count, copy_part)
            all_did(self._ranks, 1, copy_rest)
        else:
            copy_rest()

    @property
    def _local(self) -> Folder:
        return self._output.inside(CHECKPOINTS)

    @staticmethod
    def _parts(folder: Folder, name: str) -> list[FileRecord]:
        parts: list[Mapping[str, Any]] = list(parts_of(read_header(folder, name).metadata))
        return [FileRecord(str(part["name"]), str(part["sha256"]), int(part["size"])) for part in parts]

    @staticmethod
    def _whole(folder: Folder, name: str) -> FileRecord:
        return FileRecord(name, "", folder.size(name))


def checked_place(url: str, output_folder: Path) -> Folder:
    """The second place, if checkpoints can go there; nothing is made.

    Raises:
        ValueError: if it is the output folder, no place, or holds something else.
    """
    place = _place(url)
    root = Path(place.root).resolve()
    if place.is_local and output_folder.resolve() in (root, root.parent):
        raise ValueError(
            f"--checkpoint_store {url}: is the output folder, where checkpoints are anyway; give another place"
        )
    check_can_be_made(place, "give another --checkpoint_store")
    _check_nothing_foreign(place)
    return place


@contextlib.contextmanager
def opened(options: LoopOptions, ranks: Ranks) -> Iterator[CheckpointStore | None]:
    """The second place that the options name, if they name one; the first process holds it for all.

    Raises:
        ValueError: if it is the output folder, no place, or holds something else.
        FolderInUse: if another training holds it.
    """
    if options.checkpoint_store is None:
        yield None
        return
    if not ranks.first:
        yield CheckpointStore(_place(options.checkpoint_store), options.output_folder, ranks)
        return
    place = checked_place(options.checkpoint_store, options.output_folder)
    try:
        place.make()
    except OSError as error:
        raise ValueError(f"--checkpoint_store {place}: {error.strerror or error}; give another place") from None
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(only_run(place))
        except FolderInUse:
            raise FolderInUse(
                f"{place}: another training keeps its checkpoints there; wait for it to end or give another "
                "--checkpoint_store"
            ) from None
        for name in filter(_is_unfinished, held.names()):
            held.remove(name)
        yield CheckpointStore(held, options.output_folder, ranks)


def _place(url: str) -> Folder:
    try:
        if url:
            return Folder(url)
        reason = "names no place"
    except (ValueError, ImportError) as error:  # a protocol that nobody knows, or whose package is not installed
        reason = str(error)
    raise ValueError(f"--checkpoint_store {url!r}: {reason}; give a folder or an fsspec URL")


def _check_nothing_foreign(place: Folder) -> None:
    """Nobody else's folder becomes a store: its recipe would make of a dataset, or of a model, an unfinished one."""
    others = (
        name
        for name in [*place.names(), *place.folders()]
        if not name.startswith((".", "_")) and name not in OF_THE_DISK
    )
    foreign = next((name for name in others if not _is_ours(name) and not _is_unfinished(name)), None)
    if foreign is not None:
        raise ValueError(
            f"{place}: holds '{foreign}', so it is no store of checkpoints; give an empty --checkpoint_store"
        )


def _is_ours(name: str) -> bool:
    return is_part(name) or is_description(name)


def _is_unfinished(name: str) -> bool:
    """Whether a file of this name is a checkpoint's that was being written when its process was killed."""
    whole, mark, _ = name.partition(".tmp-")
    return bool(mark) and _is_ours(whole)


def _copy(source: Folder, target: Folder, record: FileRecord) -> None:
    target.make()
    with Staging(target) as staging:
        staging.link(source, record)
        staging.publish()
