"""Encode a sample of a dataset's examples again and compare; draw originals beside what their codes decode to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from dalle.pictures.images import decode
from schemas.folder import Folder
from schemas.manifest import Counts
from schemas.pair_shards import read_pictures
from schemas.shards import read_parquet

_TILE = 192
_ACROSS = 4
"""Pairs of an original and its decoded codes in a row of the sheet."""


@dataclass(frozen=True)
class Drawn:
    """An example that was drawn, and its picture."""

    where: str
    """Shard file and row."""
    key: str
    captions: list[str]
    tokens: list[list[int]]
    codes: np.ndarray
    """[crops, n]."""
    pixels: np.ndarray
    """[H, W, 3] uint8, the stored picture."""


def draw_sample(
    examples: Folder, pairs: Folder, shards: Sequence[Mapping[str, Any]], size: int, seed: int
) -> Iterator[Drawn]:
    """So many examples of all, or all if there are fewer, each as likely as any other; in order.

    Raises:
        ValueError: if the pairs have no picture for one of them.
    """
    counts = [Counts.of_json(shard["counts"]).kept for shard in shards]
    ends = np.cumsum(counts)
    total = int(ends[-1]) if counts else 0
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(size, total), replace=False))
    for number, shard in enumerate(shards):
        rows = chosen[(chosen >= ends[number] - counts[number]) & (chosen < ends[number])] - (
            ends[number] - counts[number]
        )
        if not len(rows):
            continue
        name = f"{shard['name']}.parquet"
        table = read_parquet(examples, name, ["key", "captions", "text_tokens", "image_codes"]).take(rows)
        wanted = set(table["key"].to_pylist())
        pictures = {key: data for key, _, data in read_pictures(pairs, shard["name"]) if key in wanted}
        for index, row in zip(rows.tolist(), table.to_pylist(), strict=True):
            if row["key"] not in pictures:
                raise ValueError(f"{pairs.path(shard['name'])}: has no picture of the key {row['key']}")
            yield Drawn(
                f"{examples.path(name)}, row {index}",
                row["key"],
                row["captions"],
                row["text_tokens"],
                np.array(row["image_codes"], np.uint16),
                decode(pictures[row["key"]]),
            )


def compare(drawn: Drawn, tokens: list[list[int]], codes: np.ndarray) -> Iterator[str]:
    """How an example differs from what was made of its pair just now."""
    if drawn.tokens != tokens:
        yield f"{drawn.where}: its text_tokens are not those of its captions"
    if drawn.codes.shape != codes.shape:
        yield f"{drawn.where}: its image_codes have shape {drawn.codes.shape}, encoded again {codes.shape}"
    elif (different := drawn.codes != codes).any():
        count = f"{different.sum():,} of its {different.size:,}"
        yield f"{drawn.where}: {count} image_codes differ from those of its picture"


def contact_sheet(originals: Sequence[np.ndarray], codes: Sequence[np.ndarray], encoder: Any) -> bytes:
    """A PNG of originals, each with its decoded codes on the right.

    Args:
        originals: [256, 256, 3] uint8 crops.
        codes: [n] of each, as they stand in the dataset.
        encoder: has `decode`.
    """
    pairs = []
    for original, grid in zip(originals, codes, strict=True):
        again = encoder.decode(torch.from_numpy(grid.astype(np.int64))[None])[0].permute(1, 2, 0).numpy()
        both = [original, np.rint(again * 255).astype(np.uint8)]
        pairs.append(np.hstack([cv2.resize(each, (_TILE, _TILE), interpolation=cv2.INTER_AREA) for each in both]))
    pairs += [np.full_like(pairs[0], 255)] * (-len(pairs) % _ACROSS)
    rows = [np.hstack(pairs[i : i + _ACROSS]) for i in range(0, len(pairs), _ACROSS)]
    ok, encoded = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
    assert ok
    return bytes(encoded.tobytes())
