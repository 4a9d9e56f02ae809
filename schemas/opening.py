"""How a job opens a dataset that it reads: if a change of it was left half in place, that is put in place first."""

from __future__ import annotations

from typing import Any

from schemas.claim import Claim
from schemas.folder import Folder
from schemas.journal import check_not_between, is_between, roll_forward
from schemas.lock import only_run
from schemas.manifest import MANIFEST, Marker, fingerprint, read_manifest
from schemas.manifest_shape import ANY_OPTIONS, OptionsByTable
from schemas.planning import is_planning, reads


def open_dataset(
    folder: Folder, *, table: str | tuple[str, ...] = (), options: OptionsByTable = ANY_OPTIONS
) -> dict[str, Any]:
    """The manifest of a dataset that a job reads.

    Args:
        folder: the dataset's.
        table: what it must hold, such as `pairs`, or one of several; without it anything.
        options: those that it must have been made with, by table, and of which kind they are.

    Raises:
        ValueError: if it is no finished dataset of this table, or was damaged.
        FolderInUse: if a run is just putting a change of it in place.
    """
    reads(folder.url)
    if is_between(folder) and not is_planning():
        with only_run(folder) as held:
            settle(held)
    return read_manifest(folder, table=table, options=options)


def check_unchanged(folder: Folder, shard: str, files: str) -> None:
    """Check, after a shard was read, that all the time it was the one that the manifest named when the job began.

    A change publishes its journal before it touches a file, and gives the shard another marker. A finished dataset that
    came here without markers was changed by none; without a manifest either, it is just being made anew.

    Args:
        folder: the dataset's.
        shard: its number, in digits.
        files: the fingerprint of what the manifest said of the shard's files.

    Raises:
        ValueError: if it was changed since.
    """
    check_not_between(folder)
    try:
        changed = fingerprint({file.name: file.to_json() for file in Marker.read(folder, shard).files}) != files
    except FileNotFoundError:
        changed = not folder.exists(MANIFEST)
    if changed:
        raise ValueError(
            f"{folder}: its shard {shard} was changed while this job read it; run the command again, with "
            "--incremental_mode overwrite, when nobody changes the dataset"
        )


def settle(folder: Folder) -> Folder:
    """Put in place what a run had begun to put in place when it was killed; the folder's lock is held.

    Returns:
        The folder, whose claim knows what lies there now.
    """
    if not is_between(folder):
        return folder
    roll_forward(folder)
    lock = folder.claim.lock if folder.claim else None
    return folder.claimed(Claim.taken(lock, folder.etags)) if lock else folder
