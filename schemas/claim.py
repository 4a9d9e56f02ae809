"""What a run knows of a store's folder that it holds: what lay there when it began, and what it has put there since.

With it every change carries a condition (`schemas.objects`): a run that was paused until another took its folder over
can neither overwrite nor delete what that one has made. A disk needs none of it, for there a lock ends with its holder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from fsspec import AbstractFileSystem

from schemas.conditions import Changed, Condition
from schemas.objects import objects_of


class Lock(Protocol):
    """What says in a store who holds the folder, and whether a change of it is just being put in place."""

    run: str
    """Tells its holder from all other runs."""
    publishes: str | None
    """The journal of that change."""

    def publish(self, journal: str | None) -> None:
        """Say that a change is being put in place from now on, or that all of it is.

        Raises:
            TakenOver: if another run holds the folder.
        """
        ...


class TakenOver(RuntimeError):
    """Another run has changed the folder since this one began; what it says is for the user."""


@dataclass(frozen=True)
class Claim:
    """Of one run, on one folder and all that is in it."""

    run: str
    """Tells the run from all others."""
    seen: Mapping[str, str]
    """By path the tag of each object that lay there when the run began."""
    lock: Lock | None = field(default=None, compare=False)
    """None in workers."""
    changed: dict[str, str | None] = field(default_factory=dict, compare=False)
    """By path the tag of what this process has put since; None of what it has deleted."""

    @classmethod
    def taken(cls, lock: Lock, look: Callable[[], Mapping[str, str]]) -> Claim:
        """The claim of who has just taken a folder.

        Args:
            lock: of the folder.
            look: gives the tags of what lies there; nothing of another run's is among them, or this fails.

        Raises:
            TakenOver: if another run has taken the folder meanwhile.
        """
        seen = look()
        lock.publish(lock.publishes)
        return cls(lock.run, seen, lock)

    def __reduce__(self) -> tuple[Any, ...]:
        now = {**self.seen, **self.changed}
        return Claim, (self.run, {path: tag for path, tag in now.items() if tag})

    def __hash__(self) -> int:
        return hash(self.run)

    def only(self, is_wanted: Callable[[str], bool]) -> Claim:
        """For a worker that changes nothing but objects whose paths are wanted."""
        return replace(self, seen={path: tag for path, tag in self.seen.items() if is_wanted(path)})

    def condition(self, path: str) -> Condition:
        """Under which this run may change an object."""
        return Condition(self.changed[path] if path in self.changed else self.seen.get(path), self.run)

    def owns(self, fs: AbstractFileSystem, path: str, etag: str) -> bool:
        """Whether an object of this tag was there when the run began, or is its own."""
        return etag in (self.seen.get(path), self.changed.get(path)) or objects_of(fs).is_of(path, self.run)

    def put(self, fs: AbstractFileSystem, path: str, content: bytes | Path) -> None:
        """Put an object in place, whole.

        Raises:
            TakenOver: if another run has changed it.
        """
        with _told(path):
            self.changed[path] = objects_of(fs).put(path, content, self.condition(path))

    def delete(self, fs: AbstractFileSystem, path: str) -> None:
        """Delete an object, if it is there.

        Raises:
            TakenOver: if another run has changed it.
        """
        with _told(path):
            objects_of(fs).delete(path, self.condition(path))
            self.changed[path] = None


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Tells the user of an object that is not what it was."""
    try:
        yield
    except Changed:
        raise TakenOver(
            f"{path}: another run has put or deleted it since this one began, so this one stops; the same command goes "
            "on when the other has ended"
        ) from None
