"""Objects of a store, changed only while they are what they were seen to be: no run overwrites another's by mistake.

A store has no locks that end with their holder, and a run that was paused for an hour may wake and go on. So what a
run puts, copies and deletes carries a condition, which the store itself checks in the same step: the name is free, or
has the entity tag (ETag) that the run saw. S3 and what speaks its language know that for every change. For other
stores the condition is checked a moment before, which is as good as their fsspec packages allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Changed(RuntimeError):
    """An object is not what it was seen to be: another run is at work there."""


@dataclass(frozen=True)
class Condition:
    """What must lie under a name for it to be changed; a name that is free always may be taken."""

    etag: str | None
    """The tag seen there; None if nothing was."""
    run: str
    """Who changes it: what this run has put there itself may always be changed by it."""


@dataclass(frozen=True)
class Source:
    """An object to be copied."""

    path: str
    size: int
    """Bytes."""
    etag: str | None
    """The tag that was seen."""


class Objects(Protocol):
    """A store's objects. Paths are as its file system has them, without the protocol."""

    def etag(self, path: str) -> str | None:
        """The object's tag; None if there is none."""
        ...

    def is_of(self, path: str, run: str) -> bool:
        """Whether a run has put the object, as far as the store can say."""
        ...

    def put(self, path: str, content: bytes | Path, condition: Condition) -> str:
        """Put bytes, or a file's, in one step; gives the new tag.

        Raises:
            Changed: if the condition does not hold.
        """
        ...

    def copy(self, source: Source, new: str, condition: Condition) -> None:
        """Copy an object in one step; the condition is of the new name.

        Raises:
            Changed: if the condition does not hold, or the source is not what was seen.
        """
        ...

    def delete(self, path: str, condition: Condition) -> None:
        """Delete an object; nothing if there is none.

        Raises:
            Changed: if the condition does not hold.
        """
        ...
