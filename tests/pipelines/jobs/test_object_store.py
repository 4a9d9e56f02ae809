"""Every job on S3: the same bytes as on disk, from a store that has no rename, forgets to answer and hangs up."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from PIL import Image

from dalle import scenes
from dalle.reading.batches import Batches
from dalle.reading.example_shards import ExampleShards
from pipelines import audit, dedup, encode, ingest, vocab
from pipelines.stages.open_local import open_local
from schemas.folder import Folder
from schemas.lock import RUN_LOCK, FolderInUse, only_run
from tests.conftest import Job, hashes, jsonl
from tests.object_store import ObjectStore
from tests.server import Web

pytestmark = pytest.mark.slow

PICTURES = 12
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """One request in twenty fails."""
    with ObjectStore(20) as server:
        connect(server).mkdir("bucket")
        yield server


def connect(store: ObjectStore) -> fsspec.AbstractFileSystem:
    """Through the door that does not fail."""
    return fsspec.filesystem("s3", endpoint_url=store.steady, key="nobody", secret="nothing", use_listings_cache=False)


@pytest.fixture
def flaky(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process s3:// is the flaky door."""
    given = store.environment()
    monkeypatch.setitem(fsspec.config.conf, "s3", json.loads(given.pop("FSSPEC_S3")))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures with captions; the first two are references too; two captions are refused."""
    place = tmp_path_factory.mktemp("drawn")
    for folder in ("pictures", "birds"):
        (place / folder).mkdir()
    rows = []
    for number in range(PICTURES):
        scene = scenes.compose(number, 256, 256)
        picture = Image.fromarray(scenes.draw(scene))
        for folder in ("pictures", "birds") if number < 2 else ("pictures",):
            picture.save(place / folder / f"{number:02d}.jpg")
        caption = "short" if number in (4, 9) else scenes.describe(scene, 1)[0]
        rows.append({"file": f"{number:02d}.jpg", "captions": [caption]})
    (place / "pictures/captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def every_job(root: str) -> None:
    """From pictures to examples, all in one place; each job is to end well."""
    one = ("--processes_count", "1")
    given = ["--dataset", "folder", "--url_list", f"{root}/pictures", "--output_folder", f"{root}/pairs"]
    assert 0 == ingest.main([*given, "--number_sample_per_shard", "4", *one])
    given = ["--input_folder", f"{root}/pairs", "--output_folder", f"{root}/clean", "--detector", "phash"]
    assert 0 == dedup.main([*given, "--reference", f"birds={root}/birds", *one])
    given = ["--input_folder", f"{root}/clean", "--output_folder"]
    assert 0 == vocab.main([*given, f"{root}/words", "--vocab_size", "300"])
    assert 0 == encode.main(
        [*given, f"{root}/examples", "--dvae", "tests.own_encoder:Greys", "--vocabulary", f"{root}/words", *one]
    )
    for folder in ("pairs", "clean", "examples"):
        assert 0 == audit.main([f"{root}/{folder}", *one])


def objects(fs: fsspec.AbstractFileSystem, root: str) -> dict[str, str]:
    """sha256 of every object that is compared: as `hashes` has it for a folder on disk; the lock stays on a store."""
    found = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
    compared = {name: data for name, data in found.items() if not name.endswith(("_stats.json", RUN_LOCK))}
    return {name: hashlib.sha256(data).hexdigest() for name, data in compared.items()}


def test_every_job_gives_the_same_bytes(place: Path, store: ObjectStore, flaky: None, tmp_path: Path) -> None:
    """Lists, pictures, references, vocabulary, datasets and the reader, all on a store that fails now and then."""
    fs = connect(store)
    for folder in ("pictures", "birds"):
        (tmp_path / folder).symlink_to(place / folder)
        fs.put(str(place / folder), f"bucket/all/{folder}", recursive=True)
    every_job(str(tmp_path))
    every_job("s3://bucket/all")
    for folder in ("pairs", "clean", "words", "examples"):
        assert hashes(tmp_path / folder) == objects(fs, f"bucket/all/{folder}"), folder
    local, remote = (
        list(Batches(ExampleShards(f"{root}/examples", dvae="greys-16"), batch_size=4))
        for root in (tmp_path, "s3://bucket/all")
    )
    assert len(local) == len(remote) == 2
    for ours, theirs in zip(local, remote, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ("text_tokens", "image_codes"))
    failed = store.failures()
    assert failed.total() >= 8, failed
    assert len(failed) >= 4, failed


def test_killed_in_mid_run_then_resumed(place: Path, store: ObjectStore, flaky: None, tmp_path: Path) -> None:
    """After kill -9 every object under a final name is whole and no manifest is there; the same command goes on."""
    fs, out = connect(store), "bucket/killed"
    with Web(place / "pictures") as web:
        rows = [json.loads(line) for line in (place / "pictures/captions.jsonl").open()]
        links = [{"url": web.url(row["file"]), "caption": row["captions"][0]} for row in rows]
        links += [{"url": web.url(f"gone-{n}"), "caption": "a picture that is gone"} for n in range(15)]
        fs.put_file(str(jsonl(tmp_path / "list.jsonl", links)), "bucket/list.jsonl")
        given = ["--number_sample_per_shard", "3", "--allow_private_hosts", web.address, "--processes_count"]
        local = ["--url_list", str(tmp_path / "list.jsonl"), "--output_folder", str(tmp_path / "whole"), *given, "1"]
        assert 0 == ingest.main(local)
        whole = hashes(tmp_path / "whole")
        remote = ["--url_list", "s3://bucket/list.jsonl", "--output_folder", f"s3://{out}", *given]
        done = sum("_stats.json" in change for change in store.changes())
        job = Job("pipelines.ingest", *remote, "2", env=store.environment())
        while job.process.poll() is None and sum("_stats.json" in change for change in store.changes()) < done + 2:
            time.sleep(0.05)
        job.kill_all()
        left = objects(fs, out)
        assert fs.exists(f"{out}/{RUN_LOCK}")
        assert "manifest.json" not in left
        final = {name: sha256 for name, sha256 in left.items() if name[:1].isdigit()}
        assert len(final) >= 4
        assert final.items() <= whole.items()
        assert 2 <= len(fs.glob(f"{out}/*_stats.json")) < 9
        before = len(store.changes())
        assert 0 == ingest.main([*remote, "1"])
    assert whole == objects(fs, out)
    changed = [change.replace(f"{out}/", "") for change in store.changes()]
    puts = [change for change in changed[before:] if change.startswith("PUT ") and "lock" not in change]
    assert puts[-1] == "PUT manifest.json"
    for marker in (change for change in changed if change.endswith("_stats.json") and change.startswith("PUT 0")):
        first = changed.index(marker)
        for extension in (".tar", ".parquet"):
            assert marker.replace("_stats.json", extension) in changed[:first]


def test_lock_of_a_killed_run(store: ObjectStore, flaky: None) -> None:
    """A lock of a process of this machine that is gone is taken at once; one of another machine after three minutes."""
    folder, fs = Folder("s3://bucket/locked"), connect(store)
    with only_run(folder):
        note = json.loads(fs.cat_file(f"bucket/locked/{RUN_LOCK}"))
        with pytest.raises(FolderInUse, match="is at work in this folder"), only_run(folder):
            pass
    assert json.loads(fs.cat_file(f"bucket/locked/{RUN_LOCK}"))["released"]
    with only_run(folder):
        pass
    boot, space, pid, begun = note["process"]
    assert os.getpid() == pid
    for process, age, is_free in (
        ([boot, space, pid, begun - 1], 0, True),
        (["another machine", space, pid, begun - 1], 0, False),
        ([boot, space + 1, pid, begun - 1], 0, False),
        (None, 0, False),
        (None, 200, True),
    ):
        left = {**note, "process": process, "time": time.time() - age}
        fs.pipe_file(f"bucket/locked/{RUN_LOCK}", json.dumps(left).encode())
        if is_free:
            with only_run(folder):
                assert note["run"] != json.loads(fs.cat_file(f"bucket/locked/{RUN_LOCK}"))["run"]
        else:
            with pytest.raises(FolderInUse), only_run(folder):
                pass


def test_a_store_that_stays_away(
    place: Path, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence and exit code 1, no traceback; its pictures are not written off as unreadable."""
    conf = {"endpoint_url": "http://127.0.0.1:1", "key": "nobody", "secret": "nothing"}
    quick = {**conf, "config_kwargs": {"retries": {"max_attempts": 0}}}
    monkeypatch.setitem(fsspec.config.conf, "s3", quick)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert 1 == ingest.main(["--url_list", "s3://bucket/list.jsonl", "--output_folder", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "127.0.0.1:1" in said
    assert 1 == len(said.strip().splitlines())
    with pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
        list(open_local([(0, "00.jpg")], "s3://bucket/all/pictures", 1 << 20))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
