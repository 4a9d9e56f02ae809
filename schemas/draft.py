"""The next state of a finished dataset, made beside it: until it is put in place the dataset is as it was.

    clean/_next/00000.tar, 00000_stats.json, dedup/matches.parquet, …   what is new or other than before
    clean/_next/_gone/dedup/overlap-birds.txt                           an empty file for each that is to go
    clean/_next/_recipe.json                                            what the next state is made from
    clean/_next/_plan, _failed, …                                       work on it, never part of a dataset

A job writes into a draft as into any folder, and reads through it to what it has not written. `schemas.journal` puts
the draft in the dataset's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

from schemas.claim import Claim
from schemas.folder import Folder, is_work

NEXT = "_next"
"""Sub-folder of a dataset's folder where its next state is made."""
_GONE = "_gone"


class Draft(Folder):
    """A folder that is read through to the dataset under it; what is written or removed does not touch that.

    Args:
        dataset: the finished one.
        hides: show nothing of the dataset: all is made anew, and what is not made anew goes.
        room: the sub-folder, where the draft is one of a sub-folder.

    Raises:
        ValueError: if `_next` is a symbolic link.
    """

    def __init__(self, dataset: Folder, *, hides: bool = False, room: str = "") -> None:
        dataset.changeable(f"{NEXT}/any")
        super().__init__("/".join(part for part in (dataset.url.rstrip("/"), NEXT, room) if part), dataset.claim)
        self.dataset = dataset
        self.hides = hides
        self._room = room
        self._under = dataset.inside(room) if room else dataset
        self._gone = dataset.inside("/".join(part for part in (NEXT, _GONE, room) if part))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _draft, (self.dataset, self.hides, self._room)

    def __str__(self) -> str:
        return str(self._under)

    @property
    def own(self) -> Folder:
        """What was written into the draft, without what is under it."""
        return Folder(self.url, self.claim)

    def claimed(self, claim: Claim) -> Draft:
        """The same draft for a run that holds its dataset."""
        return Draft(self.dataset.claimed(claim), hides=self.hides, room=self._room)

    def inside(self, name: str) -> Draft:
        """The sub-folder of this name."""
        self.path(name)
        return Draft(self.dataset, hides=self.hides, room=f"{self._room}/{name}" if self._room else name)

    def _entries(self, inside: str, kind: str) -> list[str]:
        entries = set(super()._entries(inside, kind))
        if not self.hides and not is_work(inside):
            under = self._under._entries(inside, kind)
            gone = set(self._gone.names(inside)) if under and kind == "file" else set()
            entries.update(name for name in under if not is_work(name) and name not in gone)
        return sorted(entries - {NEXT, _GONE})

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return super().exists(name) or self._shows(name)

    def size(self, name: str) -> int:
        """Size of the file in bytes."""
        return self._holder(name).size(name)

    def open(self, name: str) -> IO[bytes]:
        """The file, for reading."""
        return self._holder(name).open(name)

    def remove(self, name: str) -> None:
        """Have the file be gone, if it is there."""
        if self._shows(name):
            self._gone.write(name, b"")
        super().remove(name)

    def remove_tree(self, name: str) -> None:
        """Have a sub-folder be gone with all that is in it, if it is there."""
        if not self.hides and not is_work(name):
            for file in self._under.walk(name):
                self.remove(file)
        super().remove_tree(name)

    def contents(self) -> list[str]:
        """Names of the files that the draft brings, sorted."""
        return [name for name in self.own.walk() if not is_work(name)]

    def goners(self, rooms: Sequence[str]) -> list[str]:
        """Names of the dataset's files that go, sorted.

        Args:
            rooms: sub-folders that belong to the dataset as its shards do; what the draft hides of them goes.
        """
        gone = set(self._gone.walk())
        if self.hides:
            gone.update(name for name in self.dataset.names() if name[:1].isdigit())
            gone.update(name for room in rooms for name in self.dataset.walk(room))
        return sorted({name for name in gone if not is_work(name)} - set(self.contents()))

    def _shows(self, name: str) -> bool:
        """Whether the dataset has the file and nothing hides it."""
        return not (self.hides or is_work(name)) and self._under.exists(name) and not self._gone.exists(name)

    def _holder(self, name: str) -> Folder:
        own = self.own
        return own if self.hides or is_work(name) or own.exists(name) or self._gone.exists(name) else self._under


def _draft(dataset: Folder, hides: bool, room: str) -> Draft:
    return Draft(dataset, hides=hides, room=room)
