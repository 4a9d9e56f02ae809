"""Small datasets of examples and of pairs, written as the jobs write them, without running the jobs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from dalle import scenes
from dalle.pictures.resize import encode
from dalle.text import tokenizer
from schemas.examples import examples_schema, write_examples
from schemas.folder import Folder, Staging
from schemas.manifest import MANIFEST, Counts, Marker, manifest
from schemas.pair_shards import OutputFormat, write_pairs
from schemas.pairs import LEDGER

CODES = 16
DEDUP = {"job": "dedup", "manifest": "00" * 32, "options": {}}
WORDS = tokenizer.load()


def example_rows(shard: int, count: int, crops: int = 2) -> pa.Table:
    """Rows whose codes tell shard, row and crop, and whose captions tell shard, row and caption."""
    captions = [[f"row {row} of shard {shard}, caption {i}" for i in range(1 + row % 3)] for row in range(count)]
    codes = [[[shard, row, crop] + [7] * (CODES - 3) for crop in range(crops)] for row in range(count)]
    return pa.table(
        {
            "key": [f"{shard:05d}{row:03d}" for row in range(count)],
            "uid": [hashlib.sha256(f"{shard} {row}".encode()).hexdigest()[:32] for row in range(count)],
            "captions": captions,
            "text_tokens": [[WORDS.encode(caption) for caption in some] for some in captions],
            "image_codes": codes,
            "crop_boxes": [[[0.0, 0.0, 256.0, 256.0]] * crops] * count,
        },
        schema=examples_schema(CODES),
    )


def write_manifest(folder: Folder, table: str, counts: Sequence[int], lineage: Sequence[dict], options: dict) -> None:
    markers = [
        Marker(shard=f"{i:05d}", fingerprint="", counts=Counts(Counter({"success": n})), files=())
        for i, n in enumerate(counts)
    ]
    value = manifest(
        job="made up", table=table, options=options, inputs=[], library_versions={}, markers=markers, lineage=lineage
    )
    folder.write_json(MANIFEST, value)


def with_codes(rows: pa.Table, codes: object) -> pa.Table:
    """The same with other codes of their pictures."""
    field = rows.schema.field("image_codes")
    return rows.set_column(rows.schema.get_field_index(field.name), field, pa.array(codes, field.type))


def write_dataset(
    path: Path | str,
    counts: Sequence[int],
    *,
    lineage: Sequence[dict] = (DEDUP,),
    dvae: str = "d" * 64,
    codes: int = CODES,
    image_vocab_size: int = 512,
    rows: Callable[[int, int], pa.Table] = example_rows,
) -> str:
    """A dataset of examples with shards of these sizes, as Parquet and as tars; `rows` makes those of a shard."""
    folder = Folder(path)
    folder.make()
    for shard, count in enumerate(counts):
        with Staging(folder) as staging:
            write_examples(staging, f"{shard:05d}", rows(shard, count), "webdataset")
            staging.publish()
    options = {"vocabulary": WORDS.fingerprint, "vocab_size": WORDS.vocab_size, "dvae": dvae, "codes": codes}
    write_manifest(folder, "examples", counts, lineage, {**options, "image_vocab_size": image_vocab_size})
    return str(path)


def write_pictures(path: Path, counts: Sequence[int], *, lineage: Sequence[dict] = (DEDUP,)) -> str:
    """A dataset of pairs whose pictures are of one grey each: 10 for each shard, and one for each row."""
    folder = Folder(path)
    folder.make()
    for shard, count in enumerate(counts):
        rows = [{"key": f"{shard:05d}{row:03d}", "text": "grey", "status": "success"} for row in range(count)]
        ledger = pa.Table.from_pylist(rows, schema=LEDGER)
        with Staging(folder) as staging:
            write_pairs(
                staging,
                f"{shard:05d}",
                ledger,
                lambda row, shard=shard: encode(np.full((8, 8, 3), 10 * shard + row, np.uint8), "png", 1),
                kind="png",
                output_format="webdataset",
            )
            staging.publish()
    write_manifest(folder, "pairs", counts, lineage, {})
    return str(path)


def write_scenes(
    path: Path,
    counts: Sequence[int],
    *,
    side: int = 64,
    first: int = 0,
    kind: str = "jpg",
    output_format: OutputFormat = "webdataset",
    **more: Sequence[dict],
) -> str:
    """A dataset of pairs of drawn scenes, [side, side], with two true captions each; the same from the same seeds on."""
    folder = Folder(path)
    folder.make()
    for shard, count in enumerate(counts):
        drawn = [scenes.compose(seed, side, side) for seed in range(first, first + count)]
        stored = [encode(scenes.draw(scene), kind, 90) for scene in drawn]
        rows = [
            {
                "key": f"{shard:05d}{row:04d}",
                "text": captions[0],
                "captions": captions,
                "status": "success",
                "uid": hashlib.sha256(f"scene {scene.seed}".encode()).hexdigest()[:32],
                "stored_sha256": hashlib.sha256(stored[row]).hexdigest(),
            }
            for row, scene in enumerate(drawn)
            for captions in [scenes.describe(scene, 2)]
        ]
        ledger = pa.Table.from_pylist(rows, schema=LEDGER)
        with Staging(folder) as staging:
            write_pairs(staging, f"{shard:05d}", ledger, stored.__getitem__, kind=kind, output_format=output_format)
            staging.publish()
        first += count
    write_manifest(folder, "pairs", counts, more.get("lineage", (DEDUP,)), {})
    return str(path)


def write_image_folder(folder: Path, count: int) -> Path:
    """A folder of so many small pictures of different sizes and colours, named by number; gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
        width, height = (int(side) for side in rng.integers(40, 90, 2))
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index:02d}.png"), pixels)
    return folder
