"""Lists of pairs in every format; done to them is what the planner does, down to the rows of the units."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lists import ListOptions
from pipelines.lists.source import open_source
from pipelines.work.beginning import rows_of

_LONGEST = 100
"""Characters of an ending that a file's name has room for."""
_ROWS = (
    {"url": "http://a.test/1.jpg", "caption": "a red boat, by the sea", "width": 3, "tags": "x"},
    {"url": "http://b.test/2.png", "caption": 'he said "look" and\nleft', "width": 4, "tags": "\u72ac \U0001f415"},
    {"url": "http://c.test/3.gif", "caption": "", "width": 5, "tags": "&amp;"},
)


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Each begins with the ending of its file's name and a zero byte."""
    return tuple(kind.encode() + b"\0" + data for kind, data in _seeds())


def _seeds() -> Iterator[tuple[str, bytes]]:
    lines = [f'{r["url"]},"{str(r["caption"]).replace(chr(34), chr(34) * 2)}",{r["width"]}' for r in _ROWS]
    csv = ("url,caption,width\n" + "\n".join(lines) + "\n").encode()
    jsonl = "".join(json.dumps(row) + "\n" for row in _ROWS).encode()
    yield from (("csv", csv), ("tsv", csv.replace(b",", b"\t")), ("jsonl", jsonl), ("json", json.dumps(_ROWS).encode()))
    yield "txt", b"".join(str(r["url"]).encode() + b"\n" for r in _ROWS)
    for name, data in (("csv", csv), ("jsonl", jsonl), ("tsv", csv)):
        yield f"{name}.gz", gzip.compress(data, mtime=0)
    yield "csv", csv.decode().encode("utf-16")
    for table in (pa.Table.from_pylist(list(_ROWS)), pa.table({"url": ["http://a.test"], "caption": [["a", None]]})):
        for options in ({}, {"compression": "zstd"}, {"use_dictionary": False, "write_statistics": False}):
            out = io.BytesIO()
            pq.write_table(table, out, **options)
            yield "parquet", out.getvalue()


def done_to(data: bytes) -> tuple[Any, bytes]:
    """Rows, or one sentence that says what is wrong with the list."""
    kind, _, content = data.partition(b"\0")
    name = kind.decode("ascii", "ignore")
    ending = name if len(name) < _LONGEST and name.removesuffix(".gz").isalpha() else "csv"
    descriptor, path = tempfile.mkstemp(suffix=f".{ending}")
    try:
        os.write(descriptor, content)
        os.close(descriptor)
        rows = 0
        for batch in open_source(ListOptions(url_list=(path,))).rows():
            rows += sum(1 for _ in rows_of(pa.Table.from_batches([batch])))
        return "rows" if rows else "no rows", b""
    except (ValueError, OSError) as error:
        return ("refused" if str(error) else f"refused badly, without a word: {type(error).__name__}"), b""
    finally:
        os.remove(path)
