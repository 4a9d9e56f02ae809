"""How a draft takes a dataset's place: from the moment its journal is there it happens, whoever dies in between.

The journal names the files that come and those that go. It is published when the draft is whole, and goes when all is
in place. Whoever opens the dataset in between refuses to read it; whoever holds its lock next does the rest.

On a disk it is `_journal.json`. On a store it lies with the draft, and is published by the note that says who holds the
folder (`schemas.lock`): only the holder can. There it also has the tag of every object that it names: who was paused
and goes on late does nothing that is done already, and nothing to what was made after it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from schemas.conditions import Changed, Condition, Source
from schemas.draft import NEXT, Draft
from schemas.folder import RECIPE, Folder, is_work, rename, sync
from schemas.lock import publishes
from schemas.objects import objects_of
from schemas.planning import NotThereYet
from schemas.shapes import COUNT, INSIDE, TEXT, Shape, misfit, or_none

JOURNAL = "_journal.json"
_GOES: Mapping[str, Shape] = {"name": INSIDE, "etag": or_none(TEXT)}
_COMES: Mapping[str, Shape] = {**_GOES, "source": INSIDE, "size": COUNT, "source_etag": or_none(TEXT)}
_SHAPE: Mapping[str, Shape] = {"comes": [_COMES], "goes": [_GOES]}
_LAST = re.compile(r"_last-[0-9a-f]{32}\.json")
_AT_ONCE = 16
"""Requests that a store is sent at the same time."""


@dataclass(frozen=True)
class _File:
    """A file of the dataset that a journal names."""

    name: str
    etag: str | None = None
    """Its tag before the change, on a store."""


@dataclass(frozen=True)
class _Comes(_File):
    """A file that takes its place in the dataset."""

    source: str = ""
    """Where it lies until then."""
    size: int = 0
    source_etag: str | None = None


@dataclass(frozen=True)
class _Journal:
    """What a journal says."""

    comes: Sequence[_Comes]
    """The last is the one that makes the dataset whole."""
    goes: Sequence[_File] = ()
    """Files of the dataset, and on a store whatever else lies where the draft is."""

    def to_json(self) -> dict[str, Any]:
        """As `read` takes it."""
        return {"comes": [asdict(file) for file in self.comes], "goes": [asdict(file) for file in self.goes]}

    @classmethod
    def read(cls, folder: Folder, name: str) -> _Journal:
        """That of this name in a folder.

        Raises:
            ValueError: if it was tampered with.
        """
        value = folder.read_json(name)
        if fault := misfit(value, _SHAPE) or _fault_of_names(folder, value):
            raise ValueError(f"{folder.path(name)}: was damaged after writing ({fault}); make the dataset again")
        return cls(
            [_Comes(**{field: file[field] for field in _COMES}) for file in value["comes"]],
            [_File(**{field: file[field] for field in _GOES}) for file in value["goes"]],
        )


def _fault_of_names(folder: Folder, value: Mapping[str, Any]) -> str:
    """What no journal of ours would say: files come from a draft, and all that changes is in the folder itself."""
    if not value["comes"]:
        return "nothing comes"
    for file in value["comes"]:
        name, source = file["name"], file["source"]
        if is_work(name) or (source != f"{NEXT}/{name}" and not _LAST.fullmatch(source)):
            return f"{source} is to become {name}"
    files = [file["name"] for file in value["comes"]] + [file["name"] for file in value["goes"]]
    linked = (folder.linked(name) for name in (f"{NEXT}/any", *files))
    return next((f"{name} is a link to elsewhere" for name in linked if name), "")


def put_in_place(draft: Draft, last: str, rooms: Sequence[str] = ()) -> None:
    """Put a whole draft in the place of its dataset.

    Args:
        draft: of the dataset, whose lock is held.
        last: the file that says that the dataset is whole.
        rooms: sub-folders that belong to the dataset as its shards do.
    """
    own, dataset, claim = draft.own, draft.dataset, draft.claim
    tags, contents = own.etags(), draft.contents()
    if claim is not None:  # a run that was paused may have put what is not of this draft
        contents = [name for name in contents if claim.owns(own.fs, own.path(name), tags.get(own.path(name), ""))]

    def comes(name: str) -> _Comes:
        return _Comes(name, _before(dataset, name), f"{NEXT}/{name}", own.size(name), tags.get(own.path(name)))

    goes = [_File(name, _before(dataset, name)) for name in draft.goners(rooms)]
    if draft.hides and dataset.exists(RECIPE):
        goes.append(_File(RECIPE, _before(dataset, RECIPE)))  # of an extension of what is no more
    if claim is not None:
        work = (name for name in own.walk() if is_work(name))
        goes += [_File(f"{NEXT}/{name}", tags[own.path(name)]) for name in work if own.path(name) in tags]
    contents.remove(last)
    _publish(dataset, _Journal([comes(name) for name in (*contents, last)], goes))


def put_last(folder: Folder, name: str, value: Any) -> None:
    """Write the JSON file that makes a folder a dataset.

    On a store this too is done by who holds the folder at that moment, or by nobody.
    """
    if folder.claim is None:
        folder.write_json(name, value)
        return
    source = f"_last-{folder.claim.run}.json"
    record = folder.write_json(source, value)
    tag = objects_of(folder.fs).etag(folder.path(source))
    _publish(folder, _Journal([_Comes(name, _before(folder, name), source, record.size, tag)]))


def _before(folder: Folder, name: str) -> str | None:
    """The tag of what has had the name since the run began."""
    return folder.claim.condition(folder.path(name)).etag if folder.claim else None


def _publish(folder: Folder, journal: _Journal) -> None:
    if folder.claim is None or folder.claim.lock is None:
        folder.write_json(JOURNAL, journal.to_json())
    else:
        name = f"_journal-{folder.claim.run}.json"
        folder.write_json(name, journal.to_json())
        folder.claim.lock.publish(name)
    roll_forward(folder)


def is_between(folder: Folder) -> bool:
    """Whether a draft is just taking the place of the dataset, or was when its run was killed."""
    return folder.exists(JOURNAL) if folder.is_local else publishes(folder) is not None


def check_not_between(folder: Folder) -> None:
    """Check that a dataset is all of one state.

    Raises:
        ValueError: if it is just being replaced, or was when its run was killed.
    """
    if is_between(folder):
        raise ValueError(
            f"{folder}: a change of this dataset is not all in place yet; if no run is at work on it, run the command "
            "that changed it again, or any job that reads it"
        )


def check_awaits_nothing(folder: Folder) -> None:
    """Check, for a plan, that no change of what is read is half in place, which whoever reads it would put in place.

    Raises:
        NotThereYet: if one is.
    """
    if is_between(folder):
        raise NotThereYet(
            f"{folder}: a change of it is not all in place yet; who reads it next does the rest", folder.url
        )


def roll_forward(folder: Folder) -> None:
    """Do what is left of what a journal says; the folder's lock is held.

    Raises:
        ValueError: if a file that the journal names is nowhere.
    """
    if folder.is_local:
        _on_disk(folder)
    else:
        _on_store(folder)


def _on_disk(folder: Folder) -> None:
    journal = _Journal.read(folder, JOURNAL)
    for file in journal.comes:
        if not folder.exists(file.source) and not folder.exists(file.name):
            raise ValueError(f"{folder.path(file.name)}: {JOURNAL} names it and it is nowhere; make the dataset again")
    *files, last = journal.comes
    _rename(folder, files)
    for gone in journal.goes:
        folder.remove(gone.name)
    _drop_empty_folders(folder, journal.goes)
    _rename(folder, [last])
    folder.remove(f"{NEXT}/{RECIPE}")  # a draft without one is nothing that anybody goes on with
    folder.remove(JOURNAL)
    folder.remove_tree(NEXT)


def _rename(folder: Folder, files: Sequence[_Comes]) -> None:
    changed = set()
    for file in files:
        final = folder.path(file.name)
        os.makedirs(os.path.dirname(final), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # in place since a run that was killed
            rename(folder.path(file.source), final)
        changed.add(os.path.dirname(final))
    for parent in sorted(changed):
        sync(parent)


def _drop_empty_folders(folder: Folder, gone: Sequence[_File]) -> None:
    """Those that had nothing but what has gone."""
    for parent in sorted({parent for file in gone for parent in PurePosixPath(file.name).parents}, reverse=True):
        if parent.parts:
            with contextlib.suppress(OSError):  # something else is in it
                os.rmdir(folder.path(str(parent)))


def _on_store(folder: Folder) -> None:
    """A store has no rename: it copies, and then the source goes."""
    name, claim = publishes(folder), folder.claim
    assert name is not None and claim is not None and claim.lock is not None  # noqa: PT018
    journal, objects, run = _Journal.read(folder, name), objects_of(folder.fs), claim.run
    strangers: list[str] = []

    def move(file: _Comes) -> None:
        source = Source(folder.path(file.source), file.size, file.source_etag)
        try:
            objects.copy(source, folder.path(file.name), Condition(file.etag, run))
        except Changed:  # in place since a run that was killed, unless something else lies where it came from
            if objects.etag(source.path) not in (None, file.source_etag):
                strangers.append(source.path)
        delete(_File(file.source, file.source_etag))

    def delete(file: _File) -> None:
        with contextlib.suppress(Changed):  # gone, and another has its name
            objects.delete(folder.path(file.name), Condition(file.etag, run))

    *files, last = journal.comes
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(move, files))
        list(pool.map(delete, journal.goes))
    if strangers:
        claim.lock.publish(name)  # or another run holds the folder, whose they are
        raise ValueError(
            f"{strangers[0]}: is not the object that {folder.path(name)} is about, as after a copy of the folder; make "
            "the dataset again"
        )
    move(last)
    claim.lock.publish(None)
    folder.remove(name)
