"""Objects are changed under conditions, on an S3 server that fails now and then, and on stores without conditions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from schemas import s3_objects
from schemas.conditions import Changed, Condition, Objects, Source
from schemas.objects import objects_of
from tests import disk_store
from tests.object_store import ObjectStore

pytest.importorskip("s3fs")
assert disk_store  # makes the store known


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """One request in seven fails, in all the ways there are."""
    with ObjectStore(7) as server, pytest.MonkeyPatch.context() as patch:
        given = server.environment()
        patch.setitem(fsspec.config.conf, "s3", json.loads(given.pop("FSSPEC_S3")))
        for name, value in given.items():
            patch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        fs.mkdir("bucket")
        yield fs
        fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(params=["s3", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, str]:
    """A store and a folder in it."""
    if request.param == "s3":
        return request.getfixturevalue("s3"), f"bucket/{tmp_path.name}"
    return fsspec.filesystem("diskstore"), str(tmp_path)


def test_a_change_needs_what_was_seen(store: tuple[Any, str], tmp_path: Path) -> None:
    """A name that is free may be taken, an object that was seen may be replaced; one of another run may not."""
    fs, folder = store
    ours: Objects = objects_of(fs)
    path, file = f"{folder}/a", tmp_path / "file"
    file.write_bytes(b"from a file")
    first = ours.put(path, b"first", Condition(None, "a"))
    assert first == ours.etag(path)
    second = ours.put(path, file, Condition(first, "b"))
    assert b"from a file" == fs.cat_file(path)
    for seen in (first, None):
        with pytest.raises(Changed):
            ours.put(path, b"third", Condition(seen, "c"))
        with pytest.raises(Changed):
            ours.delete(path, Condition(seen, "c"))
    other = ours.put(f"{folder}/b", b"other", Condition(None, "c"))
    with pytest.raises(Changed):
        ours.copy(Source(f"{folder}/b", 5, other), path, Condition(first, "c"))
    with pytest.raises(Changed):
        ours.copy(Source(f"{folder}/b", 5, "another tag"), path, Condition(second, "c"))
    assert b"from a file" == fs.cat_file(path)
    ours.copy(Source(f"{folder}/b", 5, other), path, Condition(second, "c"))
    ours.copy(Source(f"{folder}/b", 5, other), f"{folder}/free", Condition(None, "c"))
    assert b"other" == fs.cat_file(path) == fs.cat_file(f"{folder}/free")
    ours.delete(path, Condition(ours.etag(path), "d"))
    ours.delete(path, Condition("gone", "d"))
    assert ours.etag(path) is None
    assert ours.put(path, b"again", Condition("gone", "d")) == ours.etag(path)


def test_what_a_run_has_put_it_may_change(s3: Any) -> None:
    """Also when another of its processes has, or when the answer to its request was lost."""
    ours = objects_of(s3)
    for number in range(10):  # enough of them fail
        path = f"bucket/own/{number}"
        ours.put(path, b"by one worker", Condition(None, "a"))
        ours.put(path, b"by another", Condition(None, "a"))
        assert b"by another" == s3.cat_file(path)
        assert ours.is_of(path, "a")
        with pytest.raises(Changed):
            ours.put(path, b"by another run", Condition(None, "b"))


def test_large_objects_go_in_parts(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same conditions, and copied too."""
    monkeypatch.setattr(s3_objects, "_PART", 5 << 20)
    monkeypatch.setattr(s3_objects, "_ONE_REQUEST", 5 << 20)
    monkeypatch.setattr(s3_objects, "_LARGEST_COPY", 5 << 20)
    file = tmp_path / "large"
    file.write_bytes(bytes(range(256)) * (45 << 10))
    ours, size = objects_of(s3), file.stat().st_size
    tag = ours.put("bucket/large", file, Condition(None, "a"))
    assert file.read_bytes() == s3.cat_file("bucket/large")
    with pytest.raises(Changed):
        ours.put("bucket/large", file, Condition(None, "b"))
    ours.copy(Source("bucket/large", size, tag), "bucket/copy", Condition(None, "a"))
    assert file.read_bytes() == s3.cat_file("bucket/copy")
    with pytest.raises(Changed):
        ours.copy(Source("bucket/large", size, tag), "bucket/copy", Condition(None, "b"))
