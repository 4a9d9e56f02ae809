"""Folders that are linked to hold pictures as others do; and what the pictures and captions are made from is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.copies.references import ReferenceArgument, find_references
from pipelines.lists import ListOptions, open_source
from pipelines.lists.files import files_below
from pipelines.stages.open_local import open_local


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one in a folder outside that is linked to."""
    for name in ("folder/a.jpg", "other/t.jpg", "other/deep/u.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / name).with_suffix(".txt").write_text(f"a picture of {name}")
    (tmp_path / "folder/linked").symlink_to(tmp_path / "other")
    return tmp_path / "folder"


def rows(folder: Path) -> list[tuple[str, list[str]]]:
    source = open_source(ListOptions(url_list=str(folder), dataset="folder"))
    return [(row["url"], row["captions"]) for batch in source.rows() for row in batch.to_pylist()]


def input_of(folder: Path) -> str:
    (given,) = open_source(ListOptions(url_list=str(folder), dataset="folder")).inputs()
    assert folder.name == given["name"]
    return str(given["sha256"])


def test_pictures_behind_a_link_are_rows_and_references(folder: Path) -> None:
    """With their captions, and they can be opened."""
    names = ["a.jpg", "linked/deep/u.jpg", "linked/t.jpg"]
    assert names == [url for url, _ in rows(folder)]
    assert ["a picture of other/t.jpg"] == rows(folder)[2][1]
    opened = list(open_local(enumerate(names), str(folder), 100))
    assert [b"folder/a.jpg", b"other/deep/u.jpg", b"other/t.jpg"] == [data for _, data, _ in opened]
    references = find_references(ReferenceArgument("k", str(folder)))
    assert [("a.jpg", b"folder/a.jpg"), ("t.jpg", b"other/t.jpg"), ("u.jpg", b"other/deep/u.jpg")] == [
        (reference.id, reference.read()) for reference in references
    ]


def test_links_in_circles_and_twice_are_gone_into_once(folder: Path) -> None:
    """To itself, to a folder above, to one that is there already, to nothing; the result is the same each time."""
    expected = files_below(str(folder))
    for name, target in (("up", ".."), ("self", "."), ("z", "linked/deep"), ("nothing", "nowhere")):
        (folder / name).symlink_to(target)
    found = files_below(str(folder))
    assert found == files_below(str(folder))
    assert {os.path.realpath(folder / name) for name in expected} <= {os.path.realpath(folder / name) for name in found}
    real = [os.path.realpath(folder / name) for name in found if (folder / name).exists()]
    assert len(real) == len(set(real))


def test_a_pipe_among_the_pictures_blocks_nobody(folder: Path) -> None:
    """It is no picture: a row that fails, and no input that is read for ever."""
    os.mkfifo(folder / "p.jpg")
    os.mkfifo(folder / "p.txt")
    os.mkfifo(folder / "captions.jsonl")
    assert "p.jpg" in [url for url, _ in rows(folder)]
    assert input_of(folder)
    ((_, data, problem),) = open_local([(0, "p.jpg")], str(folder), 100)
    assert (b"", "unreadable") == (data, problem and problem.reason)


def test_whatever_is_changed_changes_the_input(folder: Path) -> None:
    """The size of a picture, a letter of a caption, a name; behind links too. When it was changed does not."""
    before = input_of(folder)
    os.utime(folder / "a.jpg", (1, 1))
    assert before == input_of(folder)
    seen = {before}
    for name in ("a.jpg", "a.txt", "linked/t.txt", "linked/deep/u.jpg"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]) * (2 if name.endswith("jpg") else 1))
        seen.add(input_of(folder))
        (folder / name).write_bytes(data)
    (folder / "a.jpg").rename(folder / "b.jpg")
    seen.add(input_of(folder))
    assert 6 == len(seen)


def test_of_a_vocabulary_pictures_are_no_input(folder: Path) -> None:
    """What is in them changes no caption; their names and the texts do."""
    source = open_source(ListOptions(url_list=str(folder), dataset="folder"))
    before = source.inputs(with_pictures=False)
    (folder / "a.jpg").write_bytes(b"another")
    assert before == source.inputs(with_pictures=False)
    (folder / "a.txt").write_text("another")
    assert before != source.inputs(with_pictures=False)
