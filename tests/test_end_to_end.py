"""Real pictures through real commands into shards that the tools of the field open."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import datasets
import duckdb
import open_clip
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from PIL import Image

from tests.conftest import run_job
from tests.server import Web

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("training", [True, False])
def test_open_clips_loader_trains_on_the_tars(
    collected: tuple[Path, int], training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader of its training program: whole batches of pictures and tokens; all pictures when it evaluates."""
    loaders = pytest.importorskip("open_clip_train.data")
    # it is made for webdataset up to 0.2.86, which does not yet mark the end of a tar among the samples
    monkeypatch.setattr(loaders, "tar_file_expander", partial(loaders.tar_file_expander, eof_value=None))
    folder, kept = collected
    last = max(int(path.stem) for path in folder.glob("*.tar"))
    given = SimpleNamespace(
        train_data=f"{folder}/{{00000..{last:05d}}}.tar", val_data=f"{folder}/{{00000..{last:05d}}}.tar",
        train_num_samples=kept, val_num_samples=kept, train_data_upsampling_factors=None, dataset_resampled=False,
        batch_size=16, workers=0, world_size=1, seed=0,
    )  # fmt: skip
    found = loaders.get_wds_dataset(
        given, open_clip.image_transform(64, is_train=training), training, floor=True, tokenizer=open_clip.tokenize
    )
    batches = list(found.dataloader)
    assert (kept // 16 if training else -(-kept // 16)) == len(batches)
    assert ((16, 3, 64, 64), (16, 77)) == tuple(tuple(each.shape) for each in batches[0])
    if not training:
        texts = [text for path in sorted(folder.glob("*.parquet")) for text in kept_texts(path)]
        assert torch.equal(open_clip.tokenize(texts), torch.cat([tokens for _, tokens in batches]))


def kept_texts(ledger: Path) -> list[str]:
    return [row["text"] for row in pq.read_table(ledger).to_pylist() if row["status"] == "success"]


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
