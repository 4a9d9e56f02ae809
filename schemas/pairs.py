"""The ledger: one row for every input row of a pairs dataset, kept or not.

Names follow img2dataset's, so that tools which read its folders read ours. A row's fate is spelled by three
columns: `status` (what became of it), `stage` (where it was decided) and `reason` (why; see `schemas.reasons`).
"""

from __future__ import annotations

import hashlib

import pyarrow as pa

SUCCESS = "success"
REFUSED = "refused"
FAILED_TO_DOWNLOAD = "failed_to_download"
FAILED_TO_RESIZE = "failed_to_resize"
REMOVED = "removed"
STATUSES = (SUCCESS, REFUSED, FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, REMOVED)

NOT_IN_MEMBER = frozenset({"status", "stage", "reason", "error_message"})
"""Ledger columns that say nothing about a kept sample and so are left out of its `key.json`."""

PICTURES = ("jpg", "png", "webp")
"""Extensions of stored pictures: a tar's members, or the last column of a Parquet shard."""


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, metadata=metadata)


LEDGER = pa.schema(
    [
        _field("key", pa.string(), "shard number and index in the shard; the same in every job"),
        _field("url", pa.string(), "where the picture is, as given (a file's path for local pictures)"),
        _field("caption", pa.string(), "the caption as given; the first one where several were given"),
        _field("text", pa.string(), "the caption as kept, also in key.txt"),
        _field("captions", pa.list_(pa.string()), "all captions as kept"),
        _field("status", pa.string(), " | ".join(STATUSES)),
        _field("stage", pa.string(), "where a row that is not kept was lost; null if kept"),
        _field("reason", pa.string(), "why, in one of the words of schemas.reasons; null if kept"),
        _field("error_message", pa.string(), "the same in a sentence, with what was found"),
        _field("language", pa.string(), "language of the caption", "ISO 639-1"),
        _field("language_probability", pa.float32(), "how sure the language model is", "0 to 1"),
        _field("width", pa.int32(), "width of the stored picture", "pixels"),
        _field("height", pa.int32(), "height of the stored picture", "pixels"),
        _field("original_width", pa.int32(), "width of the picture as it is displayed", "pixels"),
        _field("original_height", pa.int32(), "height of the picture as it is displayed", "pixels"),
        _field("exif", pa.string(), "EXIF tags of the original", "JSON object"),
        _field("sha256", pa.string(), "of the bytes as fetched", "hex"),
        _field("stored_sha256", pa.string(), "of the bytes in the shard", "hex"),
        _field("uid", pa.string(), "first half of sha256 of url, tab, caption", "32 hex digits"),
    ]
)


def ledger_schema(extra: pa.Schema | None = None, picture: str | None = None) -> pa.Schema:
    """The ledger's columns, then the list's own that were saved, then the picture's where shards are Parquet.

    Raises:
        ValueError: if a saved column has the name of one of ours, or of a column of pictures, which a ledger may have
            or be given later.
    """
    fields = list(LEDGER)
    names = [field.name for field in extra or []]
    for field in extra or []:
        if names.count(field.name) > 1:
            raise ValueError(f"additional column '{field.name}' is named twice in --save_additional_columns")
        if field.name in (*LEDGER.names, *PICTURES):
            raise ValueError(
                f"additional column '{field.name}': this name is the ledger's own; rename it in the list or "
                "leave it out of --save_additional_columns"
            )
        fields.append(field)
    if picture:
        fields.append(_field(picture, pa.binary(), "the stored picture; null if the row is not kept"))
    return pa.schema(fields)


def uid(url: str, caption: str | None) -> str:
    """An identity of the pair that does not depend on where it stands in a list (32 hex digits)."""
    return hashlib.sha256(f"{url}\t{caption or ''}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
