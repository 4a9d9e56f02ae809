"""Lists and folders as they are found at home: each is read as what it is, or refused in one sentence; nothing is lost.

A table of classes and formats. A cell writes its input and says what is right: the rows, or what the sentence has.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dalle.pictures.folders import picture_names
from pipelines.copies.references import ReferenceArgument, find_references
from pipelines.lists import ListOptions, open_source
from pipelines.stages.open_local import open_local
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.ingest_recipe import open_list, recipe_of_list
from schemas.options import options_json

PAIRS = [("http://a.test/1.jpg", ["ein Boot, 犬"]), ("http://a.test/2.jpg", ["café"])]
ONLY_LATIN = [("http://a.test/1.jpg", ["ein Boot"]), ("http://a.test/2.jpg", ["café à 5 £"])]
TEXTS = ("csv", "tsv", "json", "jsonl", "txt")
Rows = list[tuple[str | None, list[str]]]


def written(extension: str, pairs: Sequence[tuple[str, Sequence[str]]] = PAIRS) -> str:
    """A list of pairs in a format of text."""
    objects = [{"url": url, "caption": captions[0]} for url, captions in pairs]
    if extension in ("csv", "tsv"):
        out = io.StringIO()
        writer = csv.writer(out, delimiter="," if extension == "csv" else "\t", lineterminator="\n")
        writer.writerows([("url", "caption"), *((url, captions[0]) for url, captions in pairs)])
        return out.getvalue()
    return {
        "json": json.dumps(objects, ensure_ascii=False),
        "jsonl": "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects),
        "txt": "".join(f"{url}\n" for url, _ in pairs),
    }[extension]


def right(extension: str, pairs: Sequence[tuple[str, Sequence[str]]] = PAIRS) -> Rows:
    """What is read of it; a txt has links alone."""
    return [(url, [] if extension == "txt" else list(captions)) for url, captions in pairs]


def lz4(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "lz4") as file:
        file.write(data)
    return bytes(out.getvalue().to_pybytes())


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd, "lz4": lz4,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}  # fmt: skip


def zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Sequence[tuple[str, bytes]]) -> bytes:
    """With extended headers, as a Mac writes them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.pax_headers = {"LIBARCHIVE.xattr.com.apple.quarantine": "x"}
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


CONTAINERS: dict[str, Callable[[Sequence[tuple[str, bytes]]], bytes]] = {
    "zip": zipped, "tar": tarred,
    **{f"tar.{end}": (lambda files, pack=PACKERS[end]: pack(tarred(files))) for end in ("gz", "bz2", "xz", "zst", "lz4")},
}  # fmt: skip


def put(folder: Path, **files: bytes | str) -> Path:
    return put_all(folder, files)


def put_all(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(*paths: Path, **options: Any) -> tuple[Rows, list[str], list[str]]:
    """Links and captions of rows, what is wrong with others, and remarks."""
    source = open_source(ListOptions(url_list=tuple(map(str, paths)), **options))
    rows = [row for batch in source.rows() for row in batch.to_pylist()]
    assert all(isinstance(each["sha256"], str) for each in source.inputs())
    assert all(isinstance(caption, str) for row in rows for caption in row["captions"])
    good = [(row["url"], row["captions"]) for row in rows if row["problem"] is None]
    return good, [row["problem"] for row in rows if row["problem"]], source.remarks()


def refused(*paths: Path, **options: Any) -> str:
    """The sentence."""
    with pytest.raises(ValueError) as told:
        read(*paths, **options)
    sentence = str(told.value)
    assert "\n" not in sentence
    assert len(sentence) < 1_000
    return sentence


# ---- compression and containers


@pytest.mark.parametrize("named", ["as it is", "as text", "as another"])
@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("extension", ["csv", "jsonl", "txt"])
def test_compression_is_told_by_the_bytes(tmp_path: Path, extension: str, packer: str, named: str) -> None:
    """Whatever the name says of it."""
    ending = {"as it is": f".{packer}", "as text": "", "as another": ".gz" if packer != "gz" else ".zst"}[named]
    path = tmp_path / f"l.{extension}{ending}"
    path.write_bytes(PACKERS[packer](written(extension).encode()))
    assert (right(extension), [], []) == read(path)


@pytest.mark.parametrize("ending", sorted(PACKERS))
@pytest.mark.parametrize("extension", TEXTS)
def test_plain_text_by_the_name_of_something_packed(tmp_path: Path, extension: str, ending: str) -> None:
    """As browsers leave it that unpack and keep the name."""
    path = tmp_path / f"l.{extension}.{ending}"
    path.write_text(written(extension))
    assert (right(extension), [], []) == read(path)


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("damage", ["cut", "joined", "joined and cut", "garbage", "a bit", "empty inside", "twice"])
def test_whole_or_a_sentence(tmp_path: Path, packer: str, damage: str) -> None:
    """Joined streams are one file; what is cut off, damaged or followed by something else is never a shorter list."""
    pack = PACKERS[packer]
    lines = "".join(f"{url}\n" for url, _ in PAIRS for _ in range(200)).encode()
    packed = pack(lines)
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0x20
    data = {
        "cut": packed[:-5], "joined": packed + packed, "joined and cut": packed + packed[:-5], "twice": gzip.compress(packed),
        "garbage": packed + b"what is not of it", "a bit": bytes(flipped), "empty inside": pack(b""),
    }[damage]  # fmt: skip
    path = tmp_path / f"l.txt.{packer}"
    path.write_bytes(data)
    if damage == "joined":
        assert 800 == len(read(path)[0])
    elif damage == "empty inside":
        assert ([], [], [f"{path}: has no rows"]) == read(path)
    elif damage == "twice":
        assert "what its gzip holds is compressed by" in refused(path)
    elif damage == "a bit" and packer in ("zst", "lz4", "lzma"):  # which need not have a sum of what they hold
        try:
            assert read(path)
        except ValueError as error:
            assert str(path) in str(error)
    else:
        assert f"{path}: its compressed data are damaged or cut off" in refused(path)


def test_zstd_with_a_long_window(tmp_path: Path) -> None:
    """Is not called damaged: its frame wants 2 GiB, in one raw block."""
    content = written("csv").encode()
    frame = b"\x28\xb5\x2f\xfd\0\xa8" + (len(content) << 3 | 1).to_bytes(3, "little") + content
    path = put(tmp_path, **{"l.csv.zst": frame}) / "l.csv.zst"
    assert "compress it without --long" in refused(path)


@pytest.mark.parametrize("container", sorted(CONTAINERS))
@pytest.mark.parametrize("extension", [*TEXTS, "csv.gz"])
def test_every_list_of_an_archive(tmp_path: Path, container: str, extension: str) -> None:
    """In its order, each by its own name; others are said. Two archives and a file may be given in one."""
    format_ = extension.partition(".")[0]
    pack = gzip.compress if extension.endswith("gz") else bytes
    one, two = (pack(written(format_, PAIRS[n : n + 1]).encode()) for n in (0, 1))
    path = tmp_path / f"lists.{container}"
    files = [
        (f"z.{extension}", one),
        ("readme.md", b"x"),
        (f"a/b.{extension}", two),
        ("__MACOSX/._z.csv", b"\0\5\x16\7"),
    ]
    path.write_bytes(CONTAINERS[container](files))
    rows, problems, remarks = read(path)
    assert (right(format_), []) == (rows, problems)
    assert [f"{path}: 2 files passed over, which are no lists: .md (1), a Mac's own (1)"] == remarks
    alone = put_all(tmp_path, {f"alone.{extension}": one}) / f"alone.{extension}"
    assert right(format_, [PAIRS[0], *PAIRS]) == read(alone, path)[0]


@pytest.mark.parametrize("container", sorted(CONTAINERS))
@pytest.mark.parametrize("damage", ["cut", "joined", "no lists", "pictures", "empty", "of another kind", "twice"])
def test_an_archive_is_whole_or_a_sentence(tmp_path: Path, container: str, damage: str) -> None:
    """Never only its first member."""
    files = [(f"{n}.csv", written("csv").encode() * 50) for n in range(3)]
    pack, path = CONTAINERS[container], tmp_path / f"lists.{container}"
    whole = pack(files)
    data = {
        "cut": whole[: len(whole) // 2], "joined": whole + pack([("9.csv", files[0][1])]), "empty": b"",
        "no lists": pack([("a.md", b"x")]), "pictures": pack([("a.jpg", b"x"), ("a.txt", b"x")]),
        "of another kind": b"PAR1 and more of it", "twice": pack([files[0], files[0]]),
    }[damage]  # fmt: skip
    path.write_bytes(data)
    sentence = refused(path)
    assert sentence.startswith(f"{path}: ")
    expected = {
        "no lists": "no file in this archive ends with",
        "pictures": "--dataset webdataset",
        "twice": "more than once",
    }
    assert expected.get(damage, "") in sentence


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_is_damaged_inside(tmp_path: Path, method: int) -> None:
    """By whatever method it is packed: bytes of the member are tried, each is read rightly or a sentence."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("l.csv", written("csv"))
    data, path = out.getvalue(), tmp_path / "l.zip"
    for at in range(35, data.index(b"PK\1\2"), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            assert right("csv") == read(path)[0]
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("local", "central", "value", "said"), [(6, 8, 1, "is encrypted; unpack it"), (8, 10, 9, "not read (")]
)
def test_a_zip_that_is_not_read(tmp_path: Path, local: int, central: int, value: int, said: str) -> None:
    """Is not called damaged: it is encrypted, or packed by deflate64."""
    data = bytearray(zipped([("l.csv", written("csv").encode())]))
    data[local] = data[data.index(b"PK\1\2") + central] = value
    path = put(tmp_path, **{"l.zip": bytes(data)}) / "l.zip"
    assert said in refused(path)
    assert "anew" not in refused(path)


@pytest.mark.parametrize("packer", ["", *sorted(PACKERS)])
@pytest.mark.parametrize("content", ["csv", "zip"])
def test_what_is_called_a_tar_and_is_none(tmp_path: Path, packer: str, content: str) -> None:
    """It is whole; its name is wrong."""
    data = written("csv").encode() * 50 if content == "csv" else zipped([("l.csv", b"url,caption\n" * 200)])
    path = put(tmp_path, **{"l.tar": PACKERS[packer](data) if packer else data}) / "l.tar"
    assert ("is no tar" if content == "csv" else "is a zip archive; name it .zip") in refused(path)
    assert "anew" not in refused(path)


@pytest.mark.parametrize("name", ["p.parquet.gz", "p.parquet", "p.csv", "p.zip", "p.tar", "p.tar.xz"])
def test_parquet_that_is_packed(tmp_path: Path, name: str) -> None:
    """As a whole it is a sentence; in a zip or a tar it is read, in a compressed tar it cannot be."""
    out = io.BytesIO()
    noise = [np.random.default_rng(n).bytes(40).hex() for n in range(4_000)]
    pq.write_table(pa.table({"url": [f"http://a.test/{n}" for n in range(4_000)], "caption": noise}), out)
    data = {"p.zip": zipped, "p.tar": tarred, "p.tar.xz": CONTAINERS["tar.xz"]}.get(name)
    path = tmp_path / name
    path.write_bytes(data([("a.parquet", out.getvalue())]) if data else gzip.compress(out.getvalue()))
    if name in ("p.zip", "p.tar"):
        assert 4_000 == len(read(path)[0])
    else:
        what = (
            "read forward only"
            if data
            else "what its gzip holds is a Parquet file"
            if "csv" in name
            else "by gzip; unpack"
        )
        assert what in refused(path)


# ---- encodings


UNICODE = {"utf-8-sig": "", "utf-16": "", "utf-16-be": "\ufeff", "utf-32": "", "utf-8": ""}


@pytest.mark.parametrize("encoding", sorted(UNICODE))
@pytest.mark.parametrize("extension", TEXTS)
def test_unicode_with_a_mark(tmp_path: Path, extension: str, encoding: str) -> None:
    """Needs no flag, and one that is given does no harm where the mark says otherwise."""
    path = tmp_path / f"l.{extension}"
    path.write_bytes((UNICODE[encoding] + written(extension)).encode(encoding))
    assert (right(extension), [], []) == read(path)
    if encoding != "utf-8":
        assert (right(extension), [], []) == read(path, encoding="cp1252")


@pytest.mark.parametrize("encoding", sorted(UNICODE))
@pytest.mark.parametrize("packer", ["", *sorted(PACKERS)])
@pytest.mark.parametrize("extension", ["csv", "quoted csv", "tsv", "jsonl", "txt"])
def test_lists_that_were_joined(tmp_path: Path, extension: str, packer: str, encoding: str) -> None:
    """As `cat` joins them: each may begin with a mark, which is in no value, and with column names, which are no row."""
    kind, pack = extension.rpartition(" ")[2], PACKERS[packer] if packer else bytes
    text = written(kind)
    if extension == "quoted csv":
        text = "".join(
            f'"{url}","{caption}"\n' for url, caption in [("url", "caption"), *((u, c[0]) for u, c in PAIRS)]
        )
    part = (UNICODE[encoding] + text).encode(encoding)
    path = put(tmp_path, **{f"l.{kind}": pack(part) * 3}) / f"l.{kind}"
    rows, problems, remarks = read(path)
    assert (right(kind, PAIRS * 3), []) == (rows, remarks)
    again = [4, 7] if kind in ("csv", "tsv") else []
    assert [f"row {n}: has the column names once more, as where files were joined" for n in again] == problems


def test_a_mark_within_a_line(tmp_path: Path) -> None:
    """Where a file that was joined does not end its last line: of links it is known where the next begins. Of a caption
    over lines it is a character."""
    path = put(tmp_path, **{"l.txt": "\ufeffhttp://a.test/1\ufeffhttp://a.test/2"}) / "l.txt"
    assert [("http://a.test/1", []), ("http://a.test/2", [])] == read(path)[0]
    path = put(tmp_path, **{"l.csv": 'url,caption\nhttp://a.test/1,"a\n\ufeffb"\n'}) / "l.csv"
    assert [("http://a.test/1", ["a\n\ufeffb"])] == read(path)[0]


@pytest.mark.parametrize("extension", ["csv", "tsv"])
def test_joined_lists_of_other_columns(tmp_path: Path, extension: str) -> None:
    """Captions would be read as links."""
    between = "," if extension == "csv" else "\t"
    other = between.join(["caption", "url"]) + "\n" + between.join(["a", "http://a.test/3"]) + "\n"
    path = put(tmp_path, **{f"l.{extension}": written(extension) + other}) / f"l.{extension}"
    assert "row 4 has the column names once more, in another order" in refused(path)


def test_presets_that_were_joined(tmp_path: Path) -> None:
    """Have no row of column names either."""
    names = ("caption_reference_description", "caption_alt_text_description", "caption_attribution_description")
    part = "\ufeff" + "\t".join(["image_url", *names]) + "\nhttp://a.test/1\ta\t\t\n"
    path = put(tmp_path, **{"w.tsv": part * 2, "captions.txt": "\ufeffimage,caption\n1.jpg,a\n" * 2}) / "w.tsv"
    rows, problems, _ = read(path, dataset="wit")
    assert ([("http://a.test/1", ["a"])] * 2, 1) == (rows, len(problems))
    rows, problems, _ = read(tmp_path / "captions.txt", dataset="flickr8k", image_folder=str(tmp_path))
    assert ([("1.jpg", ["a", "a"])], 1) == (rows, len(problems))


OTHERS = {
    "cp1252": "latin",
    "latin-1": "latin",
    "iso-8859-15": "latin",
    "shift_jis": "",
    "gb18030": "",
    "utf-16-le": "",
}


@pytest.mark.parametrize("encoding", sorted(OTHERS))
@pytest.mark.parametrize("extension", TEXTS)
def test_another_encoding_is_named(tmp_path: Path, extension: str, encoding: str) -> None:
    """Without its name it is said how many captions are no UTF-8, or that it is UTF-16."""
    pairs = ONLY_LATIN if OTHERS[encoding] else PAIRS
    if encoding == "shift_jis":
        pairs = [PAIRS[0], (PAIRS[1][0], ["カフェ"])]
    path = tmp_path / f"l.{extension}"
    path.write_bytes(written(extension, pairs).encode(encoding))
    assert (right(extension, pairs), [], []) == read(path, encoding=encoding.upper())
    if encoding.startswith("utf-16"):
        assert "is UTF-16 without a byte order mark" in refused(path)
    elif extension in ("csv", "tsv") or (extension != "txt" and OTHERS[encoding]):
        assert "of its captions are no UTF-8" in read(path)[2][0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("extension", TEXTS)
def test_an_encoding_of_two_orders_needs_a_mark(tmp_path: Path, extension: str, encoding: str) -> None:
    """Or its order in its name."""
    path = tmp_path / f"l.{extension}"
    path.write_bytes(written(extension).encode(f"{encoding}-le"))
    assert f"l.{extension}: has no byte order mark; give --encoding {encoding}-le" in refused(path, encoding=encoding)
    assert right(extension) == read(path, encoding=f"{encoding}-le")[0]


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl", "txt"])
def test_lines_that_end_as_on_old_macs(tmp_path: Path, extension: str) -> None:
    """Are lines."""
    path = tmp_path / f"l.{extension}"
    path.write_bytes(written(extension).replace("\n", "\r").encode())
    assert (right(extension), [], []) == read(path)


@pytest.mark.parametrize(("line", "caption"), [
    ("1.jpg| 4   A dog runs", "A dog runs"), ("1.jpg| 4| 2 dogs run", "2 dogs run"), ("1.jpg| 4| a | b", "a | b"),
])  # fmt: skip
def test_flickr30ks_line_without_its_second_divider(tmp_path: Path, line: str, caption: str) -> None:
    """Has a number that is no part of its caption."""
    path = (
        put(tmp_path, **{"results.csv": f"image_name| comment_number| comment\n{line}\n", "1.jpg": b"x"})
        / "results.csv"
    )
    assert [[caption]] == [found for _, found in read(path, dataset="flickr30k", image_folder=str(tmp_path))[0]]


SIDES = ("beside", "captions.jsonl", "metadata.jsonl", "metadata.csv", "tar txt", "tar json", "coco", "cub", "flickr8k")


def side_file(folder: Path, layout: str, encoding: str) -> tuple[Path, dict[str, Any]]:
    """A picture and its caption in a text of some encoding."""
    (folder / "in").mkdir()
    files: dict[str, str] = {
        "beside": "café\n",
        "captions.jsonl": json.dumps({"file": "1.jpg", "captions": ["café"]}, ensure_ascii=False),
        "metadata.jsonl": json.dumps({"file_name": "1.jpg", "text": "café"}, ensure_ascii=False),
        "metadata.csv": "file_name,text\n1.jpg,café\n",
        "tar txt": "café",
        "tar json": json.dumps({"caption": "café"}, ensure_ascii=False),
        "coco": json.dumps(
            {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "café"}]},
            ensure_ascii=False,
        ),
        "cub": "café\n",
        "flickr8k": "1.jpg,café\n",
    }
    data = files[layout].encode(encoding)
    (folder / "in/1.jpg").write_bytes(b"x")
    if layout.startswith("tar"):
        (folder / "0.tar").write_bytes(tarred([("1.jpg", b"x"), (f"1.{layout[4:]}", data)]))
        return folder / "0.tar", {"dataset": "webdataset"}
    if layout in ("coco", "cub", "flickr8k"):
        names = {"coco": "captions.json", "cub": "texts/1.txt", "flickr8k": "captions.txt"}
        put_all(folder, {names[layout]: data})
        at = folder / names[layout]
        return at.parent if layout == "cub" else at, {"dataset": layout, "image_folder": str(folder / "in")}
    put_all(folder / "in", {"1.txt" if layout == "beside" else layout: data})
    return folder / "in", {"dataset": "folder"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("layout", SIDES)
def test_texts_beside_pictures(tmp_path: Path, layout: str, encoding: str) -> None:
    """Are read as lists are."""
    path, options = side_file(tmp_path, layout, encoding)
    given = {"encoding": "cp1252"} if encoding == "cp1252" else {}
    rows, problems, remarks = read(path, **options, **given)
    assert [["café"]] == [captions for _, captions in rows]
    assert ([], []) == (problems, remarks)
    if given:
        assert ["1 of its captions are no UTF-8"] == [
            r.partition(": ")[2].partition(",")[0] for r in read(path, **options)[2]
        ]


@pytest.mark.parametrize("name", ["latn1", "hex", "rot13", "idna", "undefined", "", "utf_99"])
def test_an_encoding_that_is_none(name: str) -> None:
    """Is refused with the nearest."""
    with pytest.raises(ValueError, match="is no encoding of text that is known; the nearest is"):
        ListOptions(encoding=name)


def test_an_encoding_counts_where_it_is_given(tmp_path: Path) -> None:
    """It decides bytes; where it is not given, or is UTF-8, what a dataset is made from is what it was."""
    path = put(tmp_path, **{"l.csv": written("csv")}) / "l.csv"
    options = replace(IngestOptions(), source=ListOptions(url_list=(str(path),)))
    before = recipe_of_list(options, open_list(options)).identity
    assert "encoding" not in options_json(options.source)
    for encoding, same in (("utf-8", True), ("UTF8", True), ("cp1252", False), ("latin-1", False)):
        other = replace(options, source=ListOptions(url_list=(str(path),), encoding=encoding))
        assert same == (before == recipe_of_list(other, open_list(other)).identity)
    pq.write_table(pa.table({"url": ["u"], "caption": ["c"]}), tmp_path / "l.parquet")
    assert "--encoding cp1252: the list is Parquet" in refused(tmp_path / "l.parquet", encoding="cp1252")
    assert 3 == len(read(path, tmp_path / "l.parquet", encoding="cp1252")[0])


# ---- types


VALUES: list[tuple[Any, list[str] | None]] = [
    ("a boat", ["a boat"]), (["a", "b"], ["a", "b"]), (["a", None], ["a"]), (None, []), (3, ["3"]), (2.5, ["2.5"]),
    ([], []), (True, None), ({"en": "a"}, None), ([["a"]], None), ([{"a": 1}], None),
]  # fmt: skip


def metadata_jsonl(folder: Path, value: Any) -> tuple[Path, dict[str, Any]]:
    return put(folder, **{"metadata.jsonl": json.dumps({"file_name": "1.jpg", "caption": value}), "1.jpg": b"x"}), {
        "dataset": "folder"
    }


def metadata_below(folder: Path, value: Any) -> tuple[Path, dict[str, Any]]:
    line = json.dumps({"file_name": "s/1.jpg", "prompt": value, "text": "not this"})
    return put_all(folder, {"train/metadata.jsonl": line, "train/s/1.jpg": b"x"}), {
        "dataset": "folder",
        "caption_col": "prompt",
    }


def tar_json(folder: Path, value: Any) -> tuple[Path, dict[str, Any]]:
    about = json.dumps({"prompt": value}).encode()
    put(folder, **{"0.tar": tarred([("1.jpg", b"x"), ("1.txt", b"not this"), ("1.json", about)])})
    return folder / "0.tar", {"dataset": "webdataset", "caption_col": "prompt"}


@pytest.mark.parametrize("layout", [metadata_jsonl, metadata_below, tar_json])
@pytest.mark.parametrize(("value", "captions"), VALUES)
def test_a_caption_is_text_or_some(
    tmp_path: Path, layout: Callable[[Path, Any], Any], value: Any, captions: list[str] | None
) -> None:
    """Else its row is bad, with the reason; the column is the one that was named."""
    path, options = layout(tmp_path, value)
    rows, problems, _ = read(path, **options)
    assert ([] if captions is None else [captions]) == [found for _, found in rows]
    assert (captions is None) == bool(problems)
    assert all("expected text" in problem for problem in problems)


ARROW: list[tuple[pa.Array, Any]] = [
    (pa.array(["a", None]), [["a"], []]),
    (pa.array(["a", "a"]).dictionary_encode(), [["a"], ["a"]]),
    (pa.array([b"a", b"\xff"]), [["a"], ["\ufffd"]]),
    (pa.array(["a", "b"], pa.large_string()), [["a"], ["b"]]),
    (pa.array([["a", None], ["b", "c"]]), [["a"], ["b", "c"]]),
    (pa.array([["a"], ["b", "c"]], pa.large_list(pa.string())), [["a"], ["b", "c"]]),
    (pa.array([["a", "b"], ["c", None]], pa.list_(pa.string(), 2)), [["a", "b"], ["c"]]),
    (pa.array([["a", "b"], None], pa.list_(pa.string(), 2)), [["a", "b"], []]),
    (pa.nulls(2), [[], []]),
    (pa.array([1.5, float("nan")]), [["1.5"], []]),
    (pa.array([{"a": 1}, None]), "struct"),
    (pa.array([[("a", "b")], []], pa.map_(pa.string(), pa.string())), "map"),
    (pa.array([[["a"]], []]), "list<"),
    (pa.array([True, False]), "bool"),
    (pa.array([1, 2], pa.date32()), "date32"),
]


@pytest.mark.parametrize("where", ["list", "imagefolder"])
@pytest.mark.parametrize(("column", "captions"), ARROW, ids=lambda each: str(getattr(each, "type", ""))[:20])
def test_columns_of_parquet(tmp_path: Path, where: str, column: pa.Array, captions: Any) -> None:
    """Text and lists of text are captions, any other type is a sentence with the column and the type."""
    name, url = ("l", "url") if where == "list" else ("metadata", "file_name")
    pq.write_table(pa.table({url: ["1.jpg", "2.jpg"], "caption": column}), tmp_path / f"{name}.parquet")
    options = {} if where == "list" else {"dataset": "folder"}
    path = tmp_path / "l.parquet" if where == "list" else tmp_path
    if isinstance(captions, str):
        assert f"the column 'caption' is {captions}" in refused(path, **options)
    else:
        assert (captions, []) == ([found for _, found in read(path, **options)[0]], read(path, **options)[1])


def parquet_bytes(pairs: Sequence[tuple[str, Sequence[str]]], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"url": [url for url, _ in pairs], "caption": [c[0] for _, c in pairs]}), out, **options)
    return out.getvalue()


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("before", ["longer", "shorter", "as long", "two", "no rows", "wider", "header", "line"])
def test_parquet_behind_other_bytes(tmp_path: Path, before: str, index: bool) -> None:
    """As `cat` joins files: the data of the last would be read where another's lie. A text with the mark is a text."""
    many = [(f"http://a.test/{n}", [f"PAR1PAR1 {n}"]) for n in range(3_000)]
    options: dict[str, Any] = {"write_page_index": index, "compression": "none", "use_dictionary": False}
    one, other = parquet_bytes(PAIRS, **options), parquet_bytes(many, row_group_size=700, data_page_size=99, **options)
    none, out = parquet_bytes([], **options), io.BytesIO()
    pq.write_table(pa.table({"url": ["u"], "caption": ["c"], "s": [[{"a": 1, "a.b": [2]}]]}), out, **options)
    joined = {"longer": other + one, "shorter": one + other, "as long": one + one, "two": one + other + one,
              "no rows": one + none, "wider": one + out.getvalue(), "line": b"\n" + one,
              "header": b"HTTP/1.1 200 OK\r\n\r\n" + one}  # fmt: skip
    path = put(tmp_path, **{"l.parquet": joined[before]}) / "l.parquet"
    assert "other bytes lie before" in refused(path)
    for whole, rows in ((one, PAIRS), (other, many), (none, []), (out.getvalue(), [("u", ["c"])])):
        path.write_bytes(whole)
        assert (right("parquet", rows), []) == read(path)[:2]


def test_a_page_of_parquet_that_has_another_sum(tmp_path: Path) -> None:
    """Is a sentence, not another caption."""
    data = parquet_bytes(PAIRS, write_page_checksum=True, compression="none").replace(b"ein Boot", b"ein Brot", 1)
    path = put(tmp_path, **{"l.parquet": data}) / "l.parquet"
    assert "the column 'caption' (string) cannot be read to its end" in refused(path)


@pytest.mark.parametrize("rows", [1, 8_191, 8_193, 20_000])
def test_a_null_among_lists_of_one_length(tmp_path: Path, rows: int) -> None:
    """Arrow writes it and does not read it; the columns beside keep their types."""
    captions = pa.array([*[["a", "b"]] * rows, None, ["c", "d"]], pa.list_(pa.string(), 2))
    kinds = pa.array(["x"] * (rows + 2)).dictionary_encode(), pa.array(range(rows + 2), pa.duration("s"))
    table = {"url": map(str, range(rows + 2)), "caption": captions, "kind": kinds[0], "time": kinds[1]}
    pq.write_table(pa.table({name: pa.array(values) for name, values in table.items()}), tmp_path / "l.parquet")
    source = open_source(ListOptions(url_list=(str(tmp_path / "l.parquet"),), save_additional_columns=("kind", "time")))
    read_again = pa.Table.from_batches(source.rows())
    assert read_again["url"].to_pylist() == [*map(str, range(rows + 2))]
    assert read_again["captions"].to_pylist() == [*[["a", "b"]] * rows, [], ["c", "d"]]
    assert [pa.string(), pa.duration("s")] == [read_again.schema.field(name).type for name in ("kind", "time")]


COCO = {"images": [{"id": 1, "file_name": "1.jpg", "coco_url": "http://a.test/1"}],
        "annotations": [{"image_id": 1, "caption": "a"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("images", "annotations", "problem"),
    [
        ([{"id": 2, "coco_url": {}}], [], "image 2: its coco_url is an object"),
        ([{"file_name": "x"}], [], "image number 2: has no 'id'"), ([3], [], "image number 2: is no object"),
        ([], [{"image_id": 1}], "annotation 2: has no 'caption'"), ([], [None], "annotation 2: is no object"),
        ([{"id": None, "coco_url": "http://a.test/2"}], [], "image None: its id is null"),
        ([{"id": 2, "coco_url": "http://a.test/2"}, {"id": 2, "coco_url": "http://a.test/3"}], [{"image_id": 2, "caption": "b"}],
         "image 2: another image has the same id"),
        ([], [{"image_id": None, "caption": "b"}], "annotation 2: its image_id is null"),
        ([], [{"image_id": 9, "caption": "b"}], "captions of image 9, which is not among the images"),
    ],
)  # fmt: skip
def test_one_bad_value_of_coco_loses_its_row(tmp_path: Path, images: list, annotations: list, problem: str) -> None:
    """And no other."""
    value = {"images": COCO["images"] + images, "annotations": COCO["annotations"] + annotations}
    path = put(tmp_path, **{"c.json": json.dumps(value)}) / "c.json"
    rows, problems, _ = read(path, dataset="coco")
    assert [("http://a.test/1", ["a"])] == rows
    assert problem in problems[0]


NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999")


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("within", ["[{}]", '{{"a": [1, {}]}}', '{{"a": {{"b": {}}}}}'])
def test_what_is_no_json_does_not_become_some(tmp_path: Path, number: str, within: str) -> None:
    """Where an additional column holds it; it is null."""
    text = f'{{"url": "http://a.test/1", "caption": "a", "n": {within.format(number)}}}\n'
    path = put(tmp_path, **{"l.jsonl": text}) / "l.jsonl"
    source = open_source(ListOptions(url_list=(str(path),), save_additional_columns=("n",)))
    ((column,),) = (batch["n"].to_pylist() for batch in source.rows())
    assert json.loads(within.format("null")) == json.loads(column)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


ODD_VALUES = {"18446744073709551615": None, "1" * 400: None, "NaN": None, "-Infinity": None, "1e999": None,
              '"a\tb"': None, deep(90): None, deep(110): "too deep", deep(900): "too deep"}  # fmt: skip
ARRAYS = {
    "json": ("", "l.json", "[{}]"),
    "redcaps": ("redcaps", "cats_2017.json", '{{"info": {{"a": [1]}}, "annotations": [{}]}}'),
}


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: value[:12])
@pytest.mark.parametrize("layout", ARRAYS)
def test_one_odd_value_of_an_array_loses_at_most_its_row(tmp_path: Path, layout: str, value: str) -> None:
    """Wherever in the file it stands, as in JSONL."""
    dataset, name, whole = ARRAYS[layout]
    good = [json.dumps({"url": f"http://a.test/{n}", "caption": "é\U0001f600 " * 900}) for n in range(40)]
    odd = f'{{"url": "http://a.test/x", "caption": "x", "n": {value}}}'
    for position in (0, 17, 40):
        path = put(tmp_path, **{name: whole.format(" ,\n".join([*good[:position], odd, *good[position:]]))}) / name
        rows, problems, _ = read(path, **({"dataset": dataset} if dataset else {}))
        lost = ODD_VALUES[value] is not None
        assert (41 - lost, int(lost)) == (len(rows), len(problems))
        assert all("too deep" in problem for problem in problems)


@pytest.mark.parametrize("text", ['[{"url": "http://a.test/1', "[1", '[{"url": 1}', "[", '[{"url": 1},', '[{"url": 1},]', "[1]2", "[1 2]",
                                  "[tru]", '[{"url": 1,}]', "[}", "['a']", '{"url": 1}\n{"url": 2}', "[" * 90_000, ""])  # fmt: skip
def test_what_is_no_array_of_json_is_a_sentence(tmp_path: Path, text: str) -> None:
    """That advises JSONL only where it may be that."""
    sentence = refused(put(tmp_path, **{"l.json": text}) / "l.json")
    assert ("--input_format jsonl" in sentence) == (not text.startswith("["))


@pytest.mark.parametrize(("urls", "captions", "said"), [
    (["u"], ["c", "d"], "has only 1 image_urls"), (["u", "v"], ["c"], "has only 1 captions"), (["u"], None, "has no array"),
    (["u"], "cut", "not the JSON expected (it is cut off"),
])  # fmt: skip
def test_sbu_that_does_not_belong_together(tmp_path: Path, urls: list[str], captions: Any, said: str) -> None:
    """Or is damaged, which is another thing."""
    text = json.dumps({"image_urls": urls, "captions": captions})
    path = put(tmp_path, **{"s.json": text[:-4] if captions == "cut" else text}) / "s.json"
    assert said in refused(path, dataset="sbu")
    put(tmp_path, **{"s_urls.txt.gz": gzip.compress(b"u\n" * 99)[:-6], "s_captions.txt.gz": gzip.compress(b"c\n" * 99)})
    assert "s_urls.txt.gz: its compressed data are damaged" in refused(tmp_path / "s_urls.txt.gz", dataset="sbu")


# ---- lists in another format than they are said to be


@pytest.mark.parametrize("dataset", ["cc3m", "cc12m", "yfcc100m", "wit", "sbu", "redcaps", "coco", "laion", "webdataset",
                                     "flickr8k", "flickr30k", "img2dataset"])  # fmt: skip
@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_a_list_that_is_not_the_presets(tmp_path: Path, dataset: str, extension: str) -> None:
    """Is one sentence, not a dataset without rows."""
    endings = {"laion": "parquet", "img2dataset": "parquet", "webdataset": "tar", "sbu": "json", "redcaps": "json",
               "coco": "json", "flickr8k": "token.txt", "flickr30k": "json"}  # fmt: skip
    path = tmp_path / f"l.{endings.get(dataset, 'tsv')}"
    path.write_text(written(extension))
    options = {"image_folder": str(tmp_path)} if "flickr" in dataset else {}
    assert path.name in refused(path, dataset=dataset, **options)


@pytest.mark.parametrize("written_as", TEXTS)
@pytest.mark.parametrize("called", ["csv", "tsv", "json", "jsonl", "parquet", "txt"])
def test_a_list_by_the_name_of_another_format(tmp_path: Path, written_as: str, called: str) -> None:
    """Is read if that is what it is, else one sentence."""
    path = tmp_path / f"l.{called}"
    path.write_text(written(written_as))
    if written_as == called:
        assert right(called) == read(path)[0]
    else:
        assert path.name in refused(path)


@pytest.mark.parametrize("value", [[], 3, "a", None, {}, {"images": {}, "annotations": []}, {"images": [{"id": 1}]},
                                   {"images": [{"id": 1}], "annotations": [{"image_id": 1}]}])  # fmt: skip
def test_json_of_another_layout_is_told_in_words(tmp_path: Path, value: Any) -> None:
    """Not in Python's."""
    path = put(tmp_path, **{"l.json": json.dumps(value)}) / "l.json"
    told = [refused(path, dataset="coco")]
    if not (isinstance(value, dict) and isinstance(value.get("images"), list)):
        told.append(refused(path, dataset="flickr30k", image_folder=str(tmp_path)))
    with pytest.raises(ValueError, match=r"not COCO's") as of_references:
        find_references(ReferenceArgument("k", f"{path},{tmp_path}"))
    for sentence in [*told, str(of_references.value)]:
        assert not any(word in sentence for word in ("Error", "indices", "NoneType", "str ", "dict", "object is not"))


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 JFIF\n\x01", b"# Links\n\nSee https://a.test/b for more, and\n- list.txt\n",
                                     b"http://a.test/1.jpg,a\nhttp://a.test/2.jpg,b\n", b"url\nname\n"])  # fmt: skip
def test_what_is_no_list_of_links(tmp_path: Path, content: bytes) -> None:
    """By the name of one."""
    assert "a link; name it after what it is" in refused(put(tmp_path, **{"l.txt": content}) / "l.txt")


WEB = b"<!DOCTYPE html><html><body>Sign in</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    "name", [*(f"l.{each}" for each in TEXTS), "l.parquet", "l.csv.gz", "l.zip", "l.tar", "l.tar.gz"]
)
@pytest.mark.parametrize(("content", "says"), [(WEB, "a page or an error of a web server"), (LFS, "git lfs pull")])
def test_what_came_in_place_of_a_file(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """A page of the server's, or what Git has in place of a large file that was not asked for."""
    assert says in refused(put(tmp_path, **{name: content}) / name)


def test_sub_folders_are_said_not_to_be_read(tmp_path: Path) -> None:
    """With what names their lists; a program's own folders are not worth a word."""
    put_all(tmp_path, {"a/1.csv": written("csv"), "a/.git/l.csv": "x", "a/_tmp/l.part": "x"})
    assert (right("csv"), [], []) == read(tmp_path / "a")
    put_all(tmp_path, {"a/sub/2.csv": written("csv")})
    rows, _, remarks = read(tmp_path / "a")
    below = remarks[0].rpartition(" as ")[2].partition(" does")[0]
    assert right("csv") == rows == read(Path(below))[0]
    put_all(tmp_path, {"a/sub/._2.csv": b"a Mac's", ".h/3.csv": written("csv")})
    assert right("csv") == read(Path(below))[0] == read(tmp_path / ".h/*.csv")[0] == read(tmp_path / ".?/*")[0]
    (tmp_path / "a/1.csv").unlink()
    assert "/a/*/*.txt does those one floor below" in refused(tmp_path / "a")


@pytest.mark.parametrize("extension", TEXTS)
def test_links_that_are_no_utf8_are_said(tmp_path: Path, extension: str) -> None:
    """As captions are."""
    path = tmp_path / f"l.{extension}"
    path.write_bytes(written(extension, [("http://a.test/café.jpg", ["a"])]).encode("cp1252"))
    assert [f"{path}: 1 of its links are no UTF-8"] == [each.partition(",")[0] for each in read(path)[2]]


def test_parquet_that_is_no_utf8_is_not_advised_an_encoding(tmp_path: Path) -> None:
    """Since it takes none."""
    pq.write_table(pa.table({"url": [b"http://a.test/\xe9"], "caption": [b"caf\xe9"]}), tmp_path / "l.parquet")
    remarks = read(tmp_path / "l.parquet")[2]
    assert 2 == len(remarks)
    assert not any("--encoding" in remark for remark in remarks)


# ---- folders and keys


JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
PNG = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
AS_PICTURES = ("a.jpg", "a.JPG", "a.jfif", "a.mpo", "a.apng", "a.hif", "a.HEIF", "a.dib", "a.jpe", "a.Tiff", "a.avif",
               "photo", "2019.05.12", "a.jpg?w=9", "d/e/photo")  # fmt: skip
AS_OTHERS = ("._a.jpg", "__MACOSX/._b.jpg", "__MACOSX/b.jpg", ".DS_Store", "a.cr2", "a.psd", "README", "a.mp4", "a.svg")


def content_of(name: str) -> bytes:
    return b"no picture" if name in AS_OTHERS and name != "__MACOSX/b.jpg" else PNG if "apng" in name else JPEG


@pytest.mark.parametrize("name", [*AS_PICTURES, *AS_OTHERS])
def test_which_files_are_pictures(tmp_path: Path, name: str) -> None:
    """The same for rows, references and trainings; what is passed over is said, with its ending."""
    put_all(tmp_path, {"z.png": PNG, name: content_of(name)})
    expected = sorted({"z.png", *([name] if name in AS_PICTURES else [])})
    rows, problems, remarks = read(tmp_path, dataset="folder")
    assert (expected, []) == ([url for url, _ in rows], problems)
    assert expected == sorted(picture_names(tmp_path))
    references = find_references(ReferenceArgument("k", str(tmp_path)))
    assert [each.rpartition("/")[2] for each in expected] == sorted(reference.id for reference in references)
    assert (name in AS_OTHERS) == bool(remarks)
    assert all("1 file passed over, which is no picture: " in remark for remark in remarks)


def test_what_is_passed_over_is_one_line(tmp_path: Path) -> None:
    """With count and endings."""
    put_all(tmp_path, {"z.png": PNG, **{f"{n}.cr2": b"" for n in range(8)}, **{f"{n}.PSD": b"" for n in range(4)}})
    said = "12 files passed over, which are no pictures: .cr2 (8), .psd (4)"
    assert [f"{tmp_path}: {said}"] == read(tmp_path, dataset="folder")[2]


@pytest.mark.parametrize("ending", ["txt", "TXT", "Txt"])
@pytest.mark.parametrize("picture", ["a.jpg", "a.JPG", "a", "s/a.b.jfif"])
def test_a_text_beside_a_picture(tmp_path: Path, picture: str, ending: str) -> None:
    """Its ending may be in capitals, as the picture's."""
    stem = picture.rpartition(".")[0] or picture
    put_all(tmp_path, {picture: JPEG, f"{stem}.{ending}": "a boat\n\nof wood\n"})
    assert ([(picture, ["a boat", "of wood"])], [], []) == read(tmp_path, dataset="folder")


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_caption_ends_where_a_line_does(tmp_path: Path, end: str) -> None:
    """At LF, CR or both, and nowhere within what somebody wrote."""
    put_all(tmp_path, {"a.jpg": JPEG, "a.txt": f"one{end}two\r\nthree\rfour\n"})
    assert [("a.jpg", [f"one{end}two", "three", "four"])] == read(tmp_path, dataset="folder")[0]


@pytest.mark.parametrize("name", ["metadata.jsonl", "s/metadata.csv", "metadata.parquet"])
def test_metadata_beside_texts_are_said_not_to_be_read(tmp_path: Path, name: str) -> None:
    """And why."""
    put_all(tmp_path, {"a.jpg": JPEG, "a.txt": "a", "s/b.jpg": JPEG, name: "x"})
    rows, _, remarks = read(tmp_path, dataset="folder")
    assert [("a.jpg", ["a"]), ("s/b.jpg", [])] == rows
    assert [f"{tmp_path}: {name} is not read, because captions lie in .txt files"] == [
        remark.partition(" beside")[0] for remark in remarks
    ]


@pytest.mark.parametrize("name", ["captions.jsonl", "metadata.jsonl", "metadata.csv", "metadata.parquet"])
def test_a_pipe_is_no_list_of_pictures(tmp_path: Path, name: str) -> None:
    """It would be waited for; it is passed over, and said."""
    put(tmp_path, **{"a.jpg": JPEG, "a.txt": "a"})
    os.mkfifo(tmp_path / name)
    rows, _, remarks = read(tmp_path, dataset="folder")
    assert [("a.jpg", ["a"])] == rows
    assert "1 file passed over" in remarks[0]
    (tmp_path / "a.txt").unlink()
    assert [("a.jpg", [])] == read(tmp_path, dataset="folder")[0]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
@pytest.mark.parametrize("caption", ["text", "caption", "captions", "prompt"])
@pytest.mark.parametrize("below", ["", "train/"])
def test_hugging_faces_imagefolder(tmp_path: Path, name: str, caption: str, below: str) -> None:
    """Its metadata name the pictures, from where they lie; one that none names is said."""
    pairs = [("1.jpg", "a boat"), ("s/2.jpg", "a, kite")]
    (tmp_path / below).mkdir(exist_ok=True)
    at = tmp_path / below / name
    if name.endswith("jsonl"):
        at.write_text("".join(json.dumps({"file_name": n, caption: c, "label": 1}) + "\n" for n, c in pairs))
    elif name.endswith("csv"):
        at.write_text(f"label,file_name,{caption}\n" + "".join(f'1,{n},"{c}"\n' for n, c in pairs))
    else:
        names, captions = zip(*pairs, strict=True)
        pq.write_table(pa.table({"file_name": names, caption: captions}), at)
    put_all(tmp_path, {f"{below}1.jpg": JPEG, f"{below}s/2.jpg": JPEG, f"{below}3.jpg": JPEG})
    options = {"dataset": "folder", **({"caption_col": "prompt"} if caption == "prompt" else {})}
    rows, problems, remarks = read(tmp_path, **options)
    assert ([(below + n, [c]) for n, c in pairs], []) == (rows, problems)
    assert [f"{tmp_path}: 1 file passed over, which {below}{name} does not name: .jpg (1)"] == remarks
    assert ["", ""] == [
        problem.message if problem else ""
        for _, _, problem in open_local(enumerate(url or "" for url, _ in rows), str(tmp_path), 10_000)
    ]
    if caption == "prompt":
        assert "has no column 'caption'; its columns are" in refused(tmp_path, dataset="folder")


@pytest.mark.parametrize("by", ["captions.jsonl", "metadata.csv"])
@pytest.mark.parametrize(
    "named", ["store/1.jpg", "alias/1.jpg", "file.jpg", "away/2.jpg", "./store/../file.jpg", "away2/2.jpg"]
)
def test_a_picture_that_is_named_through_a_link(tmp_path: Path, by: str, named: str) -> None:
    """Is named; any other is said."""
    put_all(tmp_path, {"in/store/1.jpg": JPEG, "in/other.jpg": JPEG, "out/2.jpg": JPEG})
    for link, to in (("alias", "store"), ("file.jpg", "store/1.jpg"), ("away", "../out"), ("away2", "../out")):
        (tmp_path / "in" / link).symlink_to(to)
    text = {
        "captions.jsonl": json.dumps({"file": named, "captions": ["a"]}),
        "metadata.csv": f"file_name,text\n{named},a\n",
    }
    put(tmp_path / "in", **{by: text[by]})
    rows, problems, remarks = read(tmp_path / "in", dataset="folder")
    assert ([(named, ["a"])], []) == (rows, problems)
    others = 3 if "away" in named else 2
    assert [f"{tmp_path / 'in'}: {others} files passed over, which {by} does not name: .jpg ({others})"] == remarks


@pytest.mark.parametrize("dataset", ["folder", "cc3m", "coco", "img2dataset"])
@pytest.mark.parametrize("flag", ["caption_col", "url_col"])
def test_a_column_that_is_named_is_never_ignored(tmp_path: Path, dataset: str, flag: str) -> None:
    """Of a layout that has none, or knows its own, it is an error."""
    put_all(tmp_path, {"1.jpg": JPEG, "1.txt": "a"})
    assert f"--{flag} text" in refused(tmp_path, dataset=dataset, **{flag: "text"})


@pytest.mark.parametrize("secret", [b"hunter2hunter2", b"%!PS secret", b"\0\1\2\3secretsecret", b"{secret}"])
def test_what_a_link_leads_to_is_not_quoted(tmp_path: Path, secret: bytes) -> None:
    """Where it is no picture."""
    put_all(tmp_path, {"secret": secret, "in/real.png": PNG, "real.jpg": JPEG})
    (tmp_path / "in/a.jpg").symlink_to(tmp_path / "secret")
    (tmp_path / "in/b.jpg").symlink_to(tmp_path / "real.jpg")
    opened = list(open_local(enumerate(["a.jpg", "b.jpg"]), str(tmp_path / "in"), 10_000))
    assert (b"", JPEG, None) == (opened[0][1], *opened[1][1:])
    assert opened[0][2] is not None
    assert "not-an-image" == opened[0][2].reason
    assert "secret" not in opened[0][2].message
    assert "hunter" not in opened[0][2].message


@pytest.mark.parametrize("mac", ["._{}", "__MACOSX/._{}", ".DS_Store"])
def test_what_a_mac_adds_tears_no_pair_apart(tmp_path: Path, mac: str) -> None:
    """Between a picture and its caption; img2dataset's shards and references as well."""
    members = []
    for name, data in (("00000.jpg", JPEG), ("00000.txt", b"a boat"), ("00001.jpg", PNG), ("00001.txt", b"a kite")):
        members += [(f"./{mac.format(name)}", b"\0\5\x16\7"), (f"./{name}", data)]
    path = put(tmp_path, **{"00000.tar": tarred(members)}) / "00000.tar"
    rows, problems, remarks = read(path, dataset="webdataset")
    assert ([("00000.tar/00000", ["a boat"]), ("00000.tar/00001", ["a kite"])], []) == (rows, problems)
    assert [f"{path}: 4 files passed over, which are no pictures: a Mac's own (4)"] == remarks
    table = {"key": ["00000", "00001"], "url": ["http://a/0", "http://a/1"], "caption": ["x", "y"]}
    pq.write_table(pa.table({**table, "status": ["success"] * 2}), tmp_path / "00000.parquet")
    assert [("http://a/0", ["x"]), ("http://a/1", ["y"])] == read(tmp_path / "00000.parquet", dataset="img2dataset")[0]
    references = find_references(ReferenceArgument("k", str(path)))
    assert [JPEG, PNG] == [reference.read() for reference in references]
    assert ["a boat", "a kite"] == [reference.caption for reference in references]


@pytest.mark.parametrize("damage", ["cut", "joined", "packed"])
def test_a_tar_of_pictures_is_whole_or_a_sentence(tmp_path: Path, damage: str) -> None:
    """Python's reader takes a header that is cut off for the end, and what follows the end for nothing."""
    one, two = (tarred([(f"{n}.jpg", JPEG), (f"{n}.txt", b"a")]) for n in (0, 1))
    last_header = len(one.rstrip(b"\0")) - len(one.rstrip(b"\0")) % 512 - 512
    data = {"cut": one[: last_header + 100], "joined": one + two, "packed": gzip.compress(one)}[damage]
    path = put(tmp_path, **{"0.tar": data}) / "0.tar"
    assert "0.tar: not a whole tar file" in refused(path, dataset="webdataset")


KEYS = {
    "dots": (["p.1.jpg", "p.1.txt", "p.2.jpg", "p.2.txt"], [("0.tar/p.1", ["p.1.txt"]), ("0.tar/p.2", ["p.2.txt"])], ""),
    "dots, no text": (["p.1.jpg", "p.2.jpg"], [("0.tar/p.1", []), ("0.tar/p.2", [])], ""),
    "dots, other endings": (["p.1.jpg", "p.2.png", "p.2.txt"], [("0.tar/p.1", []), ("0.tar/p.2", ["p.2.txt"])], ""),
    "dots, one": (["d.e/p.1.jpg", "d.e/p.1.txt"], [("0.tar/d.e/p", ["d.e/p.1.txt"])], ""),
    "a mask": (["a.jpg", "a.mask.png", "a.txt"], [("0.tar/a", ["a.txt"])], ""),
    "two texts": (["a.jpg", "a.txt", "a.en.txt"], [], "which picture and text belong together"),
    "two pictures": (["a.jpg", "a.txt", "a.b.jpg"], [], "which picture and text belong together"),
    "apart": (["a.jpg", "b.jpg", "a.txt", "b.txt"], [("0.tar/a", ["a.txt"]), ("0.tar/b", ["b.txt"])], ""),
    "apart, twice": (["a.jpg", "b.jpg", "a.txt", "b.txt", "a.txt"], [("0.tar/b", ["b.txt"])], "comes again after others"),
    "again, whole": (["a.jpg", "b.jpg", "a.jpg"], [("0.tar/a", []), ("0.tar/b", []), ("0.tar/a", [])], ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_keys_of_a_tar(tmp_path: Path, kind: str) -> None:
    """Each picture has its own caption, or its row is bad; a text's content is its name."""
    names, expected, problem = KEYS[kind]
    files = [(name, name.encode() if name.endswith("txt") else JPEG) for name in names]
    path = put(tmp_path, **{"0.tar": tarred(files)}) / "0.tar"
    rows, problems, _ = read(path, dataset="webdataset")
    assert expected == rows
    assert bool(problem) == bool(problems)
    assert all(problem in each for each in problems)


def with_link(files: Sequence[tuple[str, bytes]], name: str, to: str, kind: bytes) -> bytes:
    out = io.BytesIO(tarred(files))
    with tarfile.open(fileobj=out, mode="a") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, to
        archive.addfile(link)
    return out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    """Are what they lead to in it, also in a compressed one; a link to nothing is said."""
    to = "d/a.csv" if kind == tarfile.LNKTYPE else "a.csv"
    lists = with_link([("d/a.csv", written("csv").encode())], "d/b.csv", to, kind)
    put(tmp_path, **{"l.tar": lists, "l.tar.gz": gzip.compress(lists)})
    assert right("csv", PAIRS * 2) == read(tmp_path / "l.tar")[0] == read(tmp_path / "l.tar.gz")[0]
    for name, to, captions in (("b.txt", "a.txt", ["a"]), ("b.txt", "none", None), ("b.jpg", "a.jpg", [])):
        files = [("a.jpg", JPEG), ("a.txt", b"a"), *([("b.jpg", JPEG)] if name == "b.txt" else [])]
        put(tmp_path, **{"0.tar": with_link(files, name, to, kind)})
        rows, problems, _ = read(tmp_path / "0.tar", dataset="webdataset")
        assert [["a"], *([] if captions is None else [captions])] == [found for _, found in rows]
        assert (captions is None) == any("a link to what is no file" in each for each in problems)
    put(tmp_path, **{"l.tar": with_link([("a.csv", written("csv").encode())], "b.csv", "none", kind)})
    assert "holds 'b.csv', a link to what is no file in it" in refused(tmp_path / "l.tar")


@pytest.mark.parametrize("dataset", [None, "webdataset"])
def test_a_tar_that_is_cut_behind_a_file(tmp_path: Path, dataset: str | None) -> None:
    """Is as short as any other that was cut."""
    whole = tarred([("a.csv", written("csv").encode())] if dataset is None else [("a.jpg", JPEG), ("a.txt", b"a")])
    data = whole.rstrip(b"\0")
    put(tmp_path, **{"0.tar": data + b"\0" * (-len(data) % 512)})
    assert "not a whole tar file (it has no end" in refused(tmp_path / "0.tar", dataset=dataset)


# ---- names


@pytest.mark.parametrize("name", ["a::b", "{1..3}", "{a,b}", "{}", "a*b", "[ab]", "a?", "~", "a b", "ä", "-x"])
def test_what_has_this_very_name_is_that(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list, a folder or an archive of lists, tars and folders of pictures, references; by its name and its path."""
    monkeypatch.chdir(tmp_path)
    text, samples = written("csv").encode(), [("a.jpg", JPEG), ("a.txt", b"a")]
    files = {f"{name}.csv": text, f"{name}.csv.gz": gzip.compress(text), f"{name}.parquet": parquet_bytes(PAIRS)}
    put_all(tmp_path, {**files, f"{name}.zip": zipped([("l.csv", text)]), f"{name}/l.csv": text})
    for each in (*files, f"{name}.zip", name):
        assert right("csv") == read(Path(each))[0] == read(tmp_path / each)[0]
    (tmp_path / name / "l.csv").unlink()
    put_all(tmp_path, {f"{name}.tar": tarred(samples), **{f"{name}/{file}": data for file, data in samples}})
    assert [["a"]] == [captions for _, captions in read(Path(f"{name}.tar"), dataset="webdataset")[0]]
    assert [("a.jpg", ["a"])] == read(Path(name), dataset="folder")[0]
    for path in (name, f"{tmp_path}/{name}"):
        assert [(0, JPEG, None)] == list(open_local(enumerate(["a.jpg"]), path, 1 << 20))
        for end, caption in (("", ""), (".tar", "a"), ("/a.jpg", "")):
            (reference,) = find_references(ReferenceArgument("r", f"{path}{end}"))
            assert (JPEG, caption) == (reference.read(), reference.caption)


# ---- several lists


def test_several_words_are_several_lists(tmp_path: Path) -> None:
    """In their order; each may be a path, a glob, braces, a folder or an archive."""
    pairs = [(f"http://a.test/{n}", [str(n)]) for n in range(7)]
    files = {f"{n}.csv": written("csv", [pairs[n]]) for n in range(4)}
    put_all(tmp_path, {**files, "f/4.csv": written("csv", [pairs[4]]), "l.jsonl": written("jsonl", [pairs[5]])})
    put_all(tmp_path, {"z.zip": zipped([("6.csv", written("csv", [pairs[6]]).encode())])})
    given = ("z.zip", "[3]*.csv", "{2,0}.csv", "f", "l.jsonl", "1.csv")
    rows, problems, remarks = read(*(tmp_path / each for each in given))
    assert ([pairs[n] for n in (6, 3, 2, 0, 4, 5, 1)], [], []) == (rows, problems, remarks)


@pytest.mark.parametrize("given", [("0.csv", "0.csv"), ("0.csv", "*.csv"), (".", "0.csv"), ("0.csv", "./0.csv")])
def test_a_list_that_is_given_twice(tmp_path: Path, given: tuple[str, ...]) -> None:
    """Would be rows that come twice."""
    put(tmp_path, **{"0.csv": written("csv")})
    assert "0.csv: is given more than once; name it once" in refused(*(tmp_path / each for each in given))


@pytest.mark.parametrize("given", [(), ("",), ("a.csv", "")])
def test_no_list_is_a_sentence(given: tuple[str, ...]) -> None:
    """As where a shell's variable is empty."""
    with pytest.raises(ValueError, match="--url_list is empty"):
        ListOptions(url_list=given)


def test_files_of_a_folder_that_are_no_lists_are_said(tmp_path: Path) -> None:
    """And a list without rows."""
    put_all(
        tmp_path, {"a.csv": written("csv"), "b.txt": "", "notes.md": "", "._a.csv": b"\0\5\x16\7", "more.7z": b"7z"}
    )
    assert (right("csv"), [], [
        f"{tmp_path}: 3 files passed over, which are no lists: a Mac's own (1), .7z (1), .md (1)",
        f"{tmp_path / 'b.txt'}: has no rows",
    ]) == read(tmp_path)  # fmt: skip
