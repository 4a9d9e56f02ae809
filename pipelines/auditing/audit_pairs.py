"""Check one shard of pairs against what its ledger, its marker and the manifest say: a sentence for each fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from dalle.pictures.images import UndecodableImage, decode
from pipelines.auditing.audit_files import all_are_files, audit_columns, audit_files, audit_marker
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.manifest import Counts
from schemas.pair_shards import sample_json
from schemas.pairs import LEDGER, PICTURES, REMOVED, STATUSES, SUCCESS, uid
from schemas.reasons import REASONS, STATUS_OF_STAGE
from schemas.shards import index_digits, read_parquet, read_tar, sample_key


def audit_pairs(folder: Folder, shard: Mapping[str, Any], rows_per_shard: int) -> Iterator[str]:
    """The faults of a shard, given what the manifest says of it."""
    name = shard["name"]
    yield from audit_files(folder, shard)
    yield from audit_marker(folder, shard)
    if not all_are_files(folder, shard):  # a pipe or a device would be read for ever
        return
    try:
        table = read_parquet(folder, f"{name}.parquet")
    except (ValueError, OSError) as error:
        yield str(error) if isinstance(error, ValueError) else f"{folder.path(name)}.parquet: {error.strerror}"
        return
    where = folder.path(f"{name}.parquet")
    wrong = list(audit_columns(table.schema, LEDGER, where))
    yield from wrong
    if wrong:
        return
    rows = table.drop_columns([k for k in PICTURES if k in table.column_names]).to_pylist()
    digits = index_digits(rows_per_shard)
    for index, row in enumerate(rows):
        for fault in _audit_row(row, sample_key(name, index, digits)):
            yield f"{where}, row {index}: {fault}"
    counts = Counts.of_ledger(table).to_json()
    if counts != shard["counts"]:
        yield f"{where}: its rows count {_spell(counts)}, the manifest says {_spell(shard['counts'])}"
    yield from _audit_pictures(folder, name, table, rows)


def _audit_pictures(folder: Folder, name: str, table: pa.Table, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Against the ledger's rows: those of a tar, or those of the ledger's last column."""
    where = folder.path(f"{name}.parquet")
    kept = [row for row in rows if row["status"] == SUCCESS]
    kind = next((k for k in PICTURES if k in table.column_names), None)
    if kind is None:
        if kept or folder.exists(f"{name}.tar"):
            yield from _audit_tar(folder, f"{name}.tar", kept)
    else:
        for row, data in zip(rows, table[kind].to_pylist(), strict=True):
            if (data is not None) != (row["status"] == SUCCESS):
                there = "a" if data else "no"
                yield f"{where}, sample {row['key']}: its status is {row['status']} but there is {there} picture"
            elif data is not None:
                yield from (f"{where}, sample {row['key']}: {fault}" for fault in _audit_picture(data, row))


def _audit_row(row: Mapping[str, Any], key: str) -> Iterator[str]:
    if row["key"] != key:
        yield f"key is {row['key']}, expected {key}"
    if row["status"] not in STATUSES:
        yield f"status is '{row['status']}', expected one of {', '.join(STATUSES)}"
    elif row["status"] == SUCCESS:
        for name in ("width", "height", "original_width", "original_height", "sha256", "stored_sha256"):
            if row[name] is None:
                yield f"is kept but has no {name}"
        if row["reason"] is not None or row["stage"] is not None:
            yield f"is kept but has the reason {row['reason']}"
    elif row["status"] != REMOVED:
        reason = REASONS.get(row["reason"])
        if reason is None or row["stage"] not in reason.stages or row["status"] != STATUS_OF_STAGE[row["stage"]]:
            yield f"status {row['status']}, stage {row['stage']} and reason {row['reason']} do not belong together"
    if row["uid"] != uid(row["url"] or "", row["caption"]):
        yield "uid is not that of its url and caption"


def _audit_tar(folder: Folder, name: str, kept: list[dict[str, Any]]) -> Iterator[str]:
    where = folder.path(name)
    by_key = {row["key"]: row for row in kept}
    seen = []
    try:
        with folder.open(name) as file:
            for key, members in read_tar(file, where):
                seen.append(key)
                for fault in _audit_sample(by_key.get(key), members):
                    yield f"{where}, sample {key}: {fault}"
    except (ValueError, OSError) as error:
        yield str(error) if isinstance(error, ValueError) else f"{where}: {error.strerror}"
        return
    expected = [row["key"] for row in kept]
    if seen != expected:
        missing = sorted(set(expected) - set(seen))
        what = f"{len(missing)} are missing, first {missing[0]}" if missing else "they are in another order"
        yield f"{where}: its samples are not the kept rows of the ledger ({what})"


def _audit_sample(row: Mapping[str, Any] | None, members: Mapping[str, bytes]) -> Iterator[str]:
    if row is None:
        yield "the ledger does not keep it"
        return
    kind = next((k for k in PICTURES if k in members), None)
    if kind is None or set(members) != {kind, "txt", "json"}:
        yield f"its members are {', '.join(members)}, expected a picture, txt and json"
        return
    if members["txt"].decode("utf-8", "replace") != (row["text"] or ""):
        yield "its txt is not the ledger's text"
    try:
        if parse_json(members["json"]) != json.loads(sample_json(row)):
            yield "its json is not what the ledger says"
    except ValueError:
        yield "its json cannot be parsed"
    yield from _audit_picture(members[kind], row)


def _audit_picture(data: bytes, row: Mapping[str, Any]) -> Iterator[str]:
    if hashlib.sha256(data).hexdigest() != row["stored_sha256"]:
        yield "its picture's sha256 is not the ledger's stored_sha256"
    try:
        height, width = decode(data).shape[:2]
    except UndecodableImage as error:
        yield f"its picture cannot be decoded ({error})"
        return
    if (width, height) != (row["width"], row["height"]):
        yield f"its picture is {width} x {height}, the ledger says {row['width']} x {row['height']}"


def _spell(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts["statuses"].items() if n)
