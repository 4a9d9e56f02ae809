"""From what a user typed as `--url_list` to the files that are meant, in a fixed order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
from braceexpand import braceexpand
from fsspec.implementations.local import LocalFileSystem

COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".zst")
TEXTS = (".txt", ".jsonl")
"""Ends of the names of files in a folder of pictures that hold captions, or the pictures' names."""


def list_files(url_list: str, extensions: Sequence[str]) -> list[str]:
    """The files of a path, folder, glob or brace expression; sorted, but braces in the order they were given.

    Args:
        url_list: a path or an fsspec URL.
        extensions: what a folder's files may end with, without the dot; others in it are not of the list.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a folder or a glob holds none.
    """
    files: list[str] = []
    for part in braceexpand(url_list) if "{" in url_list else [url_list]:
        fs, path = fsspec.core.url_to_fs(part)
        if fs.isdir(path):
            inside = sorted(n for n in fs.ls(path, detail=False) if _ends_with(n, extensions))
            if not inside:
                wanted = ", ".join(f".{e}" for e in extensions)
                raise ValueError(f"{part}: no file in this folder ends with {wanted}; name the list's files")
            files += [_address(fs, name) for name in inside]
        elif any(c in part for c in "*?[") and not fs.exists(path):
            matched = sorted(fs.glob(path))
            if not matched:
                raise ValueError(f"{part}: no file has such a name")
            files += [_address(fs, name) for name in matched]
        elif fs.exists(path):
            files.append(_address(fs, path))
        else:
            raise FileNotFoundError(2, "No such file or directory", part)
    return files


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
    fs, root = fsspec.core.url_to_fs(url)
    if not fs.isdir(root):
        raise ValueError(f"{url}: is not a folder")
    root = str(root).rstrip("/") or "/"
    if isinstance(fs, LocalFileSystem):
        sizes = {path: os.path.getsize(path) if os.path.isfile(path) else None for path in _linked_too(root)}
    else:
        sizes = {path: int(info["size"]) for path, info in fs.find(root, detail=True).items()}
    return {path[len(root) :].lstrip("/"): size for path, size in sizes.items()}


def _linked_too(root: str) -> Iterator[str]:
    waiting, seen = [root], set[str]()
    while waiting:
        linked = []
        for start in waiting:
            for where, folders, files in os.walk(start):
                real = os.path.realpath(where)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                linked += [path for name in folders if os.path.islink(path := os.path.join(where, name))]
                yield from (os.path.join(where, name) for name in files)
        waiting = sorted(linked)  # after all real ones, so that a link to one of these adds nothing


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
    fs, root = fsspec.core.url_to_fs(url)
    sizes = _sizes_below(url)
    texts = [name for name, size in sizes.items() if name.lower().endswith(TEXTS) and size is not None]
    known: dict[str, Any] = sizes if with_pictures else dict.fromkeys(sizes)
    known |= zip(texts, _sums([_address(fs, f"{root}/{name}") for name in texts]), strict=True)
    listing = "".join(f"{name}\t{'' if what is None else what}\n" for name, what in sorted(known.items()))
    name = str(root).rstrip("/").rsplit("/", 1)[-1]
    return {"name": name, "sha256": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()}


def _sums(addresses: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_sum, addresses))


def _sum(address: str) -> str:
    with fsspec.open(address, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _address(fs: fsspec.AbstractFileSystem, path: str) -> str:
    return str(path) if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def _ends_with(name: str, extensions: Sequence[str]) -> bool:
    return any(name.lower().endswith(f".{e}{c}") for e in extensions for c in COMPRESSIONS)
