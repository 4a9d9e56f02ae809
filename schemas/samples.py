"""Samples: what `dalle.generate` draws, one row for each, in `samples.parquet` beside the pictures."""

from __future__ import annotations

import pyarrow as pa

SAMPLES = "samples.parquet"
PICTURES = "images"
"""Sub-folder of the pictures, all right in it, as those who measure pictures want them."""


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    return pa.field(name, kind, metadata={"description": description} | ({"unit": unit} if unit else {}))


def samples_schema(codes: int) -> pa.Schema:
    """The columns of samples.

    Args:
        codes: of a picture.
    """
    return pa.schema(
        [
            _field("caption", pa.string(), "as it was given"),
            _field("caption_id", pa.string(), "as it was given beside the caption; its number from 0 otherwise"),
            _field("sample", pa.int32(), "which of its caption's samples, from 0"),
            _field("seed", pa.uint64(), "of the sample: of --seed, the caption and the sample's number"),
            _field("codes", pa.list_(pa.uint16(), codes), "of the picture, row by row of the grid"),
            _field("log_likelihood", pa.float64(), "of the codes that were drawn, at temperature 1", "nats"),
            _field(
                "score", pa.float32(), "how well picture and caption fit, by the re-ranker; null without one", "cosine"
            ),
            _field(
                "rank", pa.int32(), "by score among its caption's samples, 0 is the best; by likelihood without one"
            ),
            _field("file", pa.string(), "the picture, as seen from this folder; null if it was not kept"),
        ]
    )
