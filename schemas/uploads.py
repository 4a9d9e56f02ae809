"""Putting files and notes on an object store, none of which may wait for ever.

Stores' clients give up on an answer that does not come, but not on all that may not come: aiohttp, under s3fs and
gcsfs, starts its clock when a body is sent, and waits without one for a store's leave to send it (`Expect:
100-continue`) and for a store to read on. A store that falls silent just then would hold a job for good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

LEAST_SECONDS = 60.0
"""That a store has for anything."""

_SLOWEST = 64 * 1024
"""Bytes a second below which an upload counts as stuck; several share a line."""

_TRIES = 3


def put_file(fs: AbstractFileSystem, path: str, name: str, size: int) -> None:
    """Put a local file of `size` bytes in place, whole.

    Raises:
        TimeoutError: if the store took it in none of three tries.
    """
    in_time(fs, fs.put_file, path, name, what=name, size=size)


def in_time(fs: AbstractFileSystem, call: Callable[..., Any], *args: Any, what: str, size: int, **more: Any) -> Any:
    """What a file system's method gives, which may take so long as its bytes do on the slowest line.

    Args:
        fs: the file system.
        call: its method.
        args, more: of the method.
        what: the object, for the message.
        size: bytes that are sent.

    Raises:
        TimeoutError: if it gave nothing in three tries.
    """
    seconds = LEAST_SECONDS + size / _SLOWEST
    if isinstance(fs, AsyncFileSystem):
        more["timeout"] = seconds
    for _ in range(_TRIES - 1):
        with contextlib.suppress(TimeoutError):
            return call(*args, **more)
    try:
        return call(*args, **more)
    except TimeoutError as error:
        raise TimeoutError(
            f"{what}: the store did not take its {size:,} bytes within {seconds:.0f} s, nor in {_TRIES - 1} tries "
            "before; look whether it is there, then run the same command again"
        ) from error
