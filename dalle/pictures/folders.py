"""The pictures in a folder: which files they are, in an order that does not depend on the disk, and their pixels."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from dalle.pictures.apart import decode_apart
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.file_names import FAMILIAR, ending_of, files_in, head_of, is_picture, passed_over
from dalle.pictures.pixels import Pixels


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder and its subfolders, in the order of the parts of their names.

    Raises:
        ValueError: if the folder is not there, cannot be listed or has no pictures.
    """
    return [folder / name for name in picture_names(folder)]


def picture_names(folder: Path) -> list[str]:
    """The same relative to the folder, with `/` between their parts: a third of the memory of paths.

    What lies there and is no picture is said once on standard error, but for the texts that may stand beside pictures.
    """
    names: list[str] = []
    others: list[str] = []
    try:
        for path in files_in(root := os.fspath(folder), _raise):
            name = path[len(root) :].lstrip("/")
            (names if is_picture(name, functools.partial(head_of, path)) else others).append(name)
    except OSError as error:
        raise ValueError(
            f"{error.filename}: cannot be listed ({error.strerror}); expected a folder of pictures"
        ) from None
    if not names:
        raise ValueError(
            f"{folder}: has no pictures, expected files that end in {FAMILIAR}; give a folder that has some, or "
            "leave it out"
        )
    if others := [name for name in others if ending_of(name) not in ("txt", "json", "jsonl")]:
        _say(f"{folder}: {passed_over(others)}")
    return sorted(names, key=lambda name: name.split("/"))


def read_pictures(files: Iterable[Path]) -> Iterator[Pixels]:
    """The pixels of pictures' files, each [H, W, 3], in their order, decoded in a process of their own.

    Raises:
        ValueError: naming the file, if one cannot be read or decoded.
    """
    for file, pixels in decode_apart((file, _bytes_of(file)) for file in files):
        if isinstance(pixels, UndecodableImage):
            why = pixels.reason if file.is_symlink() else pixels  # what it leads to may be nobody's business
            raise ValueError(
                f"{file}: cannot be decoded as a picture ({why}); put a whole one there, or take it out of the "
                "folder and begin anew"
            )
        yield pixels


def read_picture(file: Path) -> Pixels:
    """The pixels of one."""
    return next(read_pictures([file]))


@functools.cache
def _say(sentence: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of the processes that train together one says it
        print(sentence, file=sys.stderr)


def _bytes_of(file: Path) -> bytes:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
            raise ValueError(f"{file}: is no plain file; take it out of the folder and begin anew")
        return file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{file}: cannot be read ({error.strerror}); give it back, or take it out of the folder and begin anew"
        ) from None


def _raise(error: OSError) -> None:
    raise error
