"""Take pictures from a local folder, or out of archives in it, instead of the web; as `fetch` would give them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, cast

import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from dalle.pictures.formats import is_read, what_it_is
from pipelines.lists.rows import path_inside
from pipelines.running.row_border import at_row, is_the_machines, unexpected
from schemas.reasons import NotKept
from schemas.stores import store_of


def open_local(
    links: Iterable[tuple[int, str]], folder: str, max_bytes: int
) -> Iterator[tuple[int, bytes, NotKept | None]]:
    """Read pictures, given as (index, location); in order, one result for each: index, bytes, why there are none.

    A location is a path in the folder, one of `pipelines.lists.rows.location_within` or `known_absent`, or nothing.

    Raises:
        OSError: if the folder is on an object store that fails after its own retries; nothing is known of the picture.
    """
    pictures = _LocalFolder(folder)
    for index, location in links:
        data, problem = b"", None
        try:
            data, problem = pictures.read(location, max_bytes)
            if not data and problem is None:
                problem = NotKept("empty", "the file has no bytes")
        except FileNotFoundError:
            problem = NotKept("not-found", f"no file '{location}' in the folder")
        except PermissionError as error:
            problem = NotKept("unreadable", f"'{location}': {error.strerror or error}")
        except OSError as error:
            if not pictures.on_disk:  # an object store's failure says nothing of the picture: the unit fails
                raise at_row(error, location) from error
            problem = NotKept("unreadable", f"'{location}': {error.strerror or error}")
        except ValueError as error:
            problem = NotKept("bad-url", str(error))
        except Exception as error:
            if is_the_machines(error):
                raise at_row(error, location) from error
            problem = unexpected(f"{type(error).__name__}: {error}", "fetch")
        yield index, data, problem


class _LocalFolder:
    """A folder of pictures and of archives with pictures."""

    def __init__(self, folder: str) -> None:
        self._fs, self._root = store_of(folder)
        self.on_disk = isinstance(self._fs, LocalFileSystem)
        self._column: tuple[str, str, list[bytes | None]] = ("", "", [])

    def read(self, location: str, max_bytes: int) -> tuple[bytes, NotKept | None]:
        """The bytes at a location, or why there are none."""
        archive, *within = location.split("\0")
        if not archive:
            return b"", NotKept("not-found", "".join(within) or "no picture of this name in the folder")
        path = path_inside(self._root, archive)
        if self.on_disk and os.path.exists(path) and not os.path.isfile(path):  # a pipe would be read for ever
            return b"", NotKept("unreadable", f"'{archive}' is no file")
        if not within:
            size = int(self._fs.size(path) or 0)
            if size > max_bytes:
                return b"", NotKept("too-large", f"{size} bytes, expected at most {max_bytes}")
            data = self._fs.cat_file(path)
            if data and self.on_disk and os.path.islink(path) and not is_read(data):
                fault = what_it_is(data, quoted=False)  # a link may lead to what must not be told
                return b"", NotKept(fault.reason, f"'{archive}' is a link: {fault}")
            return data, None
        if archive.endswith(".parquet"):
            return self._from_column(path, int(within[0]), within[1]) or b"", None
        offset, size = map(int, within)
        if size > max_bytes:
            return b"", NotKept("too-large", f"{size} bytes, expected at most {max_bytes}")
        return self._fs.cat_file(path, start=offset, end=offset + size), None

    def _from_column(self, path: str, row: int, column: str) -> bytes | None:
        """A picture of a Parquet column; a file's column is read once, since rows come in its order."""
        if self._column[:2] != (path, column):
            with self._fs.open(path, "rb") as file:
                self._column = (path, column, pq.read_table(cast(Any, file), columns=[column])[column].to_pylist())
        return self._column[2][row]
