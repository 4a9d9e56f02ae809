"""The files of a tar, to its end, with what links in it lead to."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from typing import Any, cast

_BLOCK = 512
_MOST_LINKS = 40


def tar_files(archive: tarfile.TarFile, path: str) -> Iterator[tuple[str, tarfile.TarInfo | None]]:
    """The names of files in a tar, to its end, and where each lies: a link's is what it leads to in the tar, if any.

    Raises:
        ValueError: if it is cut off, or something stands behind its end, as after `cat a.tar b.tar`.
    """
    names: dict[str, tarfile.TarInfo] = {}
    try:
        for member in archive:
            if member.isfile():
                yield member.name, member
            elif member.islnk() or member.issym():
                names = names or {posixpath.normpath(each.name): each for each in archive.getmembers()}
                target = _target(member, names)
                if not (target and target.isdir()):
                    yield member.name, target
        _check_end(archive, path)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path}: not a whole tar file ({error}); get it anew") from None


def _target(member: tarfile.TarInfo, names: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """What a link leads to, over others if need be; None if that is not in the tar."""
    for _ in range(_MOST_LINKS):
        folder = "" if member.islnk() else posixpath.dirname(member.name)
        found = names.get(posixpath.normpath(posixpath.join(folder, member.linkname)))
        if found is None or not (found.islnk() or found.issym()):
            return found if found and (found.isfile() or found.isdir()) else None
        member = found
    return None


def _check_end(archive: tarfile.TarFile, path: str) -> None:
    """Python's reader takes a header that is cut off or damaged for the end."""
    file = cast(Any, archive.fileobj)
    file.seek(archive.offset)
    header = file.read(_BLOCK)
    if not header:  # every writer of tars ends them with two blocks of zeros
        raise ValueError(f"{path}: not a whole tar file (it has no end, so it was cut off behind a file); get it anew")
    while header and not header.strip(b"\0"):
        header = file.read(1 << 16)
    if not header:
        return
    why = "it ends in the middle of a header" if len(header) < _BLOCK else "something else stands behind its end"
    raise ValueError(
        f"{path}: not a whole tar file ({why}); get it anew, and where tars were joined give each as a file of its own"
    )
