"""Data sets of links, by their published files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa

from pipelines.lists.columns import ListColumns, check_columns, header_again
from pipelines.lists.containers import open_file
from pipelines.lists.expected import expected, none_of
from pipelines.lists.formats import extra_fields, from_object, named_rows, tab_separated
from pipelines.lists.json_arrays import json_items
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.parquet_lists import open_parquet, read_parquet_list
from pipelines.lists.rows import Row, batches
from pipelines.lists.text import lines, open_text
from pipelines.lists.values import SeenNames, captions_of, text_of, unescaped

YFCC_COLUMNS = (
    *("line_number", "photo_id", "hash", "user_nsid", "user_nickname", "date_taken", "date_uploaded", "device"),
    *("title", "description", "user_tags", "machine_tags", "longitude", "latitude", "accuracy", "page_url"),
    *("download_url", "license_name", "license_url", "server", "farm", "secret", "secret_original", "extension"),
    "marker",
)
"""Of `yfcc100m_dataset`; the older split files lack the line number and the hash."""
_OLD_YFCC_COLUMNS = tuple(name for name in YFCC_COLUMNS if name not in ("line_number", "hash"))
_LINK = re.compile(r"//|^\s*www\.", re.IGNORECASE)
_HEADER = {"url", "image_url", "link", "caption", "text", "title", "description"}
"""What columns are called."""
_TAG = re.compile(r"<[^<>]*>")

_WIT_CAPTIONS = ("caption_reference_description", "caption_alt_text_description", "caption_attribution_description")


def cc3m(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """Conceptual Captions: TSV without header, caption then url."""
    return _headerless(path, columns, ("caption", "url"))


def cc12m(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """Conceptual 12M: TSV without header, url then caption."""
    return _headerless(path, columns, ("url", "caption"))


def laion(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """LAION-400M, 2B, 5B and their re-releases: Parquet with URL and TEXT, or url and caption."""
    return _parquet(path, columns, ("URL", "url"), ("TEXT", "caption", "text"))


def coyo(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """COYO-700M: Parquet with url and text."""
    return _parquet(path, columns, ("url",), ("text",))


def datacomp(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """DataComp's CommonPool: Parquet with url and text."""
    return _parquet(path, columns, ("url",), ("text",))


def yfcc100m(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """YFCC100M: TSV without header, 25 or 23 columns; title and description are captions, videos have no picture."""
    if columns.save_additional_columns:
        check_columns(YFCC_COLUMNS, path, columns, columns.save_additional_columns)
    with open_text(path, columns.encoding) as file:
        records = expected(
            tab_separated(file),
            lambda fields: None if fields == [""] else len(fields) in (len(YFCC_COLUMNS), len(_OLD_YFCC_COLUMNS)),
            lambda count: f"{path}: {none_of(count, '25 or 23 fields with tabs between')}, so it is {_not_of(columns)}",
        )
        yield from batches(_yfcc_rows(records, columns), extra_fields(columns, is_json=False))


def wit(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """WIT (Wikipedia): TSV with header; the reference, alternative and attribution texts are the captions."""
    with open_text(path, columns.encoding) as file:
        yield from batches(_wit_rows(tab_separated(file), path, columns), extra_fields(columns, is_json=False))


def sbu(path: str, columns: ListColumns) -> Iterator[pa.RecordBatch]:
    """SBU: `sbu-captions-all.json` (image_urls, captions), or `..._urls.txt` with `..._captions.txt` beside it."""
    if path.lower().rsplit("/", 1)[-1].split(".")[1:2] == ["json"]:
        yield from batches(_sbu_json(path, columns.encoding))
    else:
        yield from batches(_sbu_texts(path, columns.encoding))


def redcaps(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """RedCaps: one JSON a subreddit and year, {"annotations": [{image_id, url, caption, ...}]}."""
    subreddit = path.rsplit("/", 1)[-1].rsplit("_", 1)[0]
    named = replace(columns, url_col="url", caption_col="caption")
    with open_text(path, columns.encoding) as file:
        items = SeenNames(path, named, named.names).watch(json_items(file, "annotations", path))
        rows = (_redcaps_row(value, number, subreddit, named, pictures) for number, value in enumerate(items, 1))
        yield from batches(rows, extra_fields(columns, is_json=True))


def _headerless(path: str, columns: ListColumns, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    named = replace(columns, url_col="url", caption_col="caption")
    with open_text(path, columns.encoding) as file:
        rows = named_rows(_as_published(tab_separated(file), path, columns, names), path, named, names)
        yield from batches(rows, extra_fields(columns, is_json=False))


def _as_published(
    records: Iterator[list[str]], path: str, columns: ListColumns, names: Sequence[str]
) -> Iterator[list[str]]:
    """The records, if they are not those of another list."""
    link = names.index("url")

    def fits(fields: list[str]) -> bool | None:
        if fields == [""]:
            return None
        has_link = [bool(_LINK.search(field)) for field in fields]
        return len(fields) == len(names) and (has_link[link] or not any(has_link))

    def wrong(count: int) -> str:
        return f"{path}: {none_of(count, ' and '.join(names))} with a tab between, so it is {_not_of(columns)}"

    first = next(records, [""])
    if len(first) == len(names) and {field.strip().lower() for field in first} <= _HEADER:
        raise ValueError(f"{path}: begins with a line of column names, so it is {_not_of(columns)}")
    return expected(itertools.chain([first], records), fits, wrong)


def _not_of(columns: ListColumns) -> str:
    return f"not {columns.dataset}'s; give its own --dataset, or none and name its columns"


def _parquet(path: str, columns: ListColumns, urls: Sequence[str], captions: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with open_file(path) as file:
        names = open_parquet(file, path).schema_arrow.names
    url = next((name for name in urls if name in names), urls[0])
    caption = next((name for name in captions if name in names), captions[0])
    return read_parquet_list(path, replace(columns, url_col=url, caption_col=caption))


def _yfcc_rows(records: Iterator[list[str]], columns: ListColumns) -> Iterator[Row]:
    for number, fields in enumerate(records, 1):
        names = YFCC_COLUMNS if len(fields) == len(YFCC_COLUMNS) else _OLD_YFCC_COLUMNS
        if len(fields) != len(names):
            if fields != [""]:
                wanted = f"{len(YFCC_COLUMNS)} or {len(_OLD_YFCC_COLUMNS)}"
                yield Row(None, [], problem=f"row {number}: {len(fields)} fields, expected {wanted}")
            continue
        value = dict(zip(names, fields, strict=True))
        extras = [value.get(name) for name in columns.save_additional_columns]
        captions = [text for name in ("title", "description") if (text := yfcc_text(value[name]))]
        video = None if value["marker"] == "0" else "a video, not a picture"
        yield Row(value["download_url"], captions, extras, problem=video)


def yfcc_text(encoded: str) -> str:
    """A title or description as a person wrote it: URL-encoded with plus for space, with HTML in it."""
    return unescaped(_TAG.sub(" ", unquote_plus(encoded))).strip()


def _wit_rows(records: Iterator[list[str]], path: str, columns: ListColumns) -> Iterator[Row]:
    names = next(records, [])
    missing = [name for name in ("image_url", *_WIT_CAPTIONS, *columns.save_additional_columns) if name not in names]
    if missing:
        raise ValueError(f"{path}: has no column '{missing[0]}'; its columns are {', '.join(names)}")
    for number, fields in enumerate(records, 2):
        if len(fields) != len(names):
            if fields != [""]:
                yield Row(None, [], problem=f"row {number}: {len(fields)} fields, expected {len(names)}")
            continue
        if problem := header_again(fields, names, path, number):
            yield Row(None, [], problem=problem)
            continue
        value = dict(zip(names, fields, strict=True))
        captions = list(dict.fromkeys(value[name] for name in _WIT_CAPTIONS if value[name].strip()))
        yield Row(value["image_url"], captions, [value[name] for name in columns.save_additional_columns])


def _sbu_json(path: str, encoding: str | None) -> Iterator[Row]:
    with open_text(path, encoding) as urls, open_text(path, encoding) as captions:
        both = itertools.zip_longest(
            json_items(urls, "image_urls", path), json_items(captions, "captions", path), fillvalue=_MISSING
        )
        for number, (url, caption) in enumerate(both, 1):
            if url is _MISSING or caption is _MISSING:
                more, fewer = ("image_urls", "captions") if caption is _MISSING else ("captions", "image_urls")
                raise ValueError(
                    f"{path}: has only {number - 1:,} {fewer} and more {more}, so captions would go to wrong links"
                )
            yield _sbu_row(url, caption, number)


_MISSING: Any = object()
"""What stands in place of the shorter one's."""


def _sbu_row(url: Any, caption: Any, number: int) -> Row:
    try:
        return Row(text_of(url, "url"), captions_of(caption))
    except ValueError as error:
        return Row(None, [], problem=f"pair {number}: {error}")


def _sbu_texts(path: str, encoding: str | None) -> Iterator[Row]:
    name = path.rsplit("/", 1)[-1]
    beside = path[: -len(name)] + name.replace("_urls", "_captions")
    if "_urls" not in name:
        raise ValueError(f"{path}: expected sbu-captions-all.json or a file named ..._urls.txt")
    with open_text(path, encoding) as urls, open_text(beside, encoding) as captions:
        for url, caption in itertools.zip_longest(lines(urls), lines(captions), fillvalue=_MISSING):
            if url is _MISSING or caption is _MISSING:
                raise ValueError(f"{beside}: has not as many lines as {name}, so captions would go to wrong links")
            yield Row(url.strip(), [caption.rstrip("\r\n")])


def _redcaps_row(value: Any, number: int, subreddit: str, columns: ListColumns, pictures: PictureFolder | None) -> Row:
    row = from_object(value, f"annotation {number}", columns)
    if pictures is None or row.problem:
        return row
    image = f"{value.get('image_id')}.jpg"
    return replace(row, location=pictures.find(f"{value.get('subreddit') or subreddit}/{image}") or "")
