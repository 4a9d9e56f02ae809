"""The pictures in a folder: which files they are, in an order that does not depend on the disk, and their pixels."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from dalle.pictures.apart import decode_apart
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.pixels import Pixels

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
"""How the names of pictures end, in lower case; the files' names may be in capitals."""


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder and its subfolders, in the order of the parts of their names.

    Raises:
        ValueError: if the folder is not there, cannot be listed or has no pictures.
    """
    return [folder / name for name in picture_names(folder)]


def picture_names(folder: Path) -> list[str]:
    """The same relative to the folder, with `/` between their parts: a third of the memory of paths."""
    names: list[str] = []
    try:
        for subfolder, _, files in os.walk(folder, onerror=_raise):
            inside = os.path.relpath(subfolder, folder)
            pictures = [name for name in files if os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES]
            names += pictures if inside == "." else [f"{inside}/{name}" for name in pictures]
    except OSError as error:
        raise ValueError(
            f"{error.filename}: cannot be listed ({error.strerror}); expected a folder of pictures"
        ) from None
    if not names:
        raise ValueError(
            f"{folder}: has no pictures, expected files that end in {', '.join(sorted(PICTURE_SUFFIXES))}; give a "
            "folder that has some, or leave it out"
        )
    return sorted(names, key=lambda name: name.split("/"))


def read_pictures(files: Iterable[Path]) -> Iterator[Pixels]:
    """The pixels of pictures' files, each [H, W, 3], in their order, decoded in a process of their own.

    Raises:
        ValueError: naming the file, if one cannot be read or decoded.
    """
    for file, pixels in decode_apart((file, _bytes_of(file)) for file in files):
        if isinstance(pixels, UndecodableImage):
            raise ValueError(
                f"{file}: cannot be decoded as a picture ({pixels}); put a whole one there, or take it out of the "
                "folder and begin anew"
            )
        yield pixels


def read_picture(file: Path) -> Pixels:
    """The pixels of one."""
    return next(read_pictures([file]))


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
