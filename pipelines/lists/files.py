"""From what a user typed as `--url_list` to the files that are meant, in a fixed order."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from braceexpand import braceexpand
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from dalle.pictures.file_names import files_in, is_of_a_mac, passed_over
from pipelines.lists.containers import ends_as_list, is_archive, lists_in, open_file
from schemas.addresses import about
from schemas.folder import is_work
from schemas.stores import address_in, store_of

_WILD = "*?["
TEXTS = (".txt", ".jsonl")
"""Ends of the names of files in a folder of pictures that hold captions, or the pictures' names."""


def list_files(
    given: Sequence[str], extensions: Sequence[str], remarks: list[str] | None = None, *, archives: bool = False
) -> list[str]:
    """The files of some paths, folders, globs and brace expressions; each one's sorted, but braces as they were given.

    Args:
        given: paths or fsspec URLs, in the order in which their files are read.
        extensions: what a folder's files may end with, without the dot; others in it are not of the list.
        remarks: takes what to say of files that are passed over.
        archives: whether a zip or a tar stands for the lists in it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a folder, a glob or an archive holds none, or a file is given twice.
    """
    remarks = [] if remarks is None else remarks
    files: list[str] = []
    for each in given:
        for part in braceexpand(each) if "{" in each and not os.path.lexists(each) else [each]:
            with about(part):
                files += _files_of(part, extensions, remarks)
    if twice := next((file for file, count in Counter(files).items() if count > 1), None):
        raise ValueError(f"{twice}: is given more than once; name it once")
    if not archives:
        return files
    unpacked: list[str] = []
    for file in files:
        lists, others = lists_in(file, extensions) if is_archive(file) else ([file], "")
        unpacked += lists
        remarks += [f"{file}: {others}"] if others else []
    return unpacked


def _files_of(part: str, extensions: Sequence[str], remarks: list[str]) -> list[str]:
    fs, path = store_of(part)
    if fs.isdir(path):
        names = sorted(fs.ls(path, detail=False))
        inside = [name for name in names if ends_as_list(name, extensions) and not is_of_a_mac(name)]
        folders = [name for name in sorted({*names} - {*inside}) if fs.isdir(name)]
        if not inside:
            wanted = ", ".join(f".{e}" for e in extensions)
            below = _below(part, folders, extensions[0])
            raise ValueError(f"{part}: no file in this folder ends with {wanted}; name the list's files{below}")
        if others := sorted({*names} - {*inside, *folders}):
            remarks.append(f"{part}: {passed_over(others, 'list')}")
        if below := _below(part, folders, inside[0].rsplit(".", 1)[-1]):
            remarks.append(f"{part}: is read without its sub-folders; name their lists, too{below}")
        return [address_in(fs, name) for name in inside]
    if any(c in part for c in _WILD) and not fs.exists(path):
        matched = _matched(fs, path)
        if not matched:
            raise ValueError(
                f"{part}: no file has such a name; look whether the path is right, seen from where the command runs"
            )
        return [address_in(fs, name) for name in matched]
    if not fs.exists(path):
        raise FileNotFoundError(2, "No such file or directory", part)
    return [address_in(fs, path)]


def _matched(fs: AbstractFileSystem, pattern: str) -> list[str]:
    """What a glob stands for, in order; as in a shell, hidden names only where the pattern has the dot."""
    parts = pattern.split("/")
    fixed = next(number for number, part in enumerate(parts) if any(c in part for c in _WILD))
    asked = any(part.startswith(".") for part in parts[fixed:])
    found = sorted(fs.glob(pattern))
    return [path for path in found if asked or not any(part.startswith(".") for part in path.split("/")[fixed:])]


def _below(part: str, folders: Sequence[str], extension: str) -> str:
    """How lists in sub-folders are named, if there may be some; what begins with . or _ is a program's own."""
    if any(not is_work(folder.rstrip("/").rsplit("/", 1)[-1]) for folder in folders):
        return f", as {part.rstrip('/')}/*/*.{extension} does those one floor below"
    return ""


def files_below(url: str) -> list[str]:
    """Paths of all files of a folder and its sub-folders, relative to it, sorted.

    On this machine folders that are linked to are sub-folders as well: each folder is gone into once, however many
    links lead to it, so a link to a folder above it does no harm.

    Raises:
        ValueError: if it is no folder.
    """
    return sorted(_sizes_below(url))


def _sizes_below(url: str) -> dict[str, int | None]:
    """The same paths, each with its size in bytes; None for what is no file, such as a pipe or a link to nowhere."""
    fs, root = store_of(url)
    if not fs.isdir(root):
        raise ValueError(f"{url}: is not a folder")
    root = root.rstrip("/") or "/"
    if isinstance(fs, LocalFileSystem):
        sizes = {path: os.path.getsize(path) if os.path.isfile(path) else None for path in files_in(root)}
    else:
        sizes = {path: int(info["size"]) for path, info in fs.find(root, detail=True).items()}
    return {path[len(root) :].lstrip("/"): size for path, size in sizes.items()}


def file_inputs(files: Sequence[str]) -> list[dict[str, Any]]:
    """Name and sha256 of each file, for the manifest."""
    return [
        {"name": address.rsplit("/", 1)[-1], "sha256": sha256}
        for address, sha256 in zip(files, _sums(files), strict=True)
    ]


def folder_input(url: str, *, with_pictures: bool = True) -> dict[str, Any]:
    """Name of a folder and sha256 of its files' paths, of what is in texts, and of the sizes of all others.

    What is in pictures is not read for it: on an object store each of them would have to be fetched once more, and the
    same pictures must give the same manifest wherever they lie.

    Args:
        url: of the folder.
        with_pictures: whether the sizes of what is no text count.
    """
    fs, root = store_of(url)
    sizes = _sizes_below(url)
    texts = [name for name, size in sizes.items() if name.lower().endswith(TEXTS) and size is not None]
    known: dict[str, Any] = sizes if with_pictures else dict.fromkeys(sizes)
    known |= zip(texts, _sums([address_in(fs, f"{root}/{name}") for name in texts]), strict=True)
    listing = "".join(f"{name}\t{'' if what is None else what}\n" for name, what in sorted(known.items()))
    name = root.rstrip("/").rsplit("/", 1)[-1]
    return {"name": name, "sha256": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()}


def _sums(addresses: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_sum, addresses))


def _sum(address: str) -> str:
    with about(address), open_file(address) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
