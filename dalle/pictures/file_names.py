"""Which files of a folder are pictures: by how their names end, or, where a name has no ending, by their first bytes.

What no one asked for is passed over, and said: files that a Mac adds beside the real ones (`._x.jpg`, `__MACOSX/`,
`.DS_Store`), and whatever else is no picture that is read here.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from dalle.pictures.formats import is_read
from schemas.picture_endings import ENDINGS

FAMILIAR = ".avif, .bmp, .gif, .heic, .jpg, .png, .tif, .webp or the like"
"""Some of them, for messages."""
HEAD = 256
"""Bytes that tell what a file without an ending is."""

_ENDING = re.compile(r"(?=.*[a-z])[a-z0-9_~-]{1,12}")
_SHOWN = 5


def ending_of(name: str) -> str:
    """How a file's name ends, in lower case and without the dot; nothing for `photo`, `2019.05.12` and `a.jpg?w=9`."""
    stem, _, ending = name.rpartition("/")[2].rpartition(".")
    ending = ending.lower()
    return ending if stem.strip(".") and _ENDING.fullmatch(ending) else ""


def stem_of(name: str) -> str:
    """A file's name, with its folders, without its ending."""
    ending = ending_of(name)
    return name[: -len(ending) - 1] if ending else name


def is_of_a_mac(name: str) -> bool:
    """Whether a Mac puts a file of this name beside the real ones when it packs or copies a folder."""
    *folders, last = name.split("/")
    return "__MACOSX" in folders or last.startswith("._") or last == ".DS_Store"


def is_picture(name: str, head: Callable[[], bytes]) -> bool:
    """Whether a file is a picture.

    Args:
        name: with its folders, divided by `/`.
        head: gives its first `HEAD` bytes, or nothing if it is no file; called where the name does not tell.
    """
    if is_of_a_mac(name):
        return False
    ending = ending_of(name)
    return ending in ENDINGS if ending else is_read(head())


def head_of(path: str) -> bytes:
    """The first `HEAD` bytes of a file on this machine; nothing if it is no plain file, or cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def passed_over(names: Iterable[str], what: str = "picture", why: str = "") -> str:
    """A sentence's end about files that are not read: how many, why, and how many of each ending.

    Args:
        names: of the files.
        what: they are not.
        why: they are passed over otherwise.

    >>> passed_over(["a.cr2", "b.CR2", "notes"])
    '3 files passed over, which are no pictures: .cr2 (2), without ending (1)'
    """
    kinds = Counter(_kind(name) for name in names)
    shown = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common(_SHOWN))
    rest = f" and {len(kinds) - _SHOWN} other kinds" if len(kinds) > _SHOWN else ""
    count = kinds.total()
    files, default = ("file", f"is no {what}") if count == 1 else ("files", f"are no {what}s")
    return f"{count:,} {files} passed over, which {why or default}: {shown}{rest}"


def _kind(name: str) -> str:
    if is_of_a_mac(name):
        return "a Mac's own"
    return f".{ending}" if (ending := ending_of(name)) else "without ending"


def files_in(root: str, onerror: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Paths of all files of a folder on this machine and of its sub-folders, also of those that are linked to.

    Each folder is gone into once, however many links lead to it, so a link to a folder above it does no harm.

    Args:
        root: the folder.
        onerror: is given what kept a folder from being listed; such a folder is empty if there is none.
    """
    waiting, seen = [root], set[str]()
    while waiting:
        linked = []
        for start in waiting:
            for where, folders, files in os.walk(start, onerror=onerror):
                real = os.path.realpath(where)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                linked += [path for name in folders if os.path.islink(path := os.path.join(where, name))]
                yield from (os.path.join(where, name) for name in files)
        waiting = sorted(linked)  # after all real ones, so that a link to one of these adds nothing
