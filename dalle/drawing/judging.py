"""Samples of some captions become pictures, are scored, and the best are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dalle.drawing.captions import Caption
from dalle.drawing.generator import Codes, Generator, Pictures
from dalle.pictures.resize import encode
from schemas.folder import Staging
from schemas.samples import PICTURES

PNG_LEVEL = 6


def judged(
    generator: Generator,
    captions: Sequence[tuple[int, Caption]],
    codes: Sequence[Codes],
    kept: Callable[[Pictures], np.ndarray],
    staging: Staging,
    told: Callable[[Pictures, Caption], None] = lambda _pictures, _caption: None,
) -> list[dict[str, Any]]:
    """Rows of `samples.parquet`; the pictures that are kept are made ready in the folder.

    Args:
        generator: makes pictures of codes, and scores them.
        captions: number and caption of each.
        codes: of each caption its samples.
        kept: which of a caption's samples have their pictures kept, [n] bool.
        staging: of the folder.
        told: is given the pictures of each caption.
    """
    rows = []
    pictures = generator.pictures([caption.text for _, caption in captions], codes)
    for (number, caption), drawn in zip(captions, pictures, strict=True):
        told(drawn, caption)
        keeps = kept(drawn)
        rank = np.empty(len(drawn.codes), np.int64)
        rank[drawn.order] = np.arange(len(drawn.codes))
        for sample, picture in enumerate(drawn.pictures):
            name = f"{PICTURES}/{number:06d}_{sample:04d}.png"
            if keeps[sample]:
                with staging.file(name) as file:
                    file.write(encode(picture, "png", PNG_LEVEL))
            rows.append(
                {
                    "caption": caption.text,
                    "caption_id": caption.id,
                    "sample": sample,
                    "seed": drawn.seeds[sample],
                    "codes": drawn.codes[sample].astype(np.uint16),
                    "log_likelihood": float(drawn.log_likelihood[sample]),
                    "score": None if drawn.scores is None else float(drawn.scores[sample]),
                    "rank": int(rank[sample]),
                    "file": name if keeps[sample] else None,
                }
            )
    return rows


def kept_samples(drawn: Pictures, keep: int | None, best_of: Sequence[int] = ()) -> np.ndarray:
    """[n] bool: which samples of a caption stay.

    Args:
        drawn: all of the caption's.
        keep: how many, the best; None keeps all.
        best_of: N; the best of the first N stays, too.
    """
    kept = np.full(len(drawn.codes), keep is None)
    kept[drawn.order[:keep]] = True
    for n in best_of:
        kept[next(sample for sample in drawn.order if sample < n)] = True
    return kept


def table_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist(rows, schema=schema)
