"""Where a path or an address leads: what has this very name on this machine is that, whatever fsspec reads in it.

To fsspec `a::b` is a chain of addresses and `~` the user's home; a file or folder may be called so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem


def store_of(url: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a path or an fsspec URL, and the path in it.

    Args:
        url: of a file or a folder, which need not be there.
        options: for a store; a chain of addresses gets none.

    Raises:
        ValueError: if fsspec knows no such store.
        ImportError: if its package is not installed.
    """
    if _is_path(url):
        return LocalFileSystem(), os.path.abspath(url)
    fs, path = fsspec.core.url_to_fs(url, **({} if "::" in url else options))
    return fs, str(path)


def address_in(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """What leads to a path of a file system again: a path of this machine's as it is, an URL for any other."""
    return str(path) if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


@contextlib.contextmanager
def open_bytes(url: str) -> Iterator[IO[bytes]]:
    """A file, for reading, by its path or fsspec URL.

    Raises:
        OSError: if it cannot be read.
    """
    fs, path = store_of(url)
    with fs.open(path, "rb") as file:
        yield cast("IO[bytes]", file)


def _is_path(url: str) -> bool:
    if url.startswith("~"):
        return os.path.lexists(url.partition("/")[0])
    first, chained, _ = url.partition("::")
    return bool(chained) and "://" not in url and first not in fsspec.available_protocols()
