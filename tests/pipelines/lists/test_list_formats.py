"""Lists in every format: the rows that were written are the rows that are read, and no line is lost."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lists import ListOptions
from pipelines.lists.folder import read_folder
from pipelines.lists.formats import extension_of
from pipelines.lists.source import open_source

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
pairs = st.lists(st.tuples(text, text), max_size=30)


def read(path: Path, **options: Any) -> list[dict[str, Any]]:
    read_batches = open_source(ListOptions(url_list=str(path), **options)).rows()
    return [row for batch in read_batches for row in batch.to_pylist()]


def row(url: str | None, *captions: str, problem: str | None = None, **extra: Any) -> dict[str, Any]:
    return {"url": url, "captions": list(captions), "place": None, "problem": problem, **extra}


@given(pairs)
def test_csv(tmp_path_factory: pytest.TempPathFactory, listed: list) -> None:
    """Whatever csv can quote comes back, line breaks and quotes included."""
    path = tmp_path_factory.mktemp("list") / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["caption", "url"])
        writer.writerows([caption, url] for url, caption in listed)
    assert [row(url, caption) for url, caption in listed] == read(path)


@given(pairs)
def test_tsv_has_no_quoting(tmp_path_factory: pytest.TempPathFactory, listed: list) -> None:
    """A quote is a character like any other: an unbalanced one changes nothing."""
    plain = [tuple("".join(c for c in s if c not in "\t\r\n") + '"' for s in pair) for pair in listed]
    path = tmp_path_factory.mktemp("list") / "list.tsv"
    path.write_bytes("".join(f"{a}\t{b}\n" for a, b in [("url", "caption"), *plain]).encode())
    assert [row(url, caption) for url, caption in plain] == read(path)


@pytest.mark.parametrize("kind", ["json", "jsonl"])
@given(listed=pairs)
def test_json(tmp_path_factory: pytest.TempPathFactory, kind: str, listed: list) -> None:
    """Objects in an array, or one a line."""
    objects = [{"url": url, "caption": caption, "n": i} for i, (url, caption) in enumerate(listed)]
    path = tmp_path_factory.mktemp("list") / f"list.{kind}"
    path.write_text(json.dumps(objects) if kind == "json" else "\n".join(map(json.dumps, objects)))
    assert [row(u, c, n=str(i)) for i, (u, c) in enumerate(listed)] == read(path, save_additional_columns=("n",))


@given(st.lists(st.tuples(st.none() | text, st.none() | text, st.none() | st.floats(allow_nan=False)), max_size=30))
def test_parquet(tmp_path_factory: pytest.TempPathFactory, listed: list) -> None:
    """Columns of other names, nulls, and an additional column of its own type."""
    columns = list(zip(*listed, strict=True)) or [(), (), ()]
    kinds = (pa.string(), pa.large_string(), pa.float64())
    arrays = [pa.array(c, kind) for c, kind in zip(columns, kinds, strict=True)]
    path = tmp_path_factory.mktemp("list") / "list.parquet"
    pq.write_table(pa.table(arrays, names=["URL", "TEXT", "similarity"]), path, row_group_size=7)
    expected = [row(u, *([] if c is None else [c]), similarity=s) for u, c, s in listed]
    rows_read = read(path, url_col="URL", caption_col="TEXT", save_additional_columns=("similarity",))
    assert expected == rows_read


def test_txt_has_addresses_only(tmp_path: Path) -> None:
    """An address a line; empty lines are no rows."""
    (tmp_path / "list.txt").write_text("http://a/1\r\n\n  http://a/2  \n")
    assert [row("http://a/1"), row("http://a/2")] == read(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("name", "content", "problems"),
    [
        ("l.tsv", "url\tcaption\nu\n\nu\tc\nu\tc\td\n", ["row 2: 1 fields, expected 2", None, "row 5: 3 fields, expected 2"]),
        ("l.csv", "url,caption\nu\nu,c\n", ["row 2: 1 fields, expected 2", None]),
        ("l.csv", f'url,caption\nu,"{"x" * (1 << 21)}"\nu,c\n', ["line 2: field larger than field limit (1048576)", None]),
        ("l.jsonl", '{"url": "u", "caption": "c"}\n{"url": \n[1]\n{"link": "u"}\n', [
            None, "line 2: Expecting value: line 2 column 1 (char 9)", "line 3: is a list, expected an object",
            "line 4: has no 'url', only link"]),
        ("l.jsonl", "[" * 100_000 + '\n{"url": "u", "caption": "c"}\n', ["line 1: its values lie too deep in one another", None]),
        ("l.json", '[{"url": "u", "caption": "c"}, 3]', [None, "item 2: is a number, expected an object"]),
    ],
)  # fmt: skip
def test_bad_lines_are_rows_with_a_problem(tmp_path: Path, name: str, content: str, problems: list) -> None:
    """A line that cannot be parsed is counted, says where it stands and what is wrong, and harms no other."""
    (tmp_path / name).write_text(content)
    assert problems == [read_row["problem"] for read_row in read(tmp_path / name)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "link,caption\nu,c\n", "l.csv: has no column 'url'; its columns are link, caption; name the right one with --url_col"),
        ("l.csv", "url,text\nu,c\n", "has no column 'caption'.*--caption_col"),
        ("l.csv", "", "begins with no line of column names"),
        ("l.json", '[{"url": "u"},', "not the JSON expected"),
        ("l.json", '{"url": "u"}\n{"url": "v"}', "give --input_format jsonl"),
        ("l.json", '{"url": "u"}', "has no array of objects"),
        ("l.json", "3", "has no array of objects"),
        ("l.json", "[" * 200_000, "its values lie too deep in one another"),
        ("l.csv", "url,caption,url\nu,c,v\n", "has the column 'url' 2 times"),
        ("l.csv.gz", "\0\0url,caption\nu,c\n", "l.csv.gz: its compressed data are damaged"),
        ("l.parquet", "PAR1 nonsense", "l.parquet: not a Parquet file"),
        ("list", "url\n", "its name does not tell how it is written; give --input_format"),
    ],
)  # fmt: skip
def test_unreadable_lists_are_one_sentence(tmp_path: Path, name: str, content: str, message: str) -> None:
    """Where, what was found, what was expected, what to do."""
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_odd_bytes_stay_visible(tmp_path: Path) -> None:
    """A byte order mark is no text, bytes that are no UTF-8 become U+FFFD, a lone surrogate a question mark."""
    (tmp_path / "l.tsv").write_bytes(b"\xef\xbb\xbfurl\tcaption\nu\tcaf\xe9\n")
    assert [row("u", "caf�")] == read(tmp_path / "l.tsv")
    (tmp_path / "l.jsonl").write_text('{"url": "u", "caption": "a\\ud800b"}')
    assert [row("u", "a?b")] == read(tmp_path / "l.jsonl")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.TSV", "tsv"),
        ("a.jsonl.gz", "jsonl"),
        ("b/part-0.snappy.parquet", "parquet"),
        ("a.txt", "txt"),
    ],
)
def test_format_is_told_from_the_name(name: str, expected: str) -> None:
    """Also behind a second extension."""
    assert expected == extension_of(name, None)
    assert "json" == extension_of(name, "json")


def test_gzip_is_read_as_it_is(tmp_path: Path) -> None:
    """A compressed list is the list."""
    import gzip

    out = io.BytesIO()
    with gzip.open(out, "wt") as file:
        file.write("url\tcaption\nu\tc\n")
    (tmp_path / "l.tsv.gz").write_bytes(out.getvalue())
    assert [row("u", "c")] == read(tmp_path / "l.tsv.gz")


def test_additional_columns_as_img2dataset_types_them() -> None:
    """'["NSFW","similarity"]' is two columns."""
    assert ("NSFW", "similarity") == ListOptions(
        save_additional_columns=('["NSFW","similarity"]',)
    ).save_additional_columns


def folder_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for batch in read_folder(str(folder)) for row in batch.to_pylist()]


def test_folder_with_texts_beside(tmp_path: Path) -> None:
    """Pictures in the order of their paths, each line of the text a caption, none for a picture without a text."""
    for name in ("b/2.png", "a.jpg", "c.JPG", "readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b/2.txt").write_bytes(b"\xef\xbb\xbfthree")
    expected = [row("a.jpg", "one", "two"), row("b/2.png", "three"), row("c.JPG")]
    assert [{**each, "place": each["url"]} for each in expected] == folder_rows(tmp_path)


def test_folder_with_captions_jsonl(tmp_path: Path) -> None:
    """The file's order counts; a bad line is a row with a problem."""
    (tmp_path / "captions.jsonl").write_text(
        '{"file": "z.jpg", "captions": ["a", "b"], "width": 3}\n\n{"file": "a.jpg"}\n'
    )
    rows = folder_rows(tmp_path)
    assert row("z.jpg", "a", "b", place="z.jpg") == rows[0]
    assert "captions.jsonl, line 3: expected" in rows[1]["problem"]


def test_folder_errors(tmp_path: Path) -> None:
    """No folder, and a folder without pictures."""
    with pytest.raises(ValueError, match="is not a folder"):
        folder_rows(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no pictures .* and no captions\.jsonl"):
        folder_rows(tmp_path)


def test_what_utf8_cannot_spell_costs_no_other_row(tmp_path: Path) -> None:
    """Lone surrogates, which JSON can spell, and names of files that are no UTF-8."""
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"url": "http://a.test/1", "caption": "a \\ud800 boat", "n": {"b": "\\udfff"}}\n'
        '{"\\ud801": 1}\n'
        '{"url": "http://a.test/2", "caption": "a red boat", "n": 2}\n'
    )
    rows = read(path, save_additional_columns=("n",))
    assert ["http://a.test/1", None, "http://a.test/2"] == [r["url"] for r in rows]
    assert (["a ? boat"], ["a red boat"]) == (rows[0]["captions"], rows[2]["captions"])
    assert ('{"b": "?"}', "2") == (rows[0]["n"], rows[2]["n"])
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in (b"caf\xe9.jpg", b"boat.jpg"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).touch()
    source = open_source(ListOptions(url_list=str(folder), dataset="folder"))
    assert ["boat.jpg", "caf?.jpg"] == [row["url"] for batch in source.rows() for row in batch.to_pylist()]
    assert source.inputs()


def test_a_file_that_is_no_list_does_not_flood_the_message(tmp_path: Path) -> None:
    """Some of its names, and how many more there are; an empty one is said to be so."""
    path = tmp_path / "list.csv"
    path.write_text(",".join("x" * 90 for _ in range(200)) + "\n")
    with pytest.raises(ValueError, match=r"has no column 'url'.* and 170 more; name the right one") as raised:
        read(path)
    assert len(str(raised.value)) < 2000
    path.write_text("")
    with pytest.raises(ValueError, match="begins with no line of column names"):
        read(path)
