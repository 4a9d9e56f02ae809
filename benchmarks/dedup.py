"""Dedup: what embedding and searching cost, that memory does not grow, and what 250 million pictures would take.

    python benchmarks/dedup.py                        # the built-in detector
    python benchmarks/dedup.py --detector phash --quick

runs `pipelines.dedup` on datasets of real pictures (`DALLE_TEST_DATA`), stored as ingest stores them, against 46,298
references, each run in one process of its own: a shard of 10,000 pictures, as ingest makes them, for the rates, 10 and
100 small shards for the memory; seconds of each step are read from the shards' markers. What `--within` costs and
misses is measured on vectors: the pairs that share a cell against all pairs by brute force, on real pictures and copies
of them. Writes benchmarks/results/dedup.json and dedup.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
import pyarrow as pa
import torch

from benchmarks.record import RESULTS, record, spread
from dalle.detectors import Embedder, load_detector
from dalle.pictures.edits import EDITS
from dalle.pictures.images import decode
from dalle.pictures.resize import resize
from dalle.training.precision import fast_dtype
from pipelines.copies.embedding import REFERENCE_TABLE
from pipelines.copies.within.cells import CELLS_EACH, centres, nearest_cells, number_of_cells
from pipelines.stages.embed import embed
from pipelines.stages.find_greater import Cell, find_greater
from schemas.embeddings import write_vectors
from schemas.folder import Folder, Staging
from schemas.manifest import MANIFEST, Counts, Marker, manifest, marker_name
from schemas.pair_shards import write_pairs
from schemas.pairs import LEDGER, SUCCESS
from schemas.shards import index_digits, sample_key, shard_name, write_parquet

DATA = Path(os.environ.get("DALLE_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
PICTURES, REFERENCES = 250_000_000, 46_298
SIZES = {
    False: {"rates": (10_000, 1, 3), "10 shards": (100, 10, 1), "100 shards": (100, 100, 1)},
    True: {"rates": (48, 2, 1), "10 shards": (8, 2, 1), "100 shards": (8, 6, 1)},
}
"""By whether it is to be quick: pictures of a shard, shards, repeats. Rates are of a shard as large as real ones,
memory is of few and of many small ones."""
CELLS, EDITED = 64, ("jpeg", "brightness", "text", "mild-crop", "mirror")


def stored_pictures(count: int) -> list[bytes]:
    """Real pictures as ingest stores them: 256 x 256 JPEG."""
    files = [
        path for name in ("coco_val2017", "flickr8k", "cub", "train_photos") for path in (DATA / name).glob("*.jpg")
    ]
    return [_jpeg(resize(decode(path.read_bytes()), 256, "center_crop")) for path in sorted(files)[:count]]


def _jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_dataset(path: Path, pictures: list[bytes], shards: int, each: int) -> None:
    """A dataset of pairs; the same pictures come again and again, as other files."""
    folder, markers = Folder(path), []
    folder.make()
    for number in range(shards):
        name = shard_name(number)
        rows = [
            {
                **dict.fromkeys(LEDGER.names),
                "key": sample_key(name, row, index_digits(each)),
                "url": f"{number}-{row}",
                "text": "a picture",
                "status": SUCCESS,
                "original_width": 256,
                "original_height": 256,
                "sha256": hashlib.sha256(f"{number} {row}".encode()).hexdigest(),
            }
            for row in range(each)
        ]
        ledger = pa.Table.from_pylist(rows, LEDGER)
        with Staging(folder) as staging:
            write_pairs(
                staging,
                name,
                ledger,
                lambda row, start=number * each: pictures[(start + row) % len(pictures)],
                kind="jpg",
                output_format="webdataset",
            )
            files = tuple(staging.publish())
        markers.append(Marker(shard=name, fingerprint="", counts=Counts.of_ledger(ledger), files=files))
        folder.write_json(marker_name(name), markers[-1].to_json())
    options = {
        "number_sample_per_shard": each,
        "oom_shard_count": 5,
        "encode_format": "jpg",
        "output_format": "webdataset",
    }
    value = manifest(
        job="ingest", table="pairs", options=options, inputs=[], library_versions={}, markers=markers, lineage=[]
    )
    folder.write_json(MANIFEST, value)


def write_references(path: Path, detector: Embedder, count: int) -> None:
    """Made-up embeddings, as an earlier run leaves them."""
    vectors = random_vectors(count * len(detector.views), detector.dimension).reshape(count, len(detector.views), -1)
    folder = Folder(path)
    columns = [[f"{n:06d}.jpg" for n in range(count)], [""] * count, [""] * count]
    with Staging(folder) as staging:
        with staging.file("img_emb_00000.npy") as file:
            write_vectors(file, vectors)
        with staging.file("references.parquet") as file:
            table = pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=REFERENCE_TABLE)
            write_parquet(file, [table], REFERENCE_TABLE)
        staging.publish()
    folder.write_json("detector.json", {"detector": detector.fingerprint})


def random_vectors(count: int, dimension: int) -> np.ndarray:
    """As they are stored."""
    values = np.random.default_rng(0).standard_normal((count, dimension), np.float32)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def run_once(pairs: str, references: str, detector: str, out: str) -> None:
    """In a process of its own: the whole job; prints seconds a step and the peak of its memory."""
    from pipelines.dedup import main as dedup

    flags = ["--input_folder", pairs, "--reference", f"coco={references}", "--output_folder", out, "--threshold", "1"]
    begun = time.monotonic()
    assert dedup([*flags, "--detector", detector, "--processes_count", "1"]) == 0
    seconds = time.monotonic() - begun
    steps = {"embed": "img_emb", "search": "dedup/shards", "write": "."}
    seconds_of = {step: sum(_durations(Path(out) / part)) for step, part in steps.items()}
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    print(json.dumps({**seconds_of, "whole": seconds, "peak_mb": peak}))


def _durations(folder: Path) -> Iterator[float]:
    for path in folder.glob("*_stats.json"):
        yield json.loads(path.read_text())["duration"]


def run_job(detector: str, quick: bool, root: Path) -> dict[str, Any]:
    """The job on few and on many shards."""
    embedder = load_detector(detector)
    write_references(root / "references", embedder, REFERENCES)
    pictures = stored_pictures(96 if quick else 2000)
    figures: dict[str, Any] = {"references": REFERENCES, "views": len(embedder.views)}
    for name, (each, shards, times) in SIZES[quick].items():
        pairs = root / name.replace(" ", "-")
        write_dataset(pairs, pictures, shards, each)
        runs = []
        for number in range(times):
            arguments = [pairs, root / "references", detector, f"{pairs}-clean-{number}"]
            command = [sys.executable, __file__, "--once", *map(str, arguments)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        rows = shards * each
        figures[name] = {
            "shards": shards,
            "pictures in a shard": each,
            **{
                f"{step} images/s": spread([rows / run[step] for run in runs], 1)
                for step in ("embed", "search", "write")
            },
            "share of search": spread(
                [run["search"] / sum(run[s] for s in ("embed", "search", "write")) for run in runs]
            ),
            "whole images/s": spread([rows / run["whole"] for run in runs], 1),
            "peak memory MB": spread([run["peak_mb"] for run in runs], 0),
        }
    return figures


def within(detector: str, quick: bool) -> dict[str, Any]:
    """What cells cost, and which pairs of real pictures and copies of them meet in one."""
    embedder = load_detector(detector)
    torch.set_num_threads(1)
    small = stored_pictures(120 if quick else 1400)
    rng = np.random.default_rng(0)
    edited = []
    for number, data in enumerate(small):
        kind = EDITED[number % len(EDITED)]
        edited.append(_jpeg(EDITS[kind].apply(decode(data), EDITS[kind].strengths[0], rng)))
    vectors = embed(embedder, ((str(n), data) for n, data in enumerate([*small, *edited])))[:, 0]
    vectors = vectors.astype(np.float16).astype(np.float32)
    pairs = np.argwhere(np.triu(vectors.astype(np.float64) @ vectors.T.astype(np.float64) >= embedder.threshold, 1))
    cells = nearest_cells(vectors, centres(vectors, 8 if quick else CELLS))
    share = {
        f"pairs found with {each} cells a picture": round(
            float(np.mean([bool(set(cells[a, :each]) & set(cells[b, :each])) for a, b in pairs])) if len(pairs) else 1,
            4,
        )
        for each in range(1, CELLS_EACH + 1)
    }
    count, cell = (number_of_cells(PICTURES) // 100, 2048) if quick else (number_of_cells(PICTURES), 32_768)
    some = random_vectors(max(4096, cell), embedder.dimension)
    middle = random_vectors(count, embedder.dimension)
    begun = time.monotonic()
    nearest_cells(some[:4096], middle)
    spread_rate = 4096 / (time.monotonic() - begun) * count / number_of_cells(PICTURES)
    begun = time.monotonic()
    fast, apart = fast_dtype() == torch.bfloat16, np.zeros((0, 2), np.int64)
    find_greater(Cell(read=lambda _: some[:cell], sizes=[cell], ranks=np.arange(cell), apart=apart), 0.9, fast=fast)
    compared = cell * cell / 2 / (time.monotonic() - begun)
    return {
        "pictures": len(vectors),
        "pairs at the threshold": len(pairs),
        "cells": int(cells.max()) + 1,
        **share,
        "spread images/s": round(spread_rate, 1),
        "compared pairs/s": round(compared),
    }


def costs(job: dict[str, Any], inside: dict[str, Any]) -> dict[str, float]:
    """Core hours for 250 million pictures, from the rates of one core."""
    rates = job["rates"]
    hours = {step: PICTURES / rates[f"{step} images/s"]["median"] / 3600 for step in ("embed", "search", "write")}
    in_a_cell = PICTURES * CELLS_EACH / number_of_cells(PICTURES)
    hours["within: spread"] = PICTURES / inside["spread images/s"] / 3600
    hours["within: search"] = PICTURES * CELLS_EACH * in_a_cell / 2 / inside["compared pairs/s"] / 3600
    return {step: round(value, 1) for step, value in hours.items()}


def table(figures: dict[str, Any]) -> str:
    """The costs in Markdown."""
    lines = [
        f"{PICTURES:,} pictures against {REFERENCES:,} references, from the rates measured on one core "
        f"(`{figures['detector']}`; `benchmarks/dedup.py`)",
        "",
        "| step | core hours | days on 64 cores |",
        "|---|---|---|",
    ]
    lines += [f"| {step} | {hours:,.0f} | {hours / 64 / 24:,.2f} |" for step, hours in figures["core hours"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="builtin")
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures mean nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        job = run_job(options.detector, options.quick, Path(root))
    inside = within(options.detector, options.quick)
    figures = {"detector": options.detector, "job": job, "within": inside}
    figures["core hours"] = costs(job, inside)
    name = "dedup_quick" if options.quick else "dedup"
    record(name, figures, ["faiss-cpu", "numpy", "torch", "pyarrow", "opencv-python-headless"])
    (RESULTS / f"{name}.md").write_text(table(figures))
    print(table(figures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        run_once(*sys.argv[2:])
    else:
        main()
