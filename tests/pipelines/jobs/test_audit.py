"""The audit sees every kind of damage, names it in one line, and is silent about a good dataset."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.audit import main
from pipelines.ingest import main as ingest
from schemas.folder import HashingFile
from schemas.shards import read_tar, write_tar


@pytest.fixture(scope="module", params=["webdataset", "parquet"])
def good(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three shards."""
    out = tmp_path_factory.mktemp("good") / "pairs"
    source = tmp_path_factory.mktemp("pictures")
    for line in (data / "coco_val2017/captions.jsonl").read_text().splitlines()[:12]:
        picture = json.loads(line)
        shutil.copy(data / "coco_val2017" / picture["file"], source)
        (source / picture["file"]).with_suffix(".txt").write_text(picture["captions"][0])
    (source / "broken.jpg").write_bytes(b"no picture")
    (source / "broken.txt").write_text("a picture that is broken")
    flags = ["--dataset", "folder", "--url_list", source, "--output_folder", out, "--number_sample_per_shard", 5]
    assert 0 == ingest([*map(str, flags), "--output_format", request.param, "--processes_count", "1"])
    return out


@pytest.fixture
def damaged(good: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(good, tmp_path / "pairs"))


def is_tar(folder: Path) -> bool:
    return (folder / "00000.tar").exists()


def found(folder: Path, capsys: pytest.CaptureFixture) -> list[str]:
    capsys.readouterr()
    code = main([str(folder), "--processes_count", "1"])
    *faults, summary = capsys.readouterr().out.splitlines()
    assert (code, bool(faults)) in ((0, False), (1, True))
    assert f"{len(faults)} fault" in summary
    return faults


@pytest.mark.parametrize("shards", [[None], "a", [{"name": "00000"}], 3])
def test_a_manifest_that_is_none(damaged: Path, capsys: pytest.CaptureFixture, shards: object) -> None:
    """One sentence, and no trace."""
    value = json.loads((damaged / "manifest.json").read_text())
    (damaged / "manifest.json").write_text(json.dumps({**value, "shards": shards}))
    assert 2 == main([str(damaged)])
    assert "manifest.json: was damaged after writing" in capsys.readouterr().err


def test_a_pipe_is_not_read(damaged: Path, capsys: pytest.CaptureFixture) -> None:
    """What is no regular file would never end."""
    (damaged / "00000.parquet").unlink()
    os.mkfifo(damaged / "00000.parquet")
    assert any("is not a regular file" in fault for fault in found(damaged, capsys))


def test_a_good_dataset_has_no_faults(good: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 0 and one line."""
    assert [] == found(good, capsys)


def rewrite_ledger(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "00001.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def set_column(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[0] = value
        field = table.schema.field(name)
        return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

    return change


def rewrite_tar(folder: Path, change: Callable[[list], list]) -> None:
    path = folder / "00001.tar"
    samples = list(read_tar(io.BytesIO(path.read_bytes()), "x"))
    with path.open("wb") as file:
        write_tar(HashingFile(file), change(samples))


def edit_json(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "ledger missing": (lambda f: (f / "00001.parquet").unlink(), "00001.parquet: is missing"),
    "marker missing": (lambda f: (f / "00001_stats.json").unlink(), "00001_stats.json: is missing"),
    "ledger cut": (lambda f: (f / "00001.parquet").write_bytes((f / "00001.parquet").read_bytes()[:-9]), "not a whole Parquet file"),
    "one bit": (lambda f: flip(f / "00000.parquet"), "its sha256 is not the manifest's"),
    "row lost": (lambda f: rewrite_ledger(f, lambda t: t.slice(1)), "key is 000011, expected 000010"),
    "row doubled": (lambda f: rewrite_ledger(f, lambda t: pa.concat_tables([t.slice(0, 1), t])), "key is 000010, expected 000011"),
    "column lost": (lambda f: rewrite_ledger(f, lambda t: t.drop_columns(["uid"])), "has no column 'uid'"),
    "column type": (
        lambda f: rewrite_ledger(f, lambda t: t.set_column(t.schema.get_field_index("width"), "width", pc.cast(t["width"], pa.int64()))),
        "column 'width' is int64, expected int32",
    ),
    "caption changed": (lambda f: rewrite_ledger(f, set_column("caption", "another")), "uid is not that of its url and caption"),
    "status unknown": (lambda f: rewrite_ledger(f, set_column("status", "fine")), "status is 'fine', expected one of"),
    "reason without loss": (lambda f: rewrite_ledger(f, set_column("reason", "timeout")), "is kept but has the reason timeout"),
    "kept without size": (lambda f: rewrite_ledger(f, set_column("width", None)), "is kept but has no width"),
    "foreign shard": (lambda f: shutil.copy(f / "00001.parquet", f / "00007.parquet"), "00007.parquet: is not in the manifest"),
    "left unfinished": (lambda f: (f / "00001.tar.tmp-1-a").touch(), "left unfinished by a killed run"),
    "manifest sums": (edit_json("manifest.json", lambda m: m["counts"]["statuses"].update(success=99)), "counts are not the sum"),
    "marker counts": (
        edit_json("00001_stats.json", lambda m: m["counts"]["statuses"].update(success=99)), "its counts is not the manifest's"),
}  # fmt: skip
TAR_DAMAGE: dict[str, tuple[Callable[[list], list], str]] = {
    "sample lost": (lambda s: s[1:], "1 are missing, first 000010"),
    "order": (lambda s: [s[1], s[0], *s[2:]], "they are in another order"),
    "stranger": (lambda s: [*s, ("000019", s[0][1])], "sample 000019: the ledger does not keep it"),
    "caption": (lambda s: [(s[0][0], s[0][1] | {"txt": b"another"}), *s[1:]], "its txt is not the ledger's text"),
    "json": (lambda s: [(s[0][0], s[0][1] | {"json": b"{}"}), *s[1:]], "its json is not what the ledger says"),
    "no json": (lambda s: [(s[0][0], s[0][1] | {"json": b"{"}), *s[1:]], "its json cannot be parsed"),
    "swapped pictures": (
        lambda s: [(s[0][0], s[0][1] | {"jpg": s[1][1]["jpg"]}), *s[1:]], "its picture's sha256 is not the ledger's stored_sha256"),
    "broken picture": (lambda s: [(s[0][0], s[0][1] | {"jpg": b"x"}), *s[1:]], "its picture cannot be decoded"),
    "member lost": (lambda s: [(s[0][0], {"jpg": s[0][1]["jpg"]}), *s[1:]], "its members are jpg, expected a picture, txt and json"),
}  # fmt: skip


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(damaged: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    """Each kind of damage to ledger, marker, manifest or folder."""
    damage, message = DAMAGE[name]
    damage(damaged)
    assert any(message in fault for fault in found(damaged, capsys))


@pytest.mark.parametrize("name", TAR_DAMAGE)
def test_damage_to_a_tar_is_named(damaged: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    """Each kind of damage inside a tar."""
    if not is_tar(damaged):
        pytest.skip("this dataset has no tars")
    change, message = TAR_DAMAGE[name]
    rewrite_tar(damaged, change)
    assert any(message in fault for fault in found(damaged, capsys))


def test_many_processes_find_the_same(damaged: Path, capsys: pytest.CaptureFixture) -> None:
    """Faults come in the order of the shards, whoever finds them."""
    for name in ("00000.parquet", "00002.parquet"):
        flip(damaged / name)
    alone = found(damaged, capsys)
    assert 1 == main([str(damaged), "--processes_count", "2"])
    assert alone == capsys.readouterr().out.splitlines()[:-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: (f / "manifest.json").unlink(), "is not a finished dataset"),
        (lambda f: (f / "manifest.json").write_text("{"), "not JSON"),
        (edit_json("manifest.json", lambda m: m.update(format_version=2)), "format_version is 2, expected 1"),
        (
            edit_json("manifest.json", lambda m: m.update(table="poems")),
            "holds a table of 'poems', expected pairs or examples",
        ),
    ],
)
def test_what_is_no_dataset_is_one_sentence(
    damaged: Path, capsys: pytest.CaptureFixture, make: Callable[[Path], object], message: str
) -> None:
    """Exit code 2."""
    make(damaged)
    assert 2 == main([str(damaged)])
    assert message in capsys.readouterr().err
