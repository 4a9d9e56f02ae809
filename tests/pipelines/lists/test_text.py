"""Lists in other encodings and compressions: read as what they are, or refused in one sentence; never taken for text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lists import ListOptions, open_source
from pipelines.lists.text import LONGEST_LINE, decoded, lines, open_text

PAIRS = [("http://a/1", "ein Boot, 犬"), ("http://a/2", "café 𝄞")]


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def lz4(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "lz4") as file:
        file.write(data)
    return out.getvalue().to_pybytes()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "lz4": lz4,
}


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [
        row for batch in open_source(ListOptions(url_list=str(path), **options)).rows() for row in batch.to_pylist()
    ]


def content(extension: str) -> str:
    objects = [{"url": url, "caption": caption} for url, caption in PAIRS]
    return {
        "csv": "url,caption\r\n" + "".join(f'{url},"{caption}"\r\n' for url, caption in PAIRS),
        "tsv": "url\tcaption\n" + "".join(f"{url}\t{caption}\n" for url, caption in PAIRS),
        "json": json.dumps(objects, ensure_ascii=False),
        "jsonl": "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects),
        "txt": "".join(f"{url}\n" for url, _ in PAIRS),
    }[extension]


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl", "txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_every_unicode_encoding_says_the_same(tmp_path: Path, extension: str, encoding: str) -> None:
    """With a byte order mark where it is not UTF-8; also compressed."""
    text = content(extension) if encoding.startswith("utf-8") else "\ufeff" + content(extension)
    path = tmp_path / f"l.{extension}"
    path.write_bytes(text.encode(encoding))
    expected = [(url, [] if extension == "txt" else [caption]) for url, caption in PAIRS]
    assert expected == [(row["url"], row["captions"]) for row in rows(path)]
    packed = tmp_path / f"l.{extension}.zst"
    packed.write_bytes(zstd(text.encode(encoding)))
    assert rows(path) == rows(packed)


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl", "txt"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_that_does_not_say_so_is_one_sentence(tmp_path: Path, extension: str, encoding: str) -> None:
    """Without a byte order mark nobody can be sure."""
    path = tmp_path / f"l.{extension}"
    path.write_bytes(content(extension).encode(encoding))
    with pytest.raises(ValueError, match=r"is UTF-16 without a byte order mark, or no text; save it as UTF-8"):
        rows(path)


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl"])
def test_what_is_no_utf8_is_counted(tmp_path: Path, extension: str) -> None:
    """Bytes of another encoding stay visible as U+FFFD, the file is read to its end, and it is said how many."""
    path = tmp_path / f"l.{extension}"
    path.write_bytes(content(extension).replace("犬", "x").replace("𝄞", "x").encode("latin-1"))
    source = open_source(ListOptions(url_list=str(path)))
    assert [["ein Boot, x"], ["caf\ufffd x"]] == [r["captions"] for b in source.rows() for r in b.to_pylist()]
    (remark,) = source.remarks()
    assert f"{path}: 1 of its captions are no UTF-8" in remark
    path.write_bytes(content(extension).encode())
    source = open_source(ListOptions(url_list=str(path)))
    assert 2 == sum(map(len, source.rows()))
    assert [] == source.remarks()


@pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
def test_cut_off_anywhere_is_one_sentence(tmp_path: Path, compression: str) -> None:
    """At any byte, as is what was damaged: never a shorter list."""
    rng = random.Random(0)
    text = "url,caption\n" + "".join(f"http://a/{i},{rng.random()}\n" for i in range(3_000))
    packed = COMPRESSIONS[compression](text.encode())
    path = tmp_path / f"l.csv.{compression}"
    path.write_bytes(packed)
    assert 3_000 == len(rows(path))
    for cut in (1, 2, 5, 20, 100, *rng.sample(range(len(packed)), 10), len(packed) - 1):
        path.write_bytes(packed[:cut])
        with pytest.raises(
            ValueError, match=rf"l\.csv\.{compression}: its compressed data are damaged or cut off"
        ) as told:
            rows(path)
        assert "\n" not in str(told.value)
    path.write_bytes(packed + b"what does not belong to it")
    with pytest.raises(ValueError, match="its compressed data are damaged or cut off"):
        rows(path)


def test_parts_behind_one_another_are_one_file(tmp_path: Path) -> None:
    """As cat makes them of two compressed files."""
    for compression, packed in COMPRESSIONS.items():
        path = tmp_path / f"l.txt.{compression}"
        path.write_bytes(packed(b"http://a/1\n") + packed(b"http://a/2\n"))
        assert ["http://a/1", "http://a/2"] == [row["url"] for row in rows(path)]


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl", "txt"])
def test_what_is_no_text_is_one_sentence(tmp_path: Path, extension: str) -> None:
    """Packed in a way that is not read, or twice, or of another kind."""
    packed = {name: packer(content(extension).encode()) for name, packer in COMPRESSIONS.items()}
    others = {"zip": b"PK\x03\x04rest", "7z": b"7z\xbc\xaf\x27\x1c\0", "parquet": b"PAR1", "Z": b"\x1f\x9d"}
    path = tmp_path / f"l.{extension}"
    for name, data in (packed | others).items():
        if name in others:
            path.write_bytes(data)
            with pytest.raises(ValueError, match=rf"l\.{extension}: is (compressed|a \w+ archive|a Parquet file)"):
                rows(path)
        twice = tmp_path / f"{name}.{extension}.gz"
        twice.write_bytes(gzip.compress(data))
        with pytest.raises(ValueError, match=r"\.gz: what its gzip holds is (compressed|a \w+ archive|a Parquet file)"):
            rows(twice)


@given(st.binary(max_size=200), st.integers(1, 40))
def test_bytes_become_the_same_text_in_pieces_of_any_size(data: bytes, size: int) -> None:
    """A character that lies across two pieces is one; nothing is lost, and the result is UTF-8."""
    from pipelines.lists.compression import Content
    from pipelines.lists.text import _Utf8

    raw = _Utf8(Content(io.BytesIO(data), "x"), b"", "utf-8")
    got = bytearray()
    buffer = bytearray(size)
    while count := raw.readinto(buffer):
        got += buffer[:count]
    assert data.decode("utf-8", "replace") == got.decode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_small_files_of_any_encoding(text: str) -> None:
    """As a .txt beside a picture may be."""
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert text == decoded(text.encode(encoding))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A gigabyte of one line, in a megabyte of gzip, is one sentence."""
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"line 1 is longer than {LONGEST_LINE:,} characters"):
        rows(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * LONGEST_LINE


def test_lines_keep_their_ends(tmp_path: Path) -> None:
    """LF alone, or all three."""
    (tmp_path / "l").write_bytes(b"a\r\nb\rc\n\nd")
    with open_text(str(tmp_path / "l")) as file:
        assert ["a\r\n", "b\rc\n", "\n", "d"] == list(lines(file))
    with open_text(str(tmp_path / "l")) as file:
        assert ["a\r\n", "b\r", "c\n", "\n", "d"] == list(lines(file, newline=""))
