"""A dataset's folder, local or on an object store: a file in it is whole under its final name, or not there.

Local files are written beside their final name as `name.tmp-<process>-<uuid>`, synced and renamed. An object store has
no rename: there a file is finished in the local temporary folder first, without a name, so that it goes with the
process, and then put in one request, or in parts that become an object with the last request. What a killed run had put
of such parts is no object, costs room all the same, and goes by the store's own rule for incomplete uploads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from fsspec.implementations.local import LocalFileSystem

from schemas.addresses import about, about_its_url
from schemas.claim import Claim, TakenOver
from schemas.json_text import parse_json
from schemas.objects import etag_of
from schemas.regular_file import check_regular
from schemas.stores import store_of
from schemas.uploads import put_file

ROOMS = ("dedup", "img_emb", "metadata", "_within", "images")
"""Sub-folders of a dataset's folder: made by `pipelines.dedup` findings, vectors, whose they are, and its work; by
`dalle.generate` pictures."""

RECIPE = "_recipe.json"
"""What an unfinished folder, or the next state of a finished one, is being made from; its manifest takes its place."""

UNGUARDED = frozenset(("_plan", "_failed", "_progress", "_locks"))
"""Sub-folders of notes that no dataset needs: of rows for units, of units that failed or are at work, of locks."""

_UNFINISHED = ".tmp-"
_AT_ONCE = 16
"""Requests that a store is sent at the same time."""


@dataclass(frozen=True)
class FileRecord:
    """A finished file: what a marker and the manifest say of it."""

    name: str
    sha256: str
    size: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in `_stats.json` and `manifest.json`."""
        return {"sha256": self.sha256, "size": self.size}


class HashingFile:
    """A binary file that is written front to back and knows its sha256 and size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Append the bytes."""
        self._sha256.update(data)
        self.size += len(data)
        self._file.write(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes there are so far."""
        return self.size

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    def writable(self) -> bool:
        """Yes."""
        return True

    def hexdigest(self) -> str:
        """The sha256 of all bytes so far."""
        return self._sha256.hexdigest()


class Folder:
    """A folder named by a path or an fsspec URL. Cheap to make and to pickle; nothing is touched until asked.

    Args:
        url: path or URL. What is there by this very name is that, whatever fsspec would read in it.
        claim: of the run that holds a store's folder; without it nothing keeps another run from changing it, too.

    Raises:
        ValueError: if fsspec knows no such store.
    """

    def __init__(self, url: str | os.PathLike[str], claim: Claim | None = None) -> None:
        self.url = str(url)
        self.claim = claim
        try:
            # what other processes do to the folder must be seen at once, so no listing is remembered
            with about(self.url):
                self.fs, root = store_of(self.url, use_listings_cache=False)
        except ValueError as error:
            raise ValueError(f"{self.url}: {error}; give a path, or an address such as s3://bucket/pairs") from None
        self.root = root.rstrip("/") or "/"
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type[Folder], tuple[Any, ...]]:
        return Folder, (self.url, self.claim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())

    def __str__(self) -> str:
        return self.url

    def path(self, name: str) -> str:
        """The full path of a file of the folder, as its file system wants it.

        Raises:
            ValueError: if the name would lead out of the folder.
        """
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{self.url}: '{name}' would lead out of the folder")
        return f"{self.root}/{name}"

    def linked(self, name: str) -> str:
        """The first sub-folder on the way to a file that is a symbolic link; nothing if none is, or on a store."""
        if not self.is_local or "/" not in name:
            return ""
        parents = (str(parent) for parent in reversed(PurePosixPath(name).parents) if parent.parts)
        return next((parent for parent in parents if os.path.islink(f"{self.root}/{parent}")), "")

    def changeable(self, name: str) -> str:
        """The full path of a file that is to be written or deleted.

        Raises:
            ValueError: if the name would lead out of the folder, or a symbolic link on the way to it would.
        """
        path = self.path(name)
        if link := self.linked(name):
            raise ValueError(
                f"{self.root}/{link}: is a symbolic link, and what was to change there would be elsewhere; put the "
                "folder itself in its place"
            )
        return path

    def inside(self, name: str) -> Folder:
        """The sub-folder of this name."""
        self.path(name)
        return Folder(f"{self.url.rstrip('/')}/{name}", self.claim)

    def claimed(self, claim: Claim) -> Folder:
        """The same folder for a run that holds it."""
        return Folder(self.url, claim)

    @property
    def own(self) -> Folder:
        """The folder without what is only read through it (`schemas.draft`): itself."""
        return self

    def names(self, inside: str = "") -> list[str]:
        """Names of the files right here (or in a sub-folder), sorted; none if there is no such folder."""
        return self._entries(inside, "file")

    def folders(self, inside: str = "") -> list[str]:
        """Names of the sub-folders right here (or in a sub-folder), sorted."""
        return self._entries(inside, "directory")

    def walk(self, inside: str = "") -> list[str]:
        """Names of all files in a sub-folder and below, as seen from here, sorted."""
        found = [f"{inside}/{name}" if inside else name for name in self.names(inside)]
        for name in self.folders(inside):
            found += self.walk(f"{inside}/{name}" if inside else name)
        return sorted(found)

    @about_its_url
    def _entries(self, inside: str, kind: str) -> list[str]:
        where = f"{self.root}/{inside}" if inside else self.root
        try:
            if self.is_local:  # without asking for size and time of each of what may be a million files
                is_wanted = os.DirEntry.is_file if kind == "file" else os.DirEntry.is_dir
                return sorted(entry.name for entry in os.scandir(where) if is_wanted(entry))
            entries = self.fs.ls(where, detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(e["name"]).rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == kind)

    @about_its_url
    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return bool(self.fs.exists(self.path(name)))

    @about_its_url
    def size(self, name: str) -> int:
        """Size of the file in bytes."""
        return int(self.fs.size(self.path(name)))

    @about_its_url
    def open(self, name: str) -> IO[bytes]:
        """The file, for reading.

        Raises:
            ValueError: if it is a pipe or a device, which would be read for ever.
        """
        if self.is_local:
            check_regular(self.path(name))
        return cast("IO[bytes]", self.fs.open(self.path(name), "rb"))

    @about_its_url
    def read_bytes(self, name: str) -> bytes:
        """All of the file."""
        with self.open(name) as file:
            return file.read()

    def read_json(self, name: str) -> Any:
        """The parsed file.

        Raises:
            ValueError: if it is not JSON.
        """
        content = self.read_bytes(name)
        try:
            return parse_json(content)
        except ValueError as error:
            raise ValueError(
                f"{self.path(name)}: not JSON ({error}); it was damaged after writing, put back what the job wrote"
            ) from None

    @about_its_url
    def sha256(self, name: str) -> str:
        """sha256 of the file's bytes, read in pieces."""
        with self.open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    @about_its_url
    def make(self) -> None:
        """Create the folder where there is none.

        Raises:
            OSError: if it cannot be made or written to.
        """
        self.fs.makedirs(self.root, exist_ok=True)
        if self.is_local:  # found out now, not after an hour of downloading
            with tempfile.TemporaryFile(dir=self.root):
                pass

    @about_its_url
    def remove(self, name: str) -> None:
        """Delete the file if it is there."""
        if self.claim is not None and _is_guarded(name):
            self.claim.delete(self.fs, self.path(name))
            return
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.changeable(name))

    @about_its_url
    def etags(self) -> dict[str, str]:
        """By path the tag of every object in a store's folder and below; nothing of a local one."""
        if self.is_local:
            return {}
        try:
            objects = self.fs.find(self.root, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        return {str(path): etag_of(info) for path, info in objects.items()}

    @about_its_url
    def remove_tree(self, name: str) -> None:
        """Delete a sub-folder with all that is in it, if it is there."""
        if self.claim is not None and _is_guarded(name):
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._remove_if_ours if is_work(name) else self.remove, self.walk(name)))
            return
        self.changeable(f"{name}/any")
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)

    def _remove_if_ours(self, name: str) -> None:
        with contextlib.suppress(TakenOver):  # another run is at work with it
            self.remove(name)

    def unfinished(self) -> list[str]:
        """Names of what dead runs left unfinished, here and in the folder's rooms.

        On an object store nothing unfinished is ever in the folder (see above).
        """
        if not self.is_local:
            return []
        left = [name for name in self.names() if _UNFINISHED in name]
        for room in ROOMS:
            for where, _, files in os.walk(self.path(room)):
                inside = os.path.relpath(where, self.root)
                left += [f"{inside}/{name}" for name in files if _UNFINISHED in name]
        return sorted(left)

    def sweep(self) -> list[str]:
        """Delete what is unfinished; only for who holds the folder's lock. Gives the names."""
        left = self.unfinished()
        for name in left:
            self.remove(name)
        return left

    def write(self, name: str, data: bytes) -> FileRecord:
        """Put one small file in place, whole."""
        with Staging(self) as staging:
            with staging.file(name) as file:
                file.write(data)
            return staging.publish()[0]

    def write_json(self, name: str, value: Any) -> FileRecord:
        """Put a JSON file in place, whole: keys sorted, so that the same value has the same bytes."""
        return self.write(name, canonical_json(value, indent=1))


class Staging:
    """Files that are made ready beside their final names and then appear, in the order they were made.

    What is not published when the block ends is deleted: an exception leaves the folder as it was.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._ready: list[tuple[FileRecord, str]] = []
        self._open = contextlib.ExitStack()
        """Of an object store's folder, the files without names that are ready."""

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self.folder.is_local:
            for _record, temporary in self._ready:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(temporary)

    @property
    def records(self) -> list[FileRecord]:
        """What is ready so far."""
        return [record for record, _ in self._ready]

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[HashingFile]:
        """A file to be written front to back; ready (and synced to disk) when the block ends."""
        if not self.folder.is_local:
            self.folder.path(name)
            nameless = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  closed by the stack
            hashing = HashingFile(nameless)
            yield hashing
            nameless.flush()
            self._ready.append((FileRecord(name, hashing.hexdigest(), hashing.size), _path_of(nameless)))
            return
        temporary = self.folder.changeable(name) + _unfinished()
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        try:
            with open(temporary, "xb") as raw:
                hashing = HashingFile(raw)
                yield hashing
                raw.flush()
                os.fsync(raw.fileno())
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
            raise
        self._ready.append((FileRecord(name, hashing.hexdigest(), hashing.size), temporary))

    def link(self, source: Folder, record: FileRecord) -> None:
        """Make ready a file that another folder has: a second name of the same bytes where the disk allows it.

        Raises:
            ValueError: if its size is not the record's any more.
        """
        if source.size(record.name) != record.size:
            raise ValueError(
                f"{source.path(record.name)}: has {source.size(record.name)} bytes, its manifest says {record.size}"
            )
        if source.is_local and self.folder.is_local:
            temporary = self.folder.changeable(record.name) + _unfinished()
            os.makedirs(os.path.dirname(temporary), exist_ok=True)
            with contextlib.suppress(OSError):  # another disk, or one without links
                os.link(source.path(record.name), temporary)
                self._ready.append((record, temporary))
                return
        with source.open(record.name) as file, self.file(record.name) as copy:
            while data := file.read(1 << 20):
                copy.write(data)

    def publish(self) -> list[FileRecord]:
        """Give every ready file its final name, in order."""
        with about(self.folder.url):
            return self._publish()

    def _publish(self) -> list[FileRecord]:
        records = self.records
        while self._ready:
            record, temporary = self._ready[0]
            final = self.folder.changeable(record.name)
            if self.folder.is_local:
                rename(temporary, final)
                sync(os.path.dirname(final))
            elif self.folder.claim is not None and _is_guarded(record.name):
                self.folder.claim.put(self.folder.fs, final, Path(temporary))
            else:
                put_file(self.folder.fs, temporary, final, record.size)
            self._ready.pop(0)
        return records


def rename(old: str, new: str) -> None:
    """Give a local file another name, in one step; what had that name goes."""
    os.replace(old, new)
    with contextlib.suppress(FileNotFoundError):  # two names of one file are left as they are
        os.remove(old)


def _path_of(file: IO[bytes]) -> str:
    """A path by which this process can open a file that has no name."""
    kernel = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return f"{kernel}/{file.fileno()}"


def is_work(name: str) -> bool:
    """Whether a file is of the work on a dataset and never part of it: one part of its name begins with `_` or `.`."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _is_guarded(name: str) -> bool:
    """Whether a store's file is changed only by the run that holds it: what units are told and tell is not."""
    return UNGUARDED.isdisjoint(name.split("/"))


def _unfinished() -> str:
    return f"{_UNFINISHED}{os.getpid()}-{uuid.uuid4().hex}"


def canonical_json(value: Any, indent: int | None = None) -> bytes:
    """JSON with sorted keys: the same value gives the same bytes."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=indent, separators=separators)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def sync(path: str | os.PathLike[str]) -> None:
    """Have the disk keep a local file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
