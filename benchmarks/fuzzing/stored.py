"""What our own commands left on disk, damaged since: manifests and what stands beside them, vocabularies."""

from __future__ import annotations

import functools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from schemas.folder import RECIPE, FileRecord, Folder
from schemas.journal import JOURNAL, roll_forward
from schemas.manifest import MANIFEST, Counts, Marker, fingerprint, manifest, marker_name, read_manifest, read_recipe
from schemas.manifest_shape import TO_MAKE_AGAIN, TO_TRAIN_ON

_REFUSED = (ValueError, OSError)
"""What is one sentence at the end of a command."""
_CAPTIONS = ("a red boat on the sea", "two dogs, one cat", "ein Schiff \u72ac \U0001f415", "l'été à la mer") * 3


@functools.cache
def seeds_of_manifests() -> tuple[bytes, ...]:
    """Each begins with its name in the folder and a zero byte."""
    return tuple(name.encode() + b"\0" + json.dumps(value).encode() for name, value in _of_a_folder())


def _of_a_folder() -> Iterator[tuple[str, Any]]:
    counts = Counts(Counter({"success": 2, "refused": 1}), Counter({("caption", "too-short"): 1}))
    files = (FileRecord("00000.tar", "a" * 64, 7), FileRecord("dedup/shards/denylist_00000.parquet", "b" * 64, 8))
    run = {"bytes_fetched": 3, "failures_by_host": [["a.example", "http-404", 1]], "overlap": {"coco": ["1.jpg"]}}
    marker = Marker(shard="00000", fingerprint="f" * 64, counts=counts, files=files, run=run)
    yield marker_name("00000"), marker.to_json()
    of_table: dict[str, dict[str, Any]] = {
        "pairs": {
            **{"number_sample_per_shard": 3, "oom_shard_count": 5},
            **{"encode_format": "jpg", "output_format": "webdataset"},
        },
        "examples": {
            **{"vocabulary": "a" * 64, "vocab_size": 300, "dvae": "b" * 64, "codes": 16, "image_vocab_size": 512},
            **{"precision": "fp32", "device": "cpu", "batch_size": 4, "crops_per_image": 1, "seed": 0},
            "output_format": "parquet",
        },
    }
    for table, options in of_table.items():
        yield (
            MANIFEST,
            manifest(
                job="dedup",
                table=table,
                options=options,
                inputs=[{"name": "a.csv", "sha256": "c" * 64}],
                library_versions={"numpy": "2"},
                markers=[marker],
                lineage=[{"job": "ingest", "manifest": "d" * 64, "options": {"seed": 0}}],
            ),
        )
    yield RECIPE, {"job": "dedup", "inputs": [{"name": "a.csv", "sha256": "c" * 64}], "options": {}, "anew": False}
    file = {"name": "00000.tar", "etag": None, "source": "_next/00000.tar", "size": 3, "source_etag": None}
    yield JOURNAL, {"comes": [file, {**file, "name": MANIFEST}], "goes": [{"name": "00001.tar", "etag": None}]}


def manifests_done_to(data: bytes) -> tuple[Any, bytes]:
    """What all that open a dataset do; nothing outside its folder may change."""
    name, _, content = data.partition(b"\0")
    known = {MANIFEST, RECIPE, JOURNAL, marker_name("00000")}
    which = name.decode("latin-1") if name.decode("latin-1") in known else MANIFEST
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(f"{place}/dataset")
        folder.write("_next/00000.tar", b"abc")
        folder.write(which, content)
        outcome = outcome_of(lambda: _read_all(folder, which))
        if [each.name for each in Path(place).iterdir()] != ["dataset"]:
            return "badly: something lies outside the folder", b""
    return outcome, b""


def _read_all(folder: Folder, name: str) -> None:
    if name == JOURNAL:
        roll_forward(folder)
    elif name == RECIPE:
        read_recipe(folder)
    elif name == MANIFEST:
        for options in (TO_MAKE_AGAIN, TO_TRAIN_ON):
            for shard in read_manifest(folder, options=options)["shards"]:
                Marker.of_manifest(shard)
    else:
        fingerprint(Marker.read(folder, "00000").to_json())


@functools.cache
def seeds_of_vocabularies() -> tuple[bytes, ...]:
    """Learnt from a few captions, larger and smaller."""
    from dalle.text.tokenizer import train

    return tuple(train(_CAPTIONS, size).content for size in (256, 270, 300))


def vocabulary_done_to(data: bytes) -> tuple[Any, bytes]:
    """Captions become tokens, with merges passed over and without, and captions again."""
    import numpy as np

    from dalle.text.tokenizer import Tokenizer

    def use() -> None:
        tokenizer = Tokenizer(data)
        tokens, _ = tokenizer.encode_captions(_CAPTIONS)
        if any(not 0 <= token < tokenizer.vocab_size for each in tokens for token in each):
            raise RuntimeError("a token is no entry of the vocabulary")
        for caption, each in zip(_CAPTIONS, tokens, strict=True):
            tokenizer.decode(each)
            tokenizer.encode_with_dropout(caption, 0.1, np.random.default_rng(0))

    return outcome_of(use), b""


def outcome_of(use: Callable[[], object]) -> str:
    try:
        use()
    except _REFUSED as error:
        said = str(error)
        return "refused" if said and "\n" not in said else f"refused badly, not in a sentence: {type(error).__name__}"
    return "read"
