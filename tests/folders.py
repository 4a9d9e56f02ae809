"""One small folder of every kind that a command leaves, and of what users have beside: written without running commands."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dalle.detectors.network import Detector, DetectorConfig
from dalle.detectors.network import save as save_detector
from dalle.scenes import compose, draw
from dalle.text import tokenizer
from schemas.contents import JOBS
from schemas.folder import Folder
from schemas.manifest import MANIFEST, Counts, Marker, manifest
from tests.conftest import write_jpeg
from tests.dalle.contrastive.models import write_contrastive
from tests.dalle.drawing.models import CODES, load_fingerprint, write_models
from tests.examples import WORDS, write_dataset, write_image_folder, write_scenes

TINY_DETECTOR = DetectorConfig(side=32, widths=(16, 32), depths=(1, 1), neck=32, dimension=32)
_OPTIONS = {
    "pairs": {"number_sample_per_shard": 10, "oom_shard_count": 5, "encode_format": "jpg", "output_format": "webdataset"},
    "examples": {
        "vocabulary": WORDS.fingerprint, "vocab_size": WORDS.vocab_size, "codes": CODES, "image_vocab_size": 32,
        "precision": "fp32", "device": "cpu", "batch_size": 4, "crops_per_image": 2, "seed": 0, "output_format": "parquet",
    },
}  # fmt: skip
KINDS = {
    "pairs": "ingest", "clean": "dedup", "vocab": "vocab", "examples": "encode", "dvae": "train_dvae",
    "prior": "train_prior", "contrastive": "train_contrastive", "detector": "train_detector", "drawn": "generate",
    "judged": "evaluate", "study": "study",
}  # fmt: skip
"""By folder, the job that left it."""


def say_made_by(job: str, path: Path, rows: int = 0, **options: object) -> None:
    """Leave the manifest that a job leaves."""
    table, counts = JOBS[job].table, Counts(Counter(success=rows))
    markers = [Marker(shard="00000", fingerprint="", counts=counts, files=())] if rows else []
    lineage = [{"job": "dedup", "manifest": "0" * 64, "options": {}}] if job == "encode" else []
    value = manifest(
        job=job, table=table, options={**_OPTIONS.get(table, {}), **options}, inputs=[], library_versions={},
        markers=markers, lineage=lineage,
    )  # fmt: skip
    Folder(path).write_json(MANIFEST, value)


def write_all(place: Path) -> None:
    """All of `KINDS`, and `pictures`, `references`, `empty`, `foreign`, `unfinished`, a file and links."""
    for name in ("pairs", "clean"):
        write_scenes(place / name, (3,), lineage=())
        say_made_by(KINDS[name], place / name, 3)
    write_models(place)
    write_contrastive(place / "contrastive")
    for name in ("vocab", "detector", "drawn/images", "judged", "study/pages", "empty", "foreign/room", "unfinished"):
        (place / name).mkdir(parents=True)
    save_detector(Detector(TINY_DETECTOR), place / "detector/model.safetensors")
    for name in ("dvae", "prior", "contrastive", "detector"):
        say_made_by(KINDS[name], place / name)
    write_dataset(place / "examples", (3,), lineage=())
    say_made_by("encode", place / "examples", 3, dvae=load_fingerprint(place))
    (place / "vocab/vocabulary.json").write_bytes(tokenizer.load().content)
    say_made_by("vocab", place / "vocab")
    rows = [{"caption": text, "caption_id": text, "file": f"images/{text}.jpg"} for text in ("boat", "kite")]
    pq.write_table(pa.Table.from_pylist(rows), place / "drawn/samples.parquet")
    for number, row in enumerate(rows):
        write_jpeg(place / "drawn" / row["file"], draw(compose(number, 64, 64)))
    say_made_by("generate", place / "drawn")
    (place / "judged/evaluation.json").write_text(json.dumps({"job": "evaluate", "options": {}}))
    (place / "study/key.json").write_text("{}")
    (place / "unfinished/_recipe.json").write_text(json.dumps({"job": "ingest", "inputs": [], "options": {}}))
    for name in ("pictures", "references"):
        write_image_folder(place / name, 2 if name == "pictures" else 3)
    for path in (place / "pictures").glob("*.png"):
        path.with_suffix(".txt").write_text("a drawn picture of some colours")
    (place / "foreign/thesis.doc").write_text("mine")
    (place / "file").write_text("mine")
    os.symlink("nowhere", place / "link")


def standing(place: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything that lies below a folder."""
    found = {}
    for where, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            stat = os.lstat(path)
            found[os.path.relpath(path, place)] = (stat.st_size, stat.st_mtime_ns) if name in files else (0, 0)
    return found
