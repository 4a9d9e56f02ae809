"""What is no caption never becomes one, in any layout; a column that nothing has is no column, in any format."""

from __future__ import annotations

import html
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lists import ListOptions, open_source
from pipelines.lists.values import captions_of, text_of, unescaped
from pipelines.lists.web_sets import yfcc_text
from pipelines.stages.filter import clean

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


def rows(path: Path, dataset: str | None = None, **options: Any) -> list[dict[str, Any]]:
    source = open_source(ListOptions(url_list=str(path), dataset=dataset, **options))  # type: ignore[arg-type]
    return [row for batch in source.rows() for row in batch.to_pylist()]


@given(values)
def test_a_caption_is_text_or_some(value: Any) -> None:
    """Text as it is, numbers as JSON has them, null left out; all else is an error, and never a language's own word."""

    def is_text(each: Any) -> bool:
        number = isinstance(each, int | float) and not isinstance(each, bool) and abs(each) != float("inf")
        return each is None or isinstance(each, str) or number

    several = value if isinstance(value, list) else [value]
    if all(map(is_text, several)):
        texts = [each for each in several if each is not None and each == each]
        assert [t if isinstance(t, str) else json.dumps(t) for t in texts] == captions_of(value)
    else:
        with pytest.raises(ValueError, match=r"^its caption is .*, expected text$"):
            captions_of(value)
    with pytest.raises(ValueError, match="its url is an object"):
        text_of({}, "url")


@given(st.text(st.sampled_from("&#xX0189;aF l"), max_size=30) | st.text())
def test_entities_are_the_librarys(text: str) -> None:
    """But for numbers of a length that the library fails at."""
    assert html.unescape(text) == unescaped(text)


@pytest.mark.parametrize("digits", ["9" * 5000, "1" + "0" * 5000, "0" * 5000 + "65", "0" * 5000])
@pytest.mark.parametrize("end", [";", "", " "])
def test_a_number_without_end_costs_no_row(digits: str, end: str) -> None:
    """Python refuses to make a number of it."""
    with pytest.raises(ValueError, match="Exceeds the limit"):
        html.unescape(f"&#{digits}{end}")
    expected = {"65": "A"}.get(digits[-2:], "\ufffd")
    assert f"a {expected}{end.strip(';')} boat" == unescaped(f"a &#{digits}{end} boat")
    assert yfcc_text(f"a+%26%23{digits}%3B") == f"a {expected}"
    assert clean(f"a &#{digits};") == f"a {expected}"


def as_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def of_jsonl(folder: Path, value: Any) -> list[dict[str, Any]]:
    (folder / "l.jsonl").write_text(json.dumps({"url": "http://a/1", "caption": value}))
    return rows(folder / "l.jsonl")


def of_json(folder: Path, value: Any) -> list[dict[str, Any]]:
    (folder / "l.json").write_text(json.dumps([{"url": "http://a/1", "caption": value}]))
    return rows(folder / "l.json")


def of_tar(folder: Path, value: Any) -> list[dict[str, Any]]:
    about = json.dumps({"url": "http://a/1", "caption": value}).encode()
    return rows(as_tar(folder / "0.tar", [("k.jpg", b"x"), ("k.json", about)]), "webdataset")


def of_coco(folder: Path, value: Any) -> list[dict[str, Any]]:
    image = {"id": 1, "file_name": "1.jpg", "coco_url": "http://a/1"}
    content = {"images": [image], "annotations": [{"image_id": 1, "caption": value}]}
    (folder / "c.json").write_text(json.dumps(content))
    return rows(folder / "c.json", "coco")


def of_redcaps(folder: Path, value: Any) -> list[dict[str, Any]]:
    (folder / "cats_2018.json").write_text(json.dumps({"annotations": [{"url": "http://a/1", "caption": value}]}))
    return rows(folder / "cats_2018.json", "redcaps")


def of_sbu(folder: Path, value: Any) -> list[dict[str, Any]]:
    (folder / "sbu.json").write_text(json.dumps({"image_urls": ["http://a/1"], "captions": [value]}))
    return rows(folder / "sbu.json", "sbu")


def of_folder(folder: Path, value: Any) -> list[dict[str, Any]]:
    (folder / "captions.jsonl").write_text(json.dumps({"file": "http://a/1", "captions": [value]}))
    return rows(folder, "folder")


LAYOUTS: list[Callable[[Path, Any], list[dict[str, Any]]]] = [
    of_jsonl, of_json, of_tar, of_coco, of_redcaps, of_sbu, of_folder,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a boat", ["a boat"]), (3.5, ["3.5"]), (None, []), (float("nan"), []), (["a", None, "b"], ["a", "b"]), ([], []),
        (True, None), ({"en": "a boat"}, None), ([["a"]], None), ([{"a": 1}], None), (float("inf"), None),
    ],
)  # fmt: skip
def test_all_layouts_agree(
    tmp_path: Path, layout: Callable[[Path, Any], list[dict[str, Any]]], value: Any, expected: list[str] | None
) -> None:
    """A row with a problem where the caption is none; a list of captions is several, but in a list of lists."""
    if layout is of_folder and isinstance(value, list):
        expected = None
    (row,) = layout(tmp_path, value)
    if expected is None:
        assert "expected text" in row["problem"]
        assert [] == row["captions"]
    else:
        assert (None, expected, "http://a/1") == (row["problem"], row["captions"], row["url"])


@pytest.mark.parametrize("extension", ["json", "jsonl"])
def test_a_column_that_no_object_has(tmp_path: Path, extension: str) -> None:
    """As with CSV and Parquet: its name, those there are, the flag. One that some objects have is a column."""
    objects = [{"url": f"http://a/{n}", "caption": "c", **({"n": n} if n == 9_000 else {})} for n in range(9_001)]
    text = json.dumps(objects) if extension == "json" else "\n".join(map(json.dumps, objects))
    (tmp_path / f"l.{extension}").write_text(text)
    for options, missing in (
        ({"url_col": "URL"}, "'URL'; its columns are url, caption, n; name the right one with --url_col"),
        ({"caption_col": "TEXT"}, "'TEXT'; its columns are url, caption, n; name the right one with --caption_col"),
        (
            {"save_additional_columns": ("m",)},
            "'m'; its columns are url, caption, n; name .* --save_additional_columns",
        ),
    ):
        with pytest.raises(ValueError, match=f"has no column {missing}"):
            rows(tmp_path / f"l.{extension}", **options)
    assert "9000" == rows(tmp_path / f"l.{extension}", save_additional_columns=("n",))[-1]["n"]


def test_links_alone_have_no_captions(tmp_path: Path) -> None:
    """A list of objects with nothing but a link is one without captions; by another name than that asked for it is not."""
    (tmp_path / "l.jsonl").write_text('{"url": "http://a/1"}\n')
    assert [[]] == [row["captions"] for row in rows(tmp_path / "l.jsonl")]
    (tmp_path / "l.jsonl").write_text('{"url": "http://a/1", "TEXT": "a boat"}\n')
    with pytest.raises(ValueError, match="has no column 'caption'; its columns are url, TEXT"):
        rows(tmp_path / "l.jsonl")


def test_a_column_that_a_preset_does_not_have(tmp_path: Path) -> None:
    """Tars, COCO, RedCaps and YFCC100M tell as well."""
    tar = as_tar(tmp_path / "0.tar", [("k.jpg", b"x"), ("k.json", b'{"caption": "a boat", "n": 1}')])
    assert ["1"] == [row["n"] for row in rows(tar, "webdataset", save_additional_columns=("n",))]
    coco = {"images": [{"id": 1, "file_name": "1.jpg", "coco_url": "http://a/1"}], "annotations": []}
    (tmp_path / "c.json").write_text(json.dumps(coco))
    (tmp_path / "cats_2018.json").write_text('{"annotations": [{"url": "http://a/1", "caption": "c"}]}')
    (tmp_path / "yfcc100m_dataset").write_text("\t" * 24 + "\n")
    for path, dataset in (
        (tar, "webdataset"), (tmp_path / "c.json", "coco"), (tmp_path / "cats_2018.json", "redcaps"),
        (tmp_path / "yfcc100m_dataset", "yfcc100m"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"has no column 'm'; its columns are .*--save_additional_columns"):
            rows(path, dataset, save_additional_columns=("m",))


def test_a_key_that_comes_again_in_a_tar(tmp_path: Path) -> None:
    """The same members in the same order are as many samples; else nobody knows which caption is whose: a problem."""
    pairs = [member for n in range(4) for member in (("same.jpg", b"x" * n), ("same.txt", f"caption {n}".encode()))]
    came = rows(as_tar(tmp_path / "0.tar", pairs), "webdataset")
    assert [["caption 0"], ["caption 1"], ["caption 2"], ["caption 3"]] == [row["captions"] for row in came]
    assert ["0", "1", "2", "3"] == [row["place"].split("\0")[2] for row in came]
    for order in ([0, 2, 1, 3], [0, 1, 2], [0, 2, 3], [1, 0, 2, 3]):
        members = [pairs[number] for number in order]
        (row, after) = rows(as_tar(tmp_path / "0.tar", [*members, ("b.jpg", b""), ("b.txt", b"b")]), "webdataset")
        assert "sample same: the key 'same' comes more than once" in row["problem"]
        assert (None, ["b"]) == (after["problem"], after["captions"])


def test_a_damaged_json_in_a_tar_costs_its_row(tmp_path: Path) -> None:
    """Its link and columns would be lost without a word."""
    members = [("a.jpg", b"x"), ("a.txt", b"a"), ("a.json", b'{"url": "http'), ("b.jpg", b"x"), ("b.json", b"[1]")]
    came = rows(as_tar(tmp_path / "0.tar", [*members, ("c.jpg", b"x"), ("c.txt", b"c")]), "webdataset")
    assert ["sample a: its .json is not JSON", "sample b: its .json is list, expected an object", None] == [
        row["problem"] and row["problem"].partition(" (")[0] for row in came
    ]
