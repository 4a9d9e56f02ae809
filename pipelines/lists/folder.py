"""Read a local folder of pictures with their captions: `--dataset folder`.

Three layouts: pictures with a .txt file beside each (a caption a line); one `captions.jsonl` with an object a line,
`{"file": "a/b.jpg", "captions": ["..."]}`; or Hugging Face's (`pipelines.lists.image_folder`). A row's `url` is the
picture's path in the folder, so that the same folder gives the same bytes wherever it lies.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from dalle.pictures.file_names import FAMILIAR, HEAD, ending_of, head_of, is_picture, passed_over, stem_of
from pipelines.lists.columns import ListColumns
from pipelines.lists.expected import expected, none_of
from pipelines.lists.files import files_below
from pipelines.lists.formats import parsed
from pipelines.lists.image_folder import is_metadata, read_image_folder
from pipelines.lists.rows import LOCATION, Row, batches
from pipelines.lists.text import decoded, lines, open_text
from pipelines.lists.values import captions_of, text_of
from schemas.stores import store_of

CAPTIONS = "captions.jsonl"
FOLDER = ListColumns(url_col="file", caption_col="captions")
"""What the members of its objects are called."""
_LINE_END = re.compile("\r\n?|\n")


def read_folder(url: str, columns: ListColumns | None = None) -> Iterator[pa.RecordBatch]:
    """The pictures of a folder in the order of their paths, or of what names them.

    Raises:
        ValueError: if it is no folder, or holds no pictures, or columns are named where there are none.
    """
    columns = columns or ListColumns()
    fs, root = store_of(url)
    if not fs.isdir(root):
        raise ValueError(f"{url}: is not a folder; --dataset folder wants a folder of pictures")
    names = files_below(url)
    if fs.isfile(f"{root}/{CAPTIONS}"):
        listed = batches(_listed(f"{url.rstrip('/')}/{CAPTIONS}", columns))
        yield from _noting_others(listed, names, url, CAPTIONS, columns)
        return
    pictures = [name for name in names if is_picture(name, functools.partial(head_in, fs, f"{root}/{name}"))]
    texts = _texts_beside(names, pictures)
    metadata = [name for name in names if is_metadata(name) and fs.isfile(f"{root}/{name}")]  # not a pipe
    if metadata and not texts:
        named = read_image_folder(url.rstrip("/"), metadata, columns)
        yield from _noting_others(named, names, url, ", ".join(metadata[:3]), columns)
        return
    if not pictures:
        raise ValueError(
            f"{url}: no pictures ({FAMILIAR}) and no {CAPTIONS}, metadata.jsonl, metadata.csv or "
            "metadata.parquet in this folder"
        )
    _check_names_nothing(columns, url)
    yield from batches(_beside(fs, root, pictures, texts, columns))
    if others := set(names).difference(pictures, texts.values(), metadata):
        columns.remarks.append(f"{url}: {passed_over(others)}")
    if metadata:
        columns.remarks.append(
            f"{url}: {', '.join(metadata[:3])} is not read, because captions lie in .txt files beside pictures; "
            "take these away to read it"
        )


def head_in(fs: fsspec.AbstractFileSystem, path: str) -> bytes:
    """A file's first bytes, wherever it lies; nothing if it is none."""
    return head_of(path) if isinstance(fs, LocalFileSystem) else bytes(fs.cat_file(path, end=HEAD))


def captions_by_file(path: str, columns: ListColumns | None = None) -> Iterator[tuple[str, list[str]] | str]:
    """File and captions of each line of a captions.jsonl, or what is wrong with it.

    Raises:
        ValueError: if it is no text, or of another form.
        OSError: if it cannot be read.
    """
    default = ListColumns()
    columns = columns or default
    file_col = FOLDER.url_col if columns.url_col == default.url_col else columns.url_col
    caption_col = FOLDER.caption_col if columns.caption_col == default.caption_col else columns.caption_col
    form = f'{{"{file_col}": "...", "{caption_col}": ["..."]}}'

    def wrong(count: int) -> str:
        return f"{path}: {none_of(count, form)}; name its members with --url_col and --caption_col"

    with open_text(path, columns.encoding) as file:
        values = ((number, parsed(line)) for number, line in enumerate(lines(file), 1) if line.strip())
        for number, value in expected(values, lambda each: isinstance(each[1], dict) and file_col in each[1], wrong):
            where = f"{path.rsplit('/', 1)[-1]}, line {number}"
            is_right = isinstance(value, dict) and file_col in value
            if not is_right or (not isinstance(value.get(caption_col), list) and caption_col == FOLDER.caption_col):
                yield f"{where}: expected {form}"
                continue
            try:
                yield text_of(value[file_col], file_col) or "", captions_of(value.get(caption_col))
            except ValueError as error:
                yield f"{where}: {error}"


def _listed(path: str, columns: ListColumns) -> Iterator[Row]:
    for line in captions_by_file(path, columns):
        if isinstance(line, str):
            yield Row(None, [], problem=line)
        else:
            yield Row(line[0], line[1], location=line[0])


def _noting_others(
    rows: Iterator[pa.RecordBatch], names: Sequence[str], url: str, by: str, columns: ListColumns
) -> Iterator[pa.RecordBatch]:
    """The same rows; at their end it is noted which files none of them names, on this machine by whatever links."""
    others = {name for name in names if name != CAPTIONS and not is_metadata(name)}
    named = set[str]()
    for batch in rows:
        locations = batch[LOCATION].to_pylist()
        named.update(posixpath.normpath(name) for name in locations if name and "\0" not in name)
        yield batch
    others -= named
    fs, root = store_of(url)
    if others and isinstance(fs, LocalFileSystem):
        real_path = _real_paths(root)
        taken = set(map(real_path, named))
        others = {name for name in others if real_path(name) not in taken}
    if others:
        columns.remarks.append(f"{url}: {passed_over(others, why=f'{by} does not name')}")


def _real_paths(root: str) -> Callable[[str], str]:
    """From a file's path in a folder of this machine to where it lies; folders are looked at once."""
    real_folder = functools.cache(os.path.realpath)

    def real_path(name: str) -> str:
        folder, last = os.path.split(f"{root}/{name}")
        path = f"{real_folder(folder)}/{last}"
        return os.path.realpath(path) if os.path.islink(path) else path

    return real_path


def _texts_beside(names: Sequence[str], pictures: Sequence[str]) -> dict[str, str]:
    """By picture the text beside it, whose ending may be in capitals."""
    of_stem = {stem_of(name): name for name in names if ending_of(name) == "txt" and not name.endswith(".txt")}
    of_stem |= {name[: -len(".txt")]: name for name in names if name.endswith(".txt")}
    return {name: of_stem[stem] for name in pictures if (stem := stem_of(name)) in of_stem}


def _check_names_nothing(columns: ListColumns, url: str) -> None:
    for name in ("url_col", "caption_col"):
        if (value := getattr(columns, name)) != getattr(ListColumns, name):
            raise ValueError(
                f"--{name} {value}: {url} has its captions in .txt files, which have no columns; leave it out"
            )


def _beside(
    fs: fsspec.AbstractFileSystem,
    root: str,
    pictures: Sequence[str],
    texts: dict[str, str],
    columns: ListColumns,
) -> Iterator[Row]:
    for name in pictures:
        captions = []
        if (text := texts.get(name)) and fs.isfile(f"{root}/{text}"):  # a pipe would be read for ever
            with fs.open(f"{root}/{text}", "rb") as file:
                content = decoded(file.read(), columns.encoding)
            captions = [caption for caption in _LINE_END.split(content) if caption.strip()]
        yield Row(name, captions, location=name)
