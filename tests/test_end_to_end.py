"""Real pictures through real commands into shards that the tools of the field open."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import datasets
import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from tests.conftest import run_job
from tests.server import Web

SETS = ("coco_val2017", "flickr8k", "cub")


def captions(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "captions.jsonl").open()]


@pytest.fixture(scope="module", params=SETS)
def collected(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """One of the sets, served on this machine and collected through a list; the folder and how many are kept."""
    folder, place = data / request.param, tmp_path_factory.mktemp(request.param)
    rows = captions(folder)
    if request.param == "cub":  # class names are too short to be captions
        rows = [{**row, "captions": [f"a photo of a {row['captions'][0]}"]} for row in rows]
    with Web(folder) as web:
        pairs = [(web.url(row["file"]), row["captions"][0], row["sha256"]) for row in rows]
        if request.param == "flickr8k":
            with (place / "list.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("link", "text", "given_sha256"), *pairs])
        else:
            table = pa.table(list(zip(*pairs, strict=True)), names=["link", "text", "given_sha256"])
            pq.write_table(table, place / "list.parquet")
        source = next(place.glob("list.*"))
        done = run_job(
            "pipelines.ingest", "--runner=DirectRunner", "--url_list", source, "--url_col", "link", "--caption_col", "text",
            "--save_additional_columns", '["given_sha256"]', "--output_folder", place / "pairs",
            "--number_sample_per_shard", 100, "--allow_private_hosts", web.address,
        )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    wide = sum(max(r["width"], r["height"]) > 2 * min(r["width"], r["height"]) for r in rows)
    return place / "pairs", len(rows) - wide


def test_every_picture_is_kept_and_right(collected: tuple[Path, int]) -> None:
    """All but pictures of extreme shape; the fetched bytes are those of the data's own sums; the audit is silent."""
    folder, kept = collected
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert kept == sum(row["status"] == "success" for row in rows)
    assert all(row["sha256"] == row["given_sha256"] for row in rows if row["sha256"])
    assert {None, "aspect-ratio"} >= {row["reason"] for row in rows}
    assert 0 == run_job("pipelines.audit", folder).returncode


def test_webdataset_opens_the_tars(collected: tuple[Path, int]) -> None:
    """Decoded pictures, captions and JSON, each key once."""
    folder, kept = collected
    tars = [str(path) for path in sorted(folder.glob("*.tar"))]
    samples = list(
        webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("__key__", "jpg", "txt", "json")
    )
    assert kept == len({key for key, *_ in samples})
    for key, picture, text, said in samples:
        assert ((256, 256), key, text) == (picture.size, said["key"], said["text"])


def test_hugging_face_datasets_opens_the_tars(collected: tuple[Path, int], tmp_path: Path) -> None:
    """Through its webdataset loader, JSON columns included."""
    folder, kept = collected
    found = datasets.load_dataset(
        "webdataset", data_files=str(folder / "*.tar"), split="train", cache_dir=str(tmp_path)
    )
    assert kept == len(found)
    assert (256, 256) == found[0]["jpg"].size
    assert found[0]["json"]["key"] == found[0]["__key__"]


def test_duckdb_and_polars_read_the_ledger(collected: tuple[Path, int]) -> None:
    """Questions of a curator, in SQL and in frames."""
    folder, kept = collected
    query = f"select count(*) from '{folder}/*.parquet' where status = 'success'"
    assert [(kept,)] == duckdb.sql(query).fetchall()
    frame = polars.read_parquet(folder / "*.parquet")
    assert kept == frame.filter(polars.col("status") == "success").height


def test_parquet_shards_open_in_datasets(data: Path, tmp_path: Path) -> None:
    """With --output_format parquet the pictures are a column that decodes."""
    done = run_job(
        "pipelines.ingest", "--dataset", "folder", "--url_list", data / "flickr8k", "--output_folder", tmp_path / "pairs",
        "--output_format", "parquet", "--number_sample_per_shard", 200, "--encode_format", "webp",
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "pairs/*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    kept = found.filter(lambda row: row["status"] == "success")
    assert len(captions(data / "flickr8k")) >= len(kept) > 250
    assert (256, 256) == Image.open(io.BytesIO(kept[0]["webp"])).size
    assert 5 == len(kept[0]["captions"])
