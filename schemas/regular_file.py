"""A file that is to be read whole is a regular one: a pipe or a device may never end, or never begin."""

from __future__ import annotations

import os
import stat


def check_regular(path: str | os.PathLike[str]) -> None:
    """Check that a local path that is there is a file with an end.

    Raises:
        ValueError: if it is a folder, a pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # who opens it says what is wrong
        return
    if not stat.S_ISREG(mode):
        found = next((name for is_, name in _KINDS if is_(mode)), "something else")
        raise ValueError(f"{os.fspath(path)}: is {found}, expected a file")


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
