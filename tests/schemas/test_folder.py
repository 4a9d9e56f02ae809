"""Files appear in a dataset's folder whole, or not at all."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.folder import Folder, Staging, canonical_json


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder on disk, and one on a store without rename."""
    if request.param == "local":
        return Folder(tmp_path / "out")
    fsspec.filesystem("memory").store.clear()
    return Folder("memory://bucket/out")


def test_staged_files_appear_only_when_published(folder: Folder) -> None:
    """Before `publish` nothing has its final name; after it every file is whole and its record true."""
    folder.make()
    with Staging(folder) as staging:
        with staging.file("a.tar") as file:
            file.write(b"one")
            file.write(b"two")
        with staging.file("b.parquet") as file:
            file.write(b"three")
        assert not folder.exists("a.tar")
        assert not folder.exists("b.parquet")
        records = staging.publish()
    assert [("a.tar", 6), ("b.parquet", 5)] == [(r.name, r.size) for r in records]
    assert hashlib.sha256(b"onetwo").hexdigest() == records[0].sha256 == folder.sha256("a.tar")
    assert b"three" == folder.read_bytes("b.parquet")
    assert ["a.tar", "b.parquet"] == folder.names()


def test_an_exception_leaves_nothing(folder: Folder) -> None:
    """What was made ready and not published is deleted, also the file that was being written."""
    folder.make()
    with pytest.raises(RuntimeError), Staging(folder) as staging:
        with staging.file("a.tar") as file:
            file.write(b"one")
        with staging.file("b.tar") as file:
            file.write(b"two")
            raise RuntimeError
    assert [] == folder.names()


def test_publishing_replaces_a_file_in_one_step(folder: Folder) -> None:
    """A reader of the old file never sees a part of the new one."""
    folder.make()
    folder.write("a.json", b"old")
    with Staging(folder) as staging:
        with staging.file("a.json") as file:
            file.write(b"new and longer")
            assert b"old" == folder.read_bytes("a.json")
        staging.publish()
    assert b"new and longer" == folder.read_bytes("a.json")


def test_sweep_takes_only_what_is_unfinished(tmp_path: Path) -> None:
    """Leftovers of killed runs go, wherever a dataset has files; finished files stay, and other folders are let be."""
    folder = Folder(tmp_path)
    finished = ["00000.tar", "manifest.json", "metadata/metadata_0.parquet"]
    unfinished = [
        "00000.tar.tmp-7-a",
        "dedup/references/birds/metadata/metadata_0.parquet.tmp-7-a",
        "img_emb/0.npy.tmp-7-a",
    ]
    another = ["another/00000.tar.tmp-8-b"]
    for name in finished + unfinished + another:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert unfinished == folder.unfinished() == folder.sweep()
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(finished + another) == left


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b"])
def test_no_path_leads_out(tmp_path: Path, name: str) -> None:
    """A file's name cannot name a place outside the folder."""
    with pytest.raises(ValueError, match="lead out of the folder"):
        Folder(tmp_path).path(name)


def test_missing_folder_has_no_names(tmp_path: Path) -> None:
    """Asking what is in a folder that is not there is no error."""
    assert [] == Folder(tmp_path / "nowhere").names()
    assert not Folder(tmp_path / "nowhere").exists("manifest.json")


def test_damaged_json_is_one_sentence(tmp_path: Path) -> None:
    """The message says which file and what to make of it."""
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: not JSON .* damaged after writing"):
        Folder(tmp_path).read_json("manifest.json")


def test_folder_travels_to_workers(tmp_path: Path) -> None:
    """A pickled folder is the same folder."""
    there = pickle.loads(pickle.dumps(Folder(tmp_path)))
    assert Folder(tmp_path).path("a") == there.path("a")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), json_values, min_size=2))
def test_canonical_json_does_not_depend_on_order(value: dict) -> None:
    """The same dict in another order has the same bytes."""
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))
