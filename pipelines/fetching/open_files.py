"""How many links the limit of open files leaves room for, so that a low one slows a worker down and fails no link.

A link in flight has a connection; connections are kept for the next link of their host; a link that tries two addresses
of its host has two for a moment; a name that is looked up has a socket, too. What is left of the limit (`ulimit -n`)
beside the files that are open already, and a reserve for the worker's other work, is dealt out here.
"""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass

_RESERVE = 64
"""For all else that a worker may open while links are fetched."""
_LOOKUPS = 1024
"""Names that are looked up at once, at most; as many again may be left over from links that had their time."""
_OF_A_PROCESS = 8
"""That a worker has open for each worker beside it, and for itself, when it begins to fetch (measured: 7)."""
_BEYOND_REASON = 1 << 20
"""A limit that is none."""


@dataclass(frozen=True)
class OpenFiles:
    """What the limit of open files allows."""

    links: int
    """In flight at once."""
    connections: int
    """That are kept open, those of links in flight included."""
    lookups: int
    """Threads that look up names."""
    highest: int
    """The highest number that the file of a connection may have; those above are the reserve."""


def open_files(links: int, to_come: int = 0) -> OpenFiles:
    """What may be open for so many links at once; the soft limit is raised as far as is wanted and may be.

    Args:
        links: that are wanted at once.
        to_come: files that will be open before there are links.

    Raises:
        ValueError: if there is no room for a single link.
    """
    lookups = min(_LOOKUPS, max(64, 4 * links))
    used = _open_now() + to_come
    limit = _limit(used + _RESERVE + 3 * links + lookups)
    free = limit - used - _RESERVE
    lookups = min(lookups, max(1, free // 4))
    free -= lookups
    possible = min(links, free // 2)
    if possible < 1:
        raise ValueError(
            f"the limit of open files (ulimit -n {limit}) leaves no room to fetch links: {used} are open or will be, "
            f"{_RESERVE} are needed for other things; raise it to {used + _RESERVE + 3 * links + lookups}"
        )
    kept = max(possible, min(2 * links, free - possible))
    return OpenFiles(links=possible, connections=kept, lookups=lookups, highest=limit - 1 - _RESERVE // 2 - lookups)


def shortage(links: int, processes: int = 1) -> str | None:
    """A sentence if the limit of open files does not leave room for so many links at once in each worker process.

    Raises:
        ValueError: if there is no room for a single link.
    """
    possible = open_files(links, _OF_A_PROCESS * (1 + processes)).links
    if possible == links:
        return None
    room = f"{possible} link{'s' * (possible > 1)}"
    return (
        f"the limit of open files (ulimit -n {_limit(0)}) leaves room for {room} at once in each worker, not "
        f"for the {links} of --thread_count; a higher limit is faster"
    )


def _limit(wanted: int) -> int:
    """The soft limit, after it was raised if it is lower than wanted and the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _BEYOND_REASON if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(soft, _BEYOND_REASON) if soft != resource.RLIM_INFINITY else _BEYOND_REASON


def _open_now() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))
    return 32
