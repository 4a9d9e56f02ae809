"""Dedup as a user runs it: copies of references go, everything else stays byte for byte, and the tables say why."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dalle.pictures.edits import EDITS
from dalle.pictures.images import decode
from dalle.scenes import compose, draw
from pipelines.dedup import main
from pipelines.ingest import main as ingest
from schemas.matches import DENYLIST, MATCHES, NEAREST
from tests.conftest import Job, hashes, run_job, write_jpeg

pytestmark = pytest.mark.slow

DETECTOR = ("--detector", "phash")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures, 6 of them copies of references (one byte for byte); 12 references of two sets; no network."""
    place = tmp_path_factory.mktemp("world")
    pictures = place / "pictures"
    for folder in (pictures, place / "birds", place / "boats"):
        folder.mkdir()
    for number in range(12):
        write_jpeg(
            place / ("birds" if number < 6 else "boats") / f"{number:02d}.jpg", draw(compose(9000 + number, 320, 256))
        )
    for number in range(24):
        write_jpeg(pictures / f"p{number:02d}.jpg", draw(compose(number, 300, 300)))
    shutil.copy(place / "birds/00.jpg", pictures / "q00.jpg")
    for number, (kind, strength) in enumerate([("jpeg", 40), ("downscale", 0.5), ("brightness", 1.2), ("grey", 1)]):
        original = decode((place / f"birds/{number + 1:02d}.jpg").read_bytes())
        write_jpeg(pictures / f"q{number + 1:02d}.jpg", EDITS[kind].apply(original, strength, np.random.default_rng(0)))
    write_jpeg(pictures / "q05.jpg", decode((place / "boats/07.jpg").read_bytes())[:, ::-1], 60)
    for path in pictures.glob("*.jpg"):
        path.with_suffix(".txt").write_text(f"a picture with a <script>alert('{path.stem}')</script> in it")
    (pictures / "z.jpg").write_bytes(b"no picture")
    (pictures / "z.txt").write_text("a picture that is broken")
    flags = ["--dataset", "folder", "--url_list", pictures, "--output_folder", place / "pairs"]
    flags += ["--number_sample_per_shard", 8, "--processes_count", 1, "--filters", "none"]
    assert 0 == ingest([*map(str, flags)])
    return place


def flags(world: Path, out: Path, *more: object) -> list[str]:
    given = ["--input_folder", world / "pairs", "--output_folder", out, *DETECTOR]
    given += ["--reference", f"birds={world / 'birds'}", f"boats={world / 'boats'}"]
    return [str(flag) for flag in (*given, *more)]


@pytest.fixture(scope="module")
def clean(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean") / "clean"
    assert 0 == main(flags(world, out, "--processes_count", 1))
    return out


def rows(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_copies_go_and_everything_else_stays(world: Path, clean: Path) -> None:
    """Each row is there as before, but for the copies'; shards without copies are the same files."""
    before, after = rows(world / "pairs"), rows(clean)
    gone = {Path(row["url"]).name: row["reason"] for row in after if row["status"] == "removed"}
    assert {f"q0{n}.jpg": "copy-of-birds" for n in range(5)} | {"q05.jpg": "copy-of-boats"} == gone
    changed = {"status", "stage", "reason", "error_message"}
    for old, new in zip(before, after, strict=True):
        assert {**old, **dict.fromkeys(changed)} == {**new, **dict.fromkeys(changed)}
        assert new["status"] == "removed" or old == new
    was, is_ = hashes(world / "pairs"), hashes(clean)
    for shard in json.loads((clean / "manifest.json").read_text())["shards"]:
        same = not shard["counts"]["statuses"]["removed"]
        assert same == (was[f"{shard['name']}.tar"] == is_[f"{shard['name']}.tar"])
    assert 0 == run_job("pipelines.audit", clean).returncode


def test_tables_say_what_was_found(world: Path, clean: Path) -> None:
    """Schemas as documented; who decided; each set's overlap; lineage back to ingest."""
    found = {name: pq.read_table(clean / f"dedup/{name}.parquet") for name in ("matches", "nearest", "denylist")}
    assert [MATCHES, NEAREST, DENYLIST] == [table.schema for table in found.values()]
    denied = {row["reference_id"]: row for row in found["denylist"].to_pylist()}
    assert ["00.jpg", "01.jpg", "02.jpg", "03.jpg", "04.jpg", "07.jpg"] == sorted(denied)
    assert ["exact", *["threshold"] * 5] == [denied[name]["decided_by"] for name in sorted(denied)]
    assert [f"0{n}.jpg" for n in range(5)] == (clean / "dedup/overlap-birds.txt").read_text().split()
    assert ["07.jpg"] == (clean / "dedup/overlap-boats.txt").read_text().split()
    assert 12 == found["nearest"].num_rows
    best = {row["reference_id"]: row for row in found["nearest"].to_pylist()}
    assert all(best[name]["key"] == row["key"] for name, row in denied.items())
    lineage = json.loads((clean / "manifest.json").read_text())["lineage"]
    assert ["ingest"] == [one["job"] for one in lineage]
    vectors = np.load(clean / "img_emb/img_emb_00000.npy")
    known = pq.read_table(clean / "metadata/metadata_00000.parquet").to_pylist()
    assert (np.float16, len(known)) == (vectors.dtype, len(vectors))
    assert [r["key"] for r in rows(world / "pairs")[:8] if r["status"] == "success"] == [r["key"] for r in known]
    assert np.abs(np.linalg.norm(vectors.astype(float), axis=1) - 1).max() < 1e-3


def test_two_workers_give_the_same_bytes(world: Path, clean: Path, tmp_path: Path) -> None:
    """In processes of Beam's local runner."""
    done = run_job("pipelines.dedup", "--runner=DirectRunner", *flags(world, tmp_path / "out", "--processes_count", 2))
    assert 0 == done.returncode, done.stderr
    assert "5 of 6 have a copy; 5 pictures removed" in done.stdout
    assert hashes(clean) == hashes(tmp_path / "out")


def test_killed_then_resumed(world: Path, clean: Path, tmp_path: Path) -> None:
    """SIGKILL to everything at random moments; the same command then ends with the same bytes."""
    rng = random.Random(3)
    for _ in range(4):
        job = Job("pipelines.dedup", *flags(world, tmp_path / "out", "--processes_count", 2))
        time.sleep(rng.uniform(1.5, 5))
        job.kill_all()
    assert 0 == main(flags(world, tmp_path / "out", "--processes_count", 1))
    assert hashes(clean) == hashes(tmp_path / "out")


def test_decisions_and_thresholds_reuse_the_vectors(world: Path, clean: Path, tmp_path: Path) -> None:
    """A rerun into the same folder: a person's word counts, and no picture is embedded again."""
    out = tmp_path / "out"
    shutil.copytree(clean, out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("img_emb_*.npy")}
    assert stamps
    denied = pq.read_table(out / "dedup/denylist.parquet").to_pylist()
    said = json.loads((out / "dedup/decisions.json").read_text())
    kept = next(row["key"] for row in rows(out) if row["status"] == "success")
    pair = {name: denied[0][name] for name in ("key", "reference_set", "reference_id")}
    said["pairs"] = [
        {**pair, "decision": "different"},
        {"key": kept, "reference_set": "boats", "reference_id": "06.jpg", "decision": "copy"},
    ]
    (tmp_path / "decisions.json").write_text(json.dumps(said))
    assert 0 == main(flags(world, out, "--processes_count", 1, "--decisions", tmp_path / "decisions.json"))
    again = {row["key"]: row for row in pq.read_table(out / "dedup/denylist.parquet").to_pylist()}
    assert {row["key"] for row in denied[1:]} | {kept} == set(again)
    assert "person" == again[kept]["decided_by"]
    assert said == json.loads((out / "dedup/decisions.json").read_text())
    assert 0 == main(flags(world, out, "--processes_count", 1, "--threshold", "1", "birds=0.99"))
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("img_emb_*.npy")}
    assert "exact" == pq.read_table(out / "dedup/denylist.parquet")["decided_by"][0].as_py()
    assert 0 == run_job("pipelines.audit", out).returncode


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--reference", "birds"], "--reference birds: expected NAME=PATH"),
        (["--reference", "birds={world}/nowhere"], "nowhere: No such file or directory"),
        (["--reference", "birds={world}/empty"], "holds no pictures"),
        (["--reference", "birds={world}/broken"], "broken/b.jpg: cannot be decoded (not-an-image"),
        (["--detector", "sscd"], "there is no detector 'sscd'"),
        (["--detector", "open_clip:ViT-B-32/nowhere.pt"], "is neither a file of weights"),
        (["--detector", "torchscript:nowhere.pt"], "nowhere.pt"),
        (["--threshold", "2"], "--threshold 2: expected a cosine between -1 and 1"),
        (["--threshold", "cats=0.5"], "there is no --reference cats"),
        (["--decisions", "{world}/foreign.json"], "was decided on pairs of the detector other"),
        (
            ["--input_folder", "{world}/birds"],
            "holds pictures and no dataset, expected pairs; make pairs of them first",
        ),
        (["--output_folder", "{world}/pairs"], "is the input"),
    ],
)
def test_mistakes_are_one_sentence(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], message: str
) -> None:
    """Where, what was found, what was expected; no stack trace, no dataset."""
    (world / "empty").mkdir(exist_ok=True)
    (world / "broken").mkdir(exist_ok=True)
    (world / "broken/b.jpg").write_bytes(b"no picture")
    (world / "foreign.json").write_text('{"detector": "other", "pairs": []}')
    code = 1 if "decoded" in message else 2  # found out when others are done
    assert code == main(flags(world, tmp_path / "out", "--processes_count", 1, *(m.format(world=world) for m in more)))
    told = capsys.readouterr().err.splitlines()
    assert message in told[-1], told
    assert told[-1].startswith("pipelines.dedup: ")
    assert not (tmp_path / "out/manifest.json").exists()
