"""Lists as their makers published them, and files as bad as they come, through the real job: no row is ever lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow.parquet as pq
import pytest

from schemas.exit_codes import NOTHING_KEPT, OK
from tests.conftest import ROOT, jsonl, run_job
from tests.server import Web

pytestmark = pytest.mark.slow

ROTTEN = {"fetch", "decode", "caption", "image"}


@pytest.fixture(scope="module")
def internet(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """What every host of the lists turns out to be: it has 40 of COCO's pictures and nothing else."""
    folder = tmp_path_factory.mktemp("internet")
    (folder / "val2017").mkdir()
    for path in sorted((data / "coco_val2017").glob("*.jpg"))[:40]:
        shutil.copy(path, folder / "val2017")
    with Web(folder) as web:
        yield web


def ledger(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize(
    ("name", "dataset", "rows", "kept"),
    [
        ("laion400m_5000.parquet", "laion", 5_000, 0),
        ("cc3m_validation.tsv", "cc3m", 15_833, 0),
        ("captions_val2017.json", "coco", 5_000, 40),
    ],
)
def test_lists_as_published(
    internet: Web, data: Path, tmp_path: Path, name: str, dataset: str, rows: int, kept: int
) -> None:
    """No other flag is needed. Links that are dead end as failed; every row is there, in order, once."""
    out = tmp_path / "pairs"
    done = run_job(
        "pipelines.ingest", "--dataset", dataset, "--url_list", data / "text" / name, "--output_folder", out,
        "--connect_to", f"::{internet.address}", "--allow_private_hosts", internet.address, "--retries", 0,
        "--number_sample_per_shard", 2500,
    )  # fmt: skip
    assert (OK if kept else NOTHING_KEPT) == done.returncode, done.stderr
    ledger_rows = ledger(out)
    counts = Counter(row["status"] for row in ledger_rows)
    assert rows == len(ledger_rows) == len({row["key"] for row in ledger_rows})
    assert sorted(row["key"] for row in ledger_rows) == [row["key"] for row in ledger_rows]
    assert counts["failed_to_download"] >= rows / 2
    assert ROTTEN >= {row["stage"] for row in ledger_rows if row["status"] != "success"}
    assert all(row["reason"] and row["error_message"] for row in ledger_rows if row["status"] != "success")
    assert kept - 3 <= counts["success"] <= kept  # COCO's, but for those of extreme shape
    assert 0 == run_job("pipelines.audit", out).returncode
    counts_of_manifest = json.loads((out / "manifest.json").read_text())["counts"]
    assert rows == counts_of_manifest["rows"]


_MEASURED = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "pipelines.ingest", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)
sys.exit(code)
"""
"""The job, and at its end the MB of the largest of its processes."""


def test_nasty_files_through_the_job(data: Path, tmp_path: Path) -> None:
    """Every one ends kept or refused, with a reason; no crash, no hang, and no worker needs a gigabyte."""
    names = sorted(path.name for path in (data / "nasty").iterdir() if path.suffix != ".jsonl")
    with Web(data / "nasty") as web:
        links = jsonl(tmp_path / "nasty.jsonl", [{"url": web.url(quote(name))} for name in names])
        flags = ["--url_list", links, "--output_folder", tmp_path / "pairs", "--filters", "none"]
        flags += ["--allow_private_hosts", web.address, "--number_sample_per_shard", 500]
        command = [sys.executable, "-c", _MEASURED, *map(str, flags)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert OK == done.returncode, done.stderr
    ledger_rows = ledger(tmp_path / "pairs")
    assert names == [unquote(row["url"].rsplit("/", 1)[-1]) for row in ledger_rows]
    assert {None, "not-an-image", "truncated", "corrupt", "too-many-pixels", "unsupported", "empty"} >= {
        row["reason"] for row in ledger_rows
    }
    assert 600 <= sum(row["status"] == "success" for row in ledger_rows)
    assert 100 < int(done.stdout.split()[-1]) < 1024
    assert 0 == run_job("pipelines.audit", tmp_path / "pairs").returncode
