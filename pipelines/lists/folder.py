"""Read a local folder of pictures with their captions: `--dataset folder`.

Two layouts: pictures with a .txt file beside each (a caption a line), or one `captions.jsonl` with an object a line,
`{"file": "a/b.jpg", "captions": ["..."]}`. A row's `url` is the picture's path in the folder, so that the same
folder gives the same bytes wherever it lies.
"""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa

from pipelines.lists.files import files_below
from pipelines.lists.formats import parsed
from pipelines.lists.rows import Row, batches
from pipelines.lists.text import decoded, lines, open_text
from pipelines.lists.values import captions_of, text_of

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
    rows = _listed(f"{url.rstrip('/')}/{CAPTIONS}") if fs.isfile(f"{root}/{CAPTIONS}") else _beside(fs, root, url)
    yield from batches(rows)


def captions_by_file(path: str) -> Iterator[tuple[str, list[str]] | str]:
    """File and captions of each line of a captions.jsonl, or what is wrong with it.

    Raises:
        ValueError: if it is no text.
        OSError: if it cannot be read.
    """
    with open_text(path) as file:
        for number, line in enumerate(lines(file), 1):
            if not line.strip():
                continue
            value = parsed(line)
            where = f"{path.rsplit('/', 1)[-1]}, line {number}"
            if not isinstance(value, dict) or "file" not in value or not isinstance(value.get("captions"), list):
                yield f'{where}: expected {{"file": "...", "captions": ["..."]}}'
                continue
            try:
                yield text_of(value["file"], "file") or "", captions_of(value["captions"])
            except ValueError as error:
                yield f"{where}: {error}"


def _listed(path: str) -> Iterator[Row]:
    for line in captions_by_file(path):
        if isinstance(line, str):
            yield Row(None, [], problem=line)
        else:
            yield Row(line[0], line[1], location=line[0])


def _beside(fs: fsspec.AbstractFileSystem, root: str, url: str) -> Iterator[Row]:
    names = files_below(url)
    present = set(names)
    pictures = [name for name in names if name.rsplit(".", 1)[-1].lower() in EXTENSIONS]
    if not pictures:
        raise ValueError(f"{url}: no pictures ({', '.join(sorted(EXTENSIONS))}) and no {CAPTIONS} in this folder")
    for name in pictures:
        text = name.rsplit(".", 1)[0] + ".txt"
        captions = []
        if text in present and fs.isfile(f"{root}/{text}"):  # a pipe would be read for ever
            with fs.open(f"{root}/{text}", "rb") as file:
                captions = [caption for caption in decoded(file.read()).splitlines() if caption.strip()]
        yield Row(name, captions, location=name)
