"""The objects of a store, whichever it is: those of S3 with its own conditions, others with conditions of ours."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fsspec import AbstractFileSystem

from schemas.conditions import Changed, Condition, Objects, Source
from schemas.s3_objects import S3Objects
from schemas.uploads import in_time

KINDS: dict[str, Callable[[Any], Objects]] = {"s3": S3Objects, "s3a": S3Objects}
"""By protocol; the stores of all other protocols are `CheckedObjects`."""


def objects_of(fs: AbstractFileSystem) -> Objects:
    """The objects of a store."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    return next((KINDS[name](fs) for name in protocols if name in KINDS), CheckedObjects(fs))


class CheckedObjects:
    """A store whose package has no conditions but that a name be free: they are checked a moment before."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs

    def etag(self, path: str) -> str | None:
        """The object's tag; None if there is none."""
        try:
            info = self._fs.info(path)
        except FileNotFoundError:
            return None
        return etag_of(info)

    def is_of(self, path: str, run: str) -> bool:
        """Yes: such a store does not say."""
        return True

    def put(self, path: str, content: bytes | Path, condition: Condition) -> str:
        """Put bytes, or a file's, in one step; gives the new tag."""
        if self.etag(path) not in (None, condition.etag) and not self._is_there(path, content):
            raise Changed(path)
        if isinstance(content, bytes):
            in_time(self._fs, self._fs.pipe_file, path, content, what=path, size=len(content))
        else:
            size = content.stat().st_size
            in_time(self._fs, self._fs.put_file, str(content), path, what=path, size=size)
        return self.etag(path) or ""

    def copy(self, source: Source, new: str, condition: Condition) -> None:
        """Copy an object in one step."""
        if self.etag(source.path) != source.etag or self.etag(new) not in (None, condition.etag):
            raise Changed(new)
        in_time(self._fs, self._fs.cp_file, source.path, new, what=new, size=source.size)

    def delete(self, path: str, condition: Condition) -> None:
        """Delete an object; nothing if there is none."""
        if (etag := self.etag(path)) is None:
            return
        if etag != condition.etag:
            raise Changed(path)
        self._fs.rm_file(path)

    def _is_there(self, path: str, content: bytes | Path) -> bool:
        """Whether the very bytes are there: put by this run, perhaps, which cannot be told here."""
        if (there := self.etag(path)) is None:
            return False
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if self._fs.size(path) != size:
            return False
        with self._fs.open(path, "rb") as theirs, _reading(content) as ours:
            while piece := ours.read(1 << 20):
                if theirs.read(len(piece)) != piece:
                    return False
        return there == self.etag(path)


def _reading(content: bytes | Path) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def etag_of(info: dict[str, Any]) -> str:
    """What tells an object from another that had its name before, out of what a file system says of it."""
    return str(info.get("ETag") or info.get("etag") or info.get("generation") or info.get("created") or info["size"])
