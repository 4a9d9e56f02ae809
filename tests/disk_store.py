"""An object store that outlives its process: objects are files of a folder, put whole, copied, listed, never renamed.

It is for tests that kill processes by the hundred; what a real store does is tested on an S3 server
(`tests.object_store`).
"""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

UNFINISHED = ".put-"
"""How the names begin of what no store would show: an object that was not put to its end."""
CHANGES = ("pipe_file", "put_file", "cp_file", "rm_file")


class DiskStore(AbstractFileSystem):
    """`diskstore:///tmp/bucket/name`."""

    protocol = "diskstore"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._disk = LocalFileSystem()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return "/" + str(path).removeprefix("diskstore://").strip("/")

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """As a store lists: no folder is there that has no object."""
        entries = self._disk.ls(self._strip_protocol(path), detail=True)
        entries = [self.info(e["name"]) for e in entries if self._holds_something(e["name"])]
        if not entries:
            raise FileNotFoundError(path)
        return entries if detail else [e["name"] for e in entries]

    def _holds_something(self, path: str) -> bool:
        names = [path] if os.path.isfile(path) else [name for _, _, files in os.walk(path) for name in files]
        return any(not os.path.basename(name).startswith(UNFINISHED) for name in names)

    def info(self, path: str, **_: Any) -> Any:
        """Of an object, or of what begins the names of some."""
        path = self._strip_protocol(path)
        if os.path.isdir(path) and not self._holds_something(path):
            raise FileNotFoundError(path)
        info = self._disk.info(path)
        if os.path.isfile(path):  # of a copy of all of the store the same
            with open(path, "rb") as file:
                info["ETag"] = f"{hashlib.md5(file.read()).hexdigest()}-{os.stat(path).st_mtime_ns}"
        return info

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: a store has no folders."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Put some bytes."""
        if mode == "create" and os.path.exists(path):
            raise FileExistsError(path)
        _put(path, value)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Put a file's bytes."""
        with open(lpath, "rb") as file:
            _put(rpath, file.read())

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy an object."""
        with open(path1, "rb") as file:
            _put(path2, file.read())

    def rm_file(self, path: str) -> None:
        """Delete an object, if it is there."""
        if os.path.exists(path):
            os.remove(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: Any = None) -> None:
        """Delete objects, one request each."""
        for name in self.find(path) if recursive else [path]:
            self.rm_file(name)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return open(path, mode)


def _put(path: str, value: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    unfinished = f"{os.path.dirname(path)}/{UNFINISHED}{uuid.uuid4().hex}"
    with open(unfinished, "wb") as file:
        file.write(value)
    os.replace(unfinished, path)


fsspec.register_implementation("diskstore", DiskStore, clobber=True)
