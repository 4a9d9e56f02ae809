"""Every job, unchanged, on Beam's other engines that need no Java: the same bytes as on this machine alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from distributed import LocalCluster
from PIL import Image

from dalle import scenes
from dalle.training.one_thread import one_thread
from pipelines import dedup, encode, ingest
from pipelines.running.finishing import tidy
from schemas.folder import Folder
from tests.conftest import ROOT, hashes, run_job
from tests.flink.cluster import Started, start_pool

pytestmark = pytest.mark.slow

DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures, three of them also as references, and what each job makes of them in one process."""
    place = tmp_path_factory.mktemp("engines")
    for folder in ("pictures", "references"):
        (place / folder).mkdir()
    for number in range(10):
        scene = scenes.compose(number, 320, 280)
        picture = Image.fromarray(scenes.draw(scene))
        picture.save(place / f"pictures/{number:02d}.png")
        (place / f"pictures/{number:02d}.txt").write_text(scenes.describe(scene, 1)[0])
        if number < 3:
            picture.save(place / f"references/{number:02d}.jpg")
    for job, command in ((ingest, "ingest"), (dedup, "dedup"), (encode, "encode")):
        assert 0 == job.main([*flags(place, command, place), "--processes_count", "1"])
    assert "removed" in (place / "clean/manifest.json").read_text()
    return place


def flags(place: Path, job: str, out: Path) -> list[str]:
    mine = {
        "ingest": ("--dataset", "folder", "--url_list", place / "pictures", "--number_sample_per_shard", 3),
        "dedup": ("--input_folder", place / "pairs", "--reference", f"r={place / 'references'}", "--detector", "phash"),
        "encode": ("--input_folder", place / "clean", "--dvae", "tests.own_encoder:Greys", "--precision", "fp32"),
    }
    return [str(flag) for flag in (*mine[job], "--output_folder", out / FOLDERS[job])]


FOLDERS = {"ingest": "pairs", "dedup": "clean", "encode": "examples"}


@pytest.fixture(scope="module")
def dask() -> Iterator[str]:
    """Dask on this machine, two workers of one thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
            yield cluster.scheduler_address


@pytest.mark.parametrize("job", FOLDERS)
def test_dask_gives_the_same_bytes(place: Path, dask: str, tmp_path: Path, job: str) -> None:
    """Beam's runner for Dask, on a cluster that is there already."""
    engine = (f"--runner={DASK}", f"--dask_client_address={dask}")
    done = run_job(f"pipelines.{job}", *engine, *flags(place, job, tmp_path))
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    assert hashes(place / FOLDERS[job]) == hashes(tmp_path / FOLDERS[job])


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Beam's pool of Python workers, which Flink's task managers too ask for some."""
    started = Started(tmp_path_factory.mktemp("pool"))
    yield start_pool(started)
    started.close()


def test_portable_encode_gives_the_same_bytes(place: Path, tmp_path: Path, pool: str) -> None:
    """Beam's portable runner with an external pool of workers; ingest and dedup have this test beside their others."""
    engine = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    done = run_job(
        "pipelines.encode", *engine, f"--environment_config={pool}", *flags(place, "encode", tmp_path)
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert hashes(place / "examples") == hashes(tmp_path / "examples")


def test_units_in_threads_of_one_process(place: Path, tmp_path: Path) -> None:
    """As Flink does several units in one Python process unless it is told to start more: the same bytes."""
    side_by_side = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
    assert 0 == encode.main([*flags(place, "encode", tmp_path), *side_by_side])
    assert hashes(place / "examples") == hashes(tmp_path / "examples")


def test_one_thread_for_as_long_as_any_unit_needs_it() -> None:
    """The first of two units in threads of one process to end does not give torch its threads back under the other."""
    seen, inside, go_on = [], threading.Barrier(2), threading.Event()

    def unit(*, ends_first: bool) -> None:
        torch.set_num_threads(2)
        with one_thread():
            inside.wait(timeout=60)
            if not ends_first:
                assert go_on.wait(timeout=60)
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())
        go_on.set()

    before = torch.get_num_threads()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(unit, ends_first=True), pool.submit(unit, ends_first=False)]:
            done.result()
    assert [1, 2, 1, 2] == seen
    assert before == torch.get_num_threads()


def test_leftover_of_a_worker_that_died_under_a_running_job(tmp_path: Path) -> None:
    """An engine does its unit again elsewhere; what it left half-written is gone when the dataset is finished."""
    (tmp_path / "00001.parquet.tmp-4711-aa").write_bytes(b"half")
    (tmp_path / "00001.parquet").write_bytes(b"whole")
    tidy(Folder(tmp_path))
    assert ["00001.parquet"] == [path.name for path in tmp_path.iterdir()]


def test_runner_that_is_not_installed(capsys: pytest.CaptureFixture) -> None:
    """One sentence, no trace."""
    assert 2 == ingest.main(["--runner=no_such_engine.Runner", "--url_list", "x", "--output_folder", "y"])
    told = capsys.readouterr().err
    assert "No module named 'no_such_engine'; install that package beside this one" in told
    assert "Traceback" not in told
