"""From what a user typed as `--url_list` to the files that are meant, in a fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
from braceexpand import braceexpand
from fsspec.implementations.local import LocalFileSystem

COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".zst")


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


def file_inputs(files: Sequence[str]) -> list[dict[str, Any]]:
    """Name and sha256 of each file, for the manifest."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_input, files))


def _input(address: str) -> dict[str, Any]:
    with fsspec.open(address, "rb") as file:
        return {"name": address.rsplit("/", 1)[-1], "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _address(fs: fsspec.AbstractFileSystem, path: str) -> str:
    return str(path) if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def _ends_with(name: str, extensions: Sequence[str]) -> bool:
    return any(name.lower().endswith(f".{e}{c}") for e in extensions for c in COMPRESSIONS)
