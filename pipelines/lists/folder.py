"""Read a local folder of pictures with their captions: `--dataset folder`.

Two layouts: pictures with a .txt file beside each (a caption a line), or one `captions.jsonl` with an object a line,
`{"file": "a/b.jpg", "captions": ["..."]}`. A row's `url` is the picture's path in the folder, so that the same
folder gives the same bytes wherever it lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

import fsspec
import pyarrow as pa

from pipelines.lists.formats import as_text
from pipelines.lists.rows import Row, batches

CAPTIONS = "captions.jsonl"
EXTENSIONS = frozenset(["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif"])


def read_folder(url: str) -> Iterator[pa.RecordBatch]:
    """The pictures of a folder in the order of their paths, or of its captions.jsonl.

    Raises:
        ValueError: if it is no folder, or holds no pictures.
    """
    fs, root = fsspec.core.url_to_fs(url)
    if not fs.isdir(root):
        raise ValueError(f"{url}: is not a folder; --dataset folder wants a folder of pictures")
    rows = _listed(fs, root, url) if fs.exists(f"{root}/{CAPTIONS}") else _beside(fs, root, url)
    yield from batches(rows)


def folder_files(url: str) -> list[tuple[str, int]]:
    """Path and size of every file of the folder, sorted."""
    fs, root = fsspec.core.url_to_fs(url)
    files = fs.find(root, detail=True)
    return sorted((path[len(root) + 1 :], int(info["size"])) for path, info in files.items())


def _listed(fs: fsspec.AbstractFileSystem, root: str, url: str) -> Iterator[Row]:
    with fs.open(f"{root}/{CAPTIONS}", "rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{CAPTIONS}, line {number}"
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                name = as_text(value["file"])
                yield Row(name, [as_text(c) for c in value["captions"]], location=name)
            except (ValueError, KeyError, TypeError, IndexError):
                problem = f'{where}: expected {{"file": "...", "captions": ["..."]}}'
                yield Row(None, [], problem=problem)


def _beside(fs: fsspec.AbstractFileSystem, root: str, url: str) -> Iterator[Row]:
    names = sorted(cast("list[str]", fs.find(root)))
    present = set(names)
    pictures = [n for n in names if n.rsplit(".", 1)[-1].lower() in EXTENSIONS]
    if not pictures:
        raise ValueError(f"{url}: no pictures ({', '.join(sorted(EXTENSIONS))}) and no {CAPTIONS} in this folder")
    for path in pictures:
        text = path.rsplit(".", 1)[0] + ".txt"
        captions = []
        if text in present:
            with fs.open(text, "rb") as file:
                captions = [c for c in file.read().decode("utf-8-sig", "replace").splitlines() if c.strip()]
        name = path[len(root) + 1 :]
        yield Row(name, captions, location=name)
