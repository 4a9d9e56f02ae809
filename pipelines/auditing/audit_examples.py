"""Check one shard of examples against its schema, its marker and the manifest: a sentence for each fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from dalle.reading.example_files import row_of_sample
from dalle.reading.ragged import Column
from pipelines.auditing.audit_files import audit_columns, audit_files, audit_marker
from schemas.examples import CODES, TEXT_LENGTH, examples_schema
from schemas.folder import Folder
from schemas.manifest import Counts
from schemas.shards import read_parquet, read_tar


def audit_examples(folder: Folder, shard: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[str]:
    """The faults of a shard, given what the manifest says of it and its options."""
    yield from audit_files(folder, shard)
    yield from audit_marker(folder, shard)
    name = f"{shard['name']}.parquet"
    where = folder.path(name)
    try:
        table = read_parquet(folder, name)
    except (ValueError, OSError) as error:
        yield str(error) if isinstance(error, ValueError) else f"{where}: {error.strerror}"
        return
    wrong = list(audit_columns(table.schema, examples_schema(options["codes"]), where))
    yield from wrong
    if wrong:
        return
    kept = Counts.of_json(shard["counts"]).kept
    if table.num_rows != kept:
        yield f"{where}: has {table.num_rows} rows, the manifest says {kept}"
    keys = table["key"].to_pylist()
    if keys != sorted(set(keys)) or not all(key.startswith(shard["name"]) for key in keys):
        yield f"{where}: its keys are not in order, not each once, or not those of the shard"
    try:
        _check_numbers(table, options, where)
    except ValueError as error:
        yield str(error)
    if options["output_format"] == "webdataset" and (table.num_rows or folder.exists(f"{shard['name']}.tar")):
        yield from _audit_tar(folder, f"{shard['name']}.tar", table)


def _check_numbers(table: pa.Table, options: Mapping[str, Any], where: str) -> None:
    codes, tokens = (Column(table[name], name, where) for name in ("image_codes", "text_tokens"))
    codes.below(options["image_vocab_size"], "codes")
    tokens.below(options["vocab_size"], "tokens")
    boxes = table["crop_boxes"].combine_chunks().value_lengths().to_numpy()
    texts = table["captions"].combine_chunks().value_lengths().to_numpy()
    for column, expected, what in (
        (codes, np.full(table.num_rows, options["crops_per_image"]), "crops"),
        (codes, boxes, "crops, as many as crop_boxes"),
        (tokens, texts, "lists, as many as captions"),
    ):
        for row in np.flatnonzero(np.diff(column.rows) != expected)[:1]:
            column.fail_at_row(int(row), f"has {np.diff(column.rows)[row]} lists, expected {expected[row]} {what}")
    for text in np.flatnonzero(tokens.lists.counts > TEXT_LENGTH)[:1]:
        tokens.fail(int(text), f"has {tokens.lists.counts[text]} values, expected at most {TEXT_LENGTH}")


def _audit_tar(folder: Folder, name: str, table: pa.Table) -> Iterator[str]:
    where, seen = folder.path(name), []
    rows = {row["key"]: row for row in table.to_pylist()}
    try:
        with folder.open(name) as file:
            for key, members in read_tar(file, where):
                seen.append(key)
                row = rows.get(key)
                if row is None or set(members) != {"txt", "json", CODES}:
                    yield f"{where}, sample {key}: is not in the Parquet file, or its members are {', '.join(members)}"
                    continue
                try:
                    wrong = any(column[0].as_py() != row[n] for n, column in row_of_sample(members).items())
                except ValueError as error:
                    yield f"{where}, sample {key}: {error}"
                    continue
                if wrong:
                    yield f"{where}, sample {key}: is not what the Parquet file says"
    except (ValueError, OSError) as error:
        yield str(error) if isinstance(error, ValueError) else f"{where}: {error.strerror}"
        return
    if seen != list(rows):
        yield f"{where}: its samples are not the rows of the Parquet file"
