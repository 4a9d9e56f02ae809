"""Every reader that the README names opens every dataset that ingest leaves, whatever shape its shards have."""

from __future__ import annotations

import glob
import io
import json
import tarfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas
import polars
import pyarrow.dataset
import pytest
import webdataset
from PIL import Image
from torch.utils.data import DataLoader

from dalle.reading.batches import Batches
from dalle.reading.pair_shards import PairShards
from dalle.scenes import compose, draw
from pipelines import ingest
from pipelines.sample_web.pictures import encoded

pytestmark = pytest.mark.slow

SHAPES: dict[str, list[list[int | None]]] = {
    "one row": [[1]],
    "one kept of each, several captions": [[None, 3], [2, None], [None, 1]],
    "the first shards dead": [[None, None], [None, None], [2, 1], [1]],
    "the middle and the last shard dead": [[1, 0], [None, None], [3, None], [None, None]],
}
"""Captions of each row of each shard; None: its picture is damaged."""
Sample = tuple[str, list[str]]
"""Key and captions."""


@pytest.fixture(scope="module", params=SHAPES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sample]]:
    """A dataset as tars and one as Parquet, in `tars` and `parquet`, and what is in them."""
    place = tmp_path_factory.mktemp("readers")
    (place / "pictures").mkdir()
    shape, rows, expected = SHAPES[request.param], [], []
    for shard, counts in enumerate(shape):
        for index, count in enumerate(counts):
            name, captions = f"{shard}{index}.png", [f"caption {i} of row {shard}.{index}" for i in range(count or 0)]
            picture = b"nothing" if count is None else encoded(draw(compose(10 * shard + index, 64, 64)), "png")
            (place / "pictures" / name).write_bytes(picture)
            rows.append({"file": name, "captions": captions})
            if count is not None:
                expected.append((f"{shard:05d}{index}", captions))
    (place / "pictures/captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, output_format in (("tars", "webdataset"), ("parquet", "parquet")):
        flags = f"--dataset folder --url_list {place}/pictures --output_folder {place}/{name} --filters none"
        flags += f" --number_sample_per_shard {max(map(len, shape))} --processes_count 1 --image_size 64"
        assert 0 == ingest.main([*flags.split(), "--output_format", output_format])
    return place, expected


def of_webdataset(place: Path) -> list[Sample]:
    """`webdataset` by itself, decoding."""
    return [_of_sample(s) for s in webdataset.WebDataset(_tars(place), shardshuffle=False).decode("pil")]


def of_webdataset_in_a_loader(place: Path) -> list[Sample]:
    """In torch's `DataLoader`, with a process of its own, as trainings have it."""
    tars = webdataset.WebDataset(_tars(place), shardshuffle=False).decode("pil")
    return [_of_sample(s) for s in DataLoader(tars, batch_size=None, num_workers=1)]


def of_img2dataset(place: Path) -> list[Sample]:
    """As scripts for img2dataset's folders do: members by their stem, with `tarfile`; stats beside each tar."""
    samples = []
    for path in _tars(place):
        assert json.loads(Path(path.replace(".tar", "_stats.json")).read_text())["successes"] >= 0
        with tarfile.open(path) as tar:
            for stem, members in groupby(tar, lambda member: member.name.partition(".")[0]):
                files = {m.name.partition(".")[2]: tar.extractfile(m).read() for m in members}  # type: ignore[union-attr]
                files["jpg"] = Image.open(io.BytesIO(files["jpg"]))
                files |= {"json": json.loads(files["json"]), "txt": files["txt"].decode()}
                samples.append(_of_sample(files | {"__key__": stem}))
    return samples


def of_hugging_face(place: Path) -> list[Sample]:
    """`datasets`, the tars."""
    return [_of_sample(sample) for sample in _load("webdataset", place, f"{place}/tars/*.tar")]


def of_hugging_face_streaming(place: Path) -> list[Sample]:
    """The tars as a stream."""
    files = {"train": f"{place}/tars/*.tar"}
    return [_of_sample(s) for s in datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)]


def of_hugging_face_parquet(place: Path) -> list[Sample]:
    """`datasets`, the ledgers of tars and, with the pictures in them, of Parquet."""
    ledger = _of_rows(_load("parquet", place, f"{place}/tars/*.parquet"))
    rows = [row for row in _load("parquet", place, f"{place}/parquet/*.parquet") if row["status"] == "success"]
    assert {(64, 64)} == {Image.open(io.BytesIO(row["jpg"])).size for row in rows}
    assert ledger == _of_rows(rows)
    return ledger


def of_pandas(place: Path) -> list[Sample]:
    """One file after the other."""
    frame = pandas.concat([pandas.read_parquet(path) for path in sorted(glob.glob(f"{place}/tars/*.parquet"))])
    rows = frame.to_dict("records")
    return _of_rows([row | {"captions": list(row["captions"])} for row in rows])


def of_pyarrow(place: Path) -> list[Sample]:
    """All files as one data set."""
    files = sorted(glob.glob(f"{place}/tars/*.parquet"))
    return _of_rows(pyarrow.dataset.dataset(files).to_table().to_pylist())


def of_polars(place: Path) -> list[Sample]:
    """At once, and lazily."""
    rows = polars.read_parquet(f"{place}/tars/*.parquet").to_dicts()
    lazy = polars.scan_parquet(f"{place}/parquet/*.parquet").filter(polars.col("status") == "success").collect()
    assert _of_rows(rows) == _of_rows(lazy.to_dicts())
    return _of_rows(rows)


def of_duckdb(place: Path) -> list[Sample]:
    """The README's query adds up, too."""
    lost = duckdb.sql(f"select stage, reason, count(*) from '{place}/tars/*.parquet' group by all").fetchall()
    query = f"select key, captions, status from '{place}/{{}}/*.parquet' order by key"
    tars, parquet = (
        [
            dict(zip(("key", "captions", "status"), row, strict=True))
            for row in duckdb.sql(query.format(name)).fetchall()
        ]
        for name in ("tars", "parquet")
    )
    assert (len(tars), tars) == (sum(n for *_, n in lost), parquet)
    return _of_rows(tars)


def of_batches(place: Path) -> list[Sample]:
    """Our own, which gives pictures: as many, from tars and from Parquet."""
    expected = of_pyarrow(place)
    for name in ("tars", "parquet"):
        batches = Batches(PairShards(f"{place}/{name}", allow_undeduplicated=True), batch_size=1)
        assert len(expected) == len([batch["images"] for batch in batches])
    return expected


@pytest.mark.parametrize(
    "reader",
    [
        of_webdataset, of_webdataset_in_a_loader, of_img2dataset, of_hugging_face, of_hugging_face_streaming,
        of_hugging_face_parquet, of_pandas, of_pyarrow, of_polars, of_duckdb, of_batches,
    ],
)  # fmt: skip
def test_every_reader_opens_every_shape(
    made: tuple[Path, list[Sample]], reader: Callable[[Path], list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kept pair once, in the list's order, with its picture and its captions."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    place, expected = made
    assert expected == reader(place)


def _tars(place: Path) -> list[str]:
    return sorted(glob.glob(f"{place}/tars/*.tar"))


def _load(kind: str, place: Path, files: str) -> Any:
    return datasets.load_dataset(kind, data_files={"train": files}, split="train", cache_dir=str(place / "cache"))


def _of_sample(sample: dict[str, Any]) -> Sample:
    assert (64, 64) == sample["jpg"].size
    said, text = sample["json"], sample["txt"]
    assert sample["__key__"] == said["key"]
    assert text == (said["captions"] or [""])[0]
    return said["key"], list(said["captions"])


def _of_rows(rows: Any) -> list[Sample]:
    return [(row["key"], row["captions"]) for row in rows if row["status"] == "success"]
