"""A manifest, marker, recipe, journal or lock that was tampered with: refused in one sentence, or as good as any to all that read it.

The law is over every place of a real one and every kind of value. No name of a file leads out of the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.running.output import begin_retry, decide
from pipelines.running.recipe import Recipe
from schemas.folder import RECIPE, FileRecord, Folder
from schemas.journal import JOURNAL, roll_forward
from schemas.lock import RUN_LOCK, FolderInUse, only_run, publishes
from schemas.manifest import (
    MANIFEST,
    Counts,
    Marker,
    fingerprint,
    is_deduplicated,
    lineage_from,
    made_from,
    manifest,
    marker_name,
    read_manifest,
    read_recipe,
)
from schemas.manifest_shape import TO_MAKE_AGAIN, TO_TRAIN_ON
from tests import disk_store  # noqa: F401  registers the store
from tests.tampering import tampered

COUNTS = Counts(Counter({"success": 2, "refused": 1}), Counter({("caption", "too-short"): 1}))
MARKERS = [
    Marker(
        shard=shard,
        fingerprint="f" * 64,
        counts=COUNTS,
        files=(FileRecord(f"{shard}.tar", "a" * 64, 7), FileRecord(f"dedup/shards/denylist_{shard}.parquet", "b" * 64, 8)),
        run={
            "start_time": 1.5, "host": "here", "bytes_fetched": 3, "failures_by_host": [["a.example", "http-404", 1]],
            "captions": 2, "captions_cut": 0, "crops": 2, "overlap": {"coco": ["1.jpg"]},
        },
    )
    for shard in ("00000", "00001")
]  # fmt: skip
OPTIONS = {
    "pairs": {"number_sample_per_shard": 3, "oom_shard_count": 5, "encode_format": "jpg", "output_format": "webdataset"},
    "examples": {
        "vocabulary": "a" * 64, "vocab_size": 300, "dvae": "b" * 64, "codes": 16, "image_vocab_size": 512, "seed": 0,
        "precision": "fp32", "device": "cpu", "batch_size": 4, "crops_per_image": 1, "output_format": "parquet",
    },
}  # fmt: skip
ALL = {
    table: manifest(
        job="dedup", table=table, options=options, inputs=[{"name": "a.csv", "sha256": "c" * 64}],
        library_versions={"numpy": "2"}, markers=MARKERS,
        lineage=[{"job": "ingest", "manifest": "d" * 64, "options": {"seed": 0}}],
    )
    for table, options in OPTIONS.items()
}  # fmt: skip


def refused(read: Callable[[], object], path: Path) -> bool:
    """Whether it is refused, which is said in one line that names the file."""
    try:
        read()
    except ValueError as error:
        assert str(path) in str(error) or str(path.parent) in str(error), error
        assert 1 == len(str(error).splitlines()), error
        return True
    return False


def use(folder: Folder, value: dict[str, Any]) -> None:
    """All that anybody does with a manifest that was read."""
    for shard in value["shards"]:
        marker = Marker.of_manifest(shard)
        assert marker.counts.rows <= 10**9
        assert os.path.dirname(folder.path(marker_name(marker.shard))) == folder.root
        for file in marker.files:
            assert os.path.realpath(folder.path(file.name)).startswith(folder.root + "/")
            assert file.size >= 0
        assert int(marker.shard) >= 0
    assert Counts.of_json(value["counts"]).rows >= 0
    assert 64 == len(fingerprint(value))
    assert lineage_from(value)
    assert isinstance(is_deduplicated(value), bool)
    assert isinstance(made_from(value), str)
    for source in value["inputs"]:
        assert isinstance(source["name"] + source["sha256"][:12], str)


@pytest.mark.parametrize("table", OPTIONS)
@pytest.mark.parametrize("wanted", [TO_MAKE_AGAIN, TO_TRAIN_ON], ids=["to make again", "to train on"])
def test_manifests(table: str, wanted: Any, tmp_path: Path) -> None:
    """Read for each purpose, at every place."""
    folder, path = Folder(tmp_path), tmp_path / MANIFEST
    fates: Counter[bool] = Counter()
    for what, value in tampered(ALL[table]):
        path.write_text(json.dumps(value))
        seen: dict[str, Any] = {}
        no = refused(lambda: seen.update(read_manifest(folder, table=table, options=wanted)), path)  # noqa: B023
        fates[no] += 1
        if not no:
            use(folder, seen)
            for name, expected in OPTIONS[table].items():
                if name in wanted.get(table, {}):
                    assert type(seen["options"][name]) is type(expected), what
    assert fates[True] > 1000
    assert fates[False] > 100  # such as another name of an input


def test_what_a_run_left(tmp_path: Path) -> None:
    """A decision about a folder whose manifest or recipe was tampered with: a sentence, or a decision."""
    folder = Folder(tmp_path)
    recipe = Recipe(
        job="dedup", table="pairs", inputs=ALL["pairs"]["inputs"], cut={}, options={}, versions={"numpy": "2"}
    )
    for name, whole in ((MANIFEST, ALL["pairs"]), (RECIPE, {**recipe.to_json(), "anew": False, "extends": True}), (RECIPE, {**recipe.to_json(), "retries": "f" * 64})):  # fmt: skip
        path = tmp_path / name
        for number, (_, value) in enumerate(tampered(whole)):
            path.write_text(json.dumps(value))
            refused(lambda: decide(folder, recipe, "extend" if number % 2 else "incremental"), path)  # noqa: B023
            if name == RECIPE:
                refused(lambda: read_recipe(folder), path)
            if number % 5 == 0:
                refused(lambda: begin_retry(folder, recipe), path)
        path.unlink(missing_ok=True)
        (tmp_path / RECIPE).unlink(missing_ok=True)


def test_markers(tmp_path: Path) -> None:
    """Of a shard, with all facts of a run."""
    folder, path = Folder(tmp_path), tmp_path / marker_name("00000")
    fates: Counter[bool] = Counter()
    for _, value in tampered(MARKERS[0].to_json()):
        path.write_text(json.dumps(value))
        seen = list[Marker]()
        no = refused(lambda: seen.append(Marker.read(folder, "00000")), path)  # noqa: B023
        fates[no] += 1
        for marker in seen:
            assert "00000" == marker.shard
            assert sum(n for _, _, n in marker.run.get("failures_by_host", ())) >= 0
            assert sum(marker.run.get(name, 0) for name in ("bytes_fetched", "captions", "captions_cut", "crops")) >= 0
            assert all(isinstance(one, str) for ids in marker.run.get("overlap", {}).values() for one in ids)
            for file in marker.files:
                assert os.path.realpath(folder.path(file.name)).startswith(folder.root + "/")
    assert fates[True] > 500
    assert fates[False] > 100


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "\ufeff{}", "nul", ""])
def test_what_no_parser_likes(content: str, tmp_path: Path) -> None:
    """Nested without an end, numbers without an end, a byte order mark, nothing."""
    for name, read in (
        (MANIFEST, read_manifest),
        (RECIPE, read_recipe),
        (marker_name("0"), lambda f: Marker.read(f, "0")),
    ):
        (tmp_path / name).write_text(content)
        assert refused(lambda: read(Folder(tmp_path)), tmp_path / name)  # noqa: B023


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """As a manifest, a recipe or a marker."""
    for name, read in (
        (MANIFEST, read_manifest),
        (RECIPE, read_recipe),
        (marker_name("0"), lambda f: Marker.read(f, "0")),
    ):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name}: is a pipe, expected a file$"):
            read(Folder(tmp_path))


def test_journals(tmp_path: Path) -> None:
    """Of a change that was left half in place: a sentence, or it is put in place; nothing outside changes."""
    folder, outside = Folder(tmp_path / "dataset"), tmp_path / "outside"
    outside.write_text("whole")
    comes = {"name": "00000.tar", "etag": None, "source": "_next/00000.tar", "size": 3, "source_etag": None}
    journal = {"comes": [comes, {**comes, "name": MANIFEST, "source": f"_next/{MANIFEST}"}], "goes": [{"name": "00001.tar", "etag": None}]}  # fmt: skip
    fates: Counter[bool] = Counter()
    for what, value in tampered(journal):
        for name in ("00001.tar", "_next/00000.tar", f"_next/{MANIFEST}"):
            folder.write(name, b"abc")
        folder.write(JOURNAL, json.dumps(value).encode())
        no = refused(lambda: roll_forward(folder), tmp_path / "dataset")
        fates[no] += 1
        assert "whole" == outside.read_text(), what
        assert {"dataset", "outside"} == {path.name for path in tmp_path.iterdir()}, what
        shutil.rmtree(tmp_path / "dataset")
    assert fates[True] > 100
    assert fates[False] > 20


@pytest.mark.parametrize("where", ["_next", "dedup"])
def test_a_journal_leads_nowhere_else(where: str, tmp_path: Path) -> None:
    """A link in the dataset, or a file that takes its own place: refused, and all is as it was."""
    folder, victim = Folder(tmp_path / "dataset"), tmp_path / "victim"
    victim.mkdir()
    (victim / "a.txt").write_text("precious")
    folder.write("x.json", b"{}")
    for name, source in ((f"{where}/a.txt", f"_next/{where}/a.txt"), ("x.json", "x.json"), ("a.txt", "x.json")):
        comes = {"name": name, "etag": None, "source": source, "size": 2, "source_etag": None}
        folder.write(
            JOURNAL, json.dumps({"comes": [comes], "goes": [{"name": f"{where}/a.txt", "etag": None}]}).encode()
        )
        if not (tmp_path / "dataset" / where).exists():
            (tmp_path / "dataset" / where).symlink_to(victim)
        with pytest.raises(ValueError, match="was damaged after writing"):
            roll_forward(folder)
        assert "precious" == (victim / "a.txt").read_text()
        assert folder.exists("x.json")
    for change in (lambda: folder.write(f"{where}/b.txt", b""), lambda: folder.remove(f"{where}/a.txt"), lambda: folder.remove_tree(where)):  # fmt: skip
        with pytest.raises(
            ValueError, match=f"{where}: is a symbolic link, and what was to change there would be elsewhere"
        ):
            change()
    assert ["a.txt"] == [path.name for path in victim.iterdir()]


def test_notes_of_who_holds_a_store(tmp_path: Path) -> None:
    """The note of a run that was killed there: a sentence, or it counts for nothing; never a trace."""
    run = {"run": "a" * 32, "who": "process 1 on here", "time": 0.0, "process": ["b", 1, 2, 3.0], "released": False, "publishes": None}  # fmt: skip
    fates: Counter[bool] = Counter()
    folder = Folder(f"diskstore://{tmp_path}/bucket/dataset")

    def hold() -> None:
        with contextlib.suppress(FolderInUse), only_run(folder):
            publishes(folder)

    for _, value in tampered(run):
        folder.fs.pipe_file(folder.path(RUN_LOCK), json.dumps(value).encode())
        fates[refused(hold, Path(folder.path(RUN_LOCK)))] += 1
    assert fates[True] > 50
    assert fates[False] > 10
