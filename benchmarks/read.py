"""How fast are examples read, beside webdataset on the same examples as tars? And text made into tokens?

    python benchmarks/read.py

Examples with random codes (the worst case for compression) and COCO's captions, in shards of 10,000, are read in one
process by `dalle.reading.batches` and by webdataset with its own decoders and the same padding, in turn, five times.
Then bytes per example, and the tokenizer beside the plain `tokenizers` library. Writes results/read.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import webdataset
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow as pa

from benchmarks.record import record, spread
from dalle.reading.batches import Batches
from dalle.reading.example_shards import ExampleShards
from dalle.shipped import FILES
from dalle.text import tokenizer
from dalle.text.padding import padding_tokens
from schemas.examples import EXAMPLES, IMAGE_LENGTH, write_examples
from schemas.folder import Folder, Staging
from schemas.manifest import MANIFEST, Counts, Marker, manifest

DATA = Path(os.environ.get("DALLE_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
SHARDS, ROWS, BATCH, REPEATS = 4, 10_000, 256, 5
WORDS = tokenizer.load()


def captions() -> list[str]:
    """25,014 of COCO."""
    return [each["caption"] for each in json.loads((DATA / "text/captions_val2017.json").read_text())["annotations"]]


def write(path: Path, texts: list[str]) -> str:
    """The examples, one caption and one crop each, in both formats."""
    folder, rng, counts = Folder(path), np.random.default_rng(0), Counts()
    folder.make()
    counts.statuses["success"] = ROWS
    markers = []
    for shard in range(SHARDS):
        some = [texts[(shard * ROWS + row) % len(texts)] for row in range(ROWS)]
        columns = {
            "key": [f"{shard:05d}{row:04d}" for row in range(ROWS)],
            "uid": [rng.bytes(16).hex() for _ in range(ROWS)],
            "captions": [[text] for text in some],
            "text_tokens": [[tokens] for tokens in WORDS.encode_captions(some)[0]],
            "image_codes": [[codes] for codes in rng.integers(0, 8192, (ROWS, IMAGE_LENGTH)).astype(np.uint16)],
            "crop_boxes": [[[0.0, 0.0, 256.0, 256.0]]] * ROWS,
        }
        with Staging(folder) as staging:
            write_examples(staging, f"{shard:05d}", pa.table(columns, schema=EXAMPLES), "webdataset")
            files = tuple(staging.publish())
        markers.append(Marker(shard=f"{shard:05d}", fingerprint="", counts=counts, files=files))
    options = {"vocabulary": WORDS.fingerprint, "vocab_size": WORDS.vocab_size, "dvae": "", "codes": IMAGE_LENGTH}
    value = manifest(
        job="benchmark", table="examples", options=options | {"image_vocab_size": 8192}, inputs=[],
        library_versions={}, markers=markers, lineage=[{"job": "dedup"}],
    )  # fmt: skip
    folder.write_json(MANIFEST, value)
    return str(path)


def ours(folder: str) -> Iterator[int]:
    """Examples of each batch, shuffled within 16,384."""
    for batch in Batches(ExampleShards(folder), batch_size=BATCH):
        yield len(batch["image_codes"])


def theirs(folder: str) -> Iterator[int]:
    """The same tensors by webdataset, shuffled within its usual 1,000."""
    tars = [str(path) for path in sorted(Path(folder).glob("*.tar"))]
    padding = torch.from_numpy(padding_tokens(WORDS.vocab_size))

    def example(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = sample["json"]["text_tokens"][0]
        text = padding.clone()
        text[: len(tokens)] = torch.tensor(tokens)
        return text, torch.from_numpy(sample["image_codes.npy"][0].astype(np.int64))

    source = webdataset.WebDataset(tars, shardshuffle=False).shuffle(1000).decode().map(example).batched(BATCH)
    for _, codes in source:
        yield len(codes)


def rate(read: Callable[[str], Iterator[int]], folder: str) -> float:
    """Examples a second."""
    begun = time.perf_counter()
    return sum(read(folder)) / (time.perf_counter() - begun)


def plain_training(texts: list[str]) -> float:
    """Seconds for the library alone."""
    library = tokenizers.Tokenizer(models.BPE())
    library.normalizer, library.decoder = normalizers.Lowercase(), decoders.ByteLevel()
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    begun = time.perf_counter()
    library.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=16_384, min_frequency=2, show_progress=False))
    return time.perf_counter() - begun


def text_figures(texts: list[str]) -> dict[str, Any]:
    """Vocabulary training and tokens a second, beside the library."""
    plain = tokenizers.Tokenizer.from_file(str(FILES["builtin", "vocabulary"]))
    figures: dict[str, list[float]] = {}

    def clock(name: str, do: Callable[[], object], unit: float) -> None:
        begun = time.perf_counter()
        do()
        seconds = time.perf_counter() - begun
        figures.setdefault(name, []).append(unit / seconds if unit else seconds)

    count = sum(map(len, WORDS.encode_captions(texts)[0]))
    rng, some = np.random.default_rng(0), texts[:2000]
    some_count = sum(map(len, WORDS.encode_captions(some)[0]))
    for _ in range(REPEATS):
        clock("training_s", lambda: tokenizer.train(texts), 0)
        figures.setdefault("training_s_tokenizers", []).append(plain_training(texts))
        clock("tokens_per_s", lambda: WORDS.encode_captions(texts), count)
        clock("tokens_per_s_tokenizers", lambda: [e.ids for e in plain.encode_batch_fast(texts)], count)
        clock("tokens_per_s_with_dropout", lambda: [WORDS.encode_with_dropout(t, 0.1, rng) for t in some], some_count)
    return {name: spread(values, 3) for name, values in figures.items()}


def main() -> None:
    """Measure, print and write."""
    texts = captions()
    with tempfile.TemporaryDirectory() as scratch:
        folder = write(Path(scratch) / "examples", texts)
        rates: dict[str, list[float]] = {"ours": [], "webdataset": []}
        for _ in range(REPEATS):
            rates["ours"].append(rate(ours, folder))
            rates["webdataset"].append(rate(theirs, folder))
        sizes = {
            kind: sum(path.stat().st_size for path in Path(folder).glob(f"*.{kind}")) / (SHARDS * ROWS)
            for kind in ("parquet", "tar")
        }
    figures = {
        "examples_per_s": {name: spread(values, 0) for name, values in rates.items()},
        "times_webdataset": spread([a / b for a, b in zip(rates["ours"], rates["webdataset"], strict=True)], 1),
        "bytes_per_example": {name: round(size) for name, size in sizes.items()},
        "text": text_figures(texts),
    }
    record("read", figures, ["webdataset", "tokenizers", "pyarrow", "numpy", "torch"])


if __name__ == "__main__":
    main()
