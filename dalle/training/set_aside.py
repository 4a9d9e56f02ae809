"""Where a training stood that is to be overwritten stays until the new one has its first checkpoint.

Its checkpoints and log are moved into `_replaced/` when another begins in its place, and deleted once that has
something to go on from. If it ends before, however it ends, the next training finds `_replaced/` and puts all of it
back. Finished weights and their manifest are not moved: they stay until those of the new training take their place.
Only files that a training writes are moved: what else lies in the folder is somebody's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dalle.training import checkpoint
from dalle.training.logs import LOG, TENSORBOARD
from schemas.folder import RECIPE

CHECKPOINTS = "checkpoints"
ASIDE = "_replaced"
_ALL_MOVED = "all_moved"


def set_aside(folder: Path) -> None:
    """Move what a training left; what says whose the folder is goes last, a note that all is moved after it."""
    for name in list(_own_files(folder)):
        _move(folder / name, folder / ASIDE / name)
    (folder / ASIDE).mkdir(exist_ok=True)
    (folder / ASIDE / _ALL_MOVED).touch()
    _drop_empty_rooms(folder)


def is_set_aside(folder: Path) -> bool:
    """Whether a run that was to replace a model ended before it was clear which of them stays."""
    return (folder / ASIDE).is_dir()


def settle(folder: Path) -> None:
    """Delete what was set aside if the new run has a checkpoint, else put it back; nothing if nothing was."""
    aside = folder / ASIDE
    if not aside.is_dir():
        return
    if (aside / _ALL_MOVED).exists():
        if checkpoint.latest(folder / CHECKPOINTS) is not None:
            shutil.rmtree(aside)
            return
        for name in list(_own_files(folder)):  # of the run that came to nothing
            (folder / name).unlink()
        (aside / _ALL_MOVED).unlink()
    for name in list(_own_files(aside)):
        _move(aside / name, folder / name)
    shutil.rmtree(aside)
    _drop_empty_rooms(folder)


def _own_files(folder: Path) -> Iterator[str]:
    """Names of the files in a folder that a training writes, in the order in which they are moved."""
    for path in checkpoint.files(folder / CHECKPOINTS):
        yield f"{CHECKPOINTS}/{path.name}"
    for path in sorted((folder / TENSORBOARD).glob("events.out.tfevents.*")):
        yield f"{TENSORBOARD}/{path.name}"
    for name in (LOG, RECIPE):
        if (folder / name).is_file():
            yield name


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def _drop_empty_rooms(folder: Path) -> None:
    for name in (CHECKPOINTS, TENSORBOARD):
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()
