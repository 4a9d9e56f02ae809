"""Examples: what a transformer is trained on, one row for every kept pair, and how a shard of them is stored.

A shard is a Parquet file; a tar of the same rows lies beside it if asked for: key.txt (the first caption), key.json
(all but the codes), key.image_codes.npy ([crops, codes] uint16).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.folder import HashingFile, Staging
from schemas.pair_shards import OutputFormat
from schemas.shards import Sample, write_tar

TEXT_LENGTH = 256
"""Text tokens of a caption at most (Ramesh et al. 2021, §2.2)."""
TEXT_VOCABULARY = 16_384
"""Entries of the vocabulary at most."""
IMAGE_LENGTH = 1024
"""Codes of a crop, 32 x 32, where the encoder is a dVAE."""

CODES = "image_codes.npy"
"""Extension of a tar's member that holds the codes."""

ROWS_AT_ONCE = 1000
"""Rows of a row group: small enough to stay in the processor's cache while they are decoded, three times the speed."""


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, metadata=metadata)


def examples_schema(codes: int = IMAGE_LENGTH, *, with_encoding: bool = False) -> pa.Schema:
    """The columns of examples.

    Args:
        codes: how many stand for a crop; 1024 unless the encoder is a user's own.
        with_encoding: add `caption` and `encoding`, the two columns that dalle-mini's loader reads.
    """
    grid = f"row-major {int(codes**0.5)} x {int(codes**0.5)}" if int(codes**0.5) ** 2 == codes else f"{codes} codes"
    fields = [
        _field("key", pa.string(), "shard number and index in the shard; that of the pair"),
        _field("uid", pa.string(), "first half of sha256 of url, tab, caption", "32 hex digits"),
        _field("captions", pa.list_(pa.string()), "all captions as kept"),
        _field("text_tokens", pa.list_(pa.list_(pa.uint16())), "of each caption, at most 256, no padding"),
        _field("image_codes", pa.list_(pa.list_(pa.uint16(), codes)), f"of each crop, {grid}"),
        _field(
            "crop_boxes", pa.list_(pa.list_(pa.float32(), 4)), "left, top, right, bottom of each crop", "stored pixels"
        ),
    ]
    if with_encoding:
        fields.append(_field("caption", pa.string(), "the first caption, for dalle-mini's loader"))
        fields.append(_field("encoding", pa.list_(pa.int32()), "the codes of the first crop, for dalle-mini's loader"))
    return pa.schema(fields)


EXAMPLES = examples_schema()


def write_examples(staging: Staging, shard: str, table: pa.Table, output_format: OutputFormat) -> None:
    """Make a shard's files ready: the Parquet file, and before it the tar if the format is `webdataset`."""
    if output_format == "webdataset":
        with staging.file(f"{shard}.tar") as file:
            write_tar(file, _samples(table))
    with staging.file(f"{shard}.parquet") as file:
        _write_parquet(file, table)


def _write_parquet(file: HashingFile, table: pa.Table) -> None:
    """Bytes of numbers split into streams, then zstd: half of a code's two bytes hardly vary."""
    numbers = ["text_tokens.list.element.list.element", "image_codes.list.element.list.element"]
    split = [*numbers, "crop_boxes.list.element.list.element"]
    split += ["encoding.list.element"] if "encoding" in table.column_names else []
    plain = ["key", "uid", "captions.list.element", "caption"]
    with pq.ParquetWriter(
        cast(Any, pa.PythonFile(file, mode="w")),
        table.schema,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=split,
        write_statistics=[name for name in plain if name.partition(".")[0] in table.column_names],
    ) as writer:
        writer.write_table(table, row_group_size=ROWS_AT_ONCE)


def _samples(table: pa.Table) -> Iterator[Sample]:
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        rest = [name for name in batch.schema.names if name not in ("image_codes", "encoding")]
        for index, row in enumerate(batch.select(rest).to_pylist()):
            codes = np.array(batch["image_codes"][index].as_py(), np.uint16)
            members = {
                "txt": (row["captions"][0] if row["captions"] else "").encode(),
                "json": json.dumps(row, ensure_ascii=False).encode(),
                CODES: _npy(codes),
            }
            yield row["key"], members


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
