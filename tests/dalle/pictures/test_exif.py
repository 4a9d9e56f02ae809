"""EXIF of strangers: what is told is bounded whatever they write, and of ordinary EXIF it is what Pillow reads."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, TiffImagePlugin

from dalle.pictures.formats.exif import MOST_TAGS, MOST_TEXT, SIZES, bounded, exif_json, exif_of
from dalle.pictures.images import open_picture
from pipelines.stages.decode import PictureOptions, to_stored
from tests.dalle.pictures.files import SCENE, chunk, rgb_png, saved

SMALL = np.ascontiguousarray(SCENE[:8, :8])
MOST_CALLS = 200_000
"""Of functions, to read and tell the tags of one picture: some tens of milliseconds."""
INNER = 0x8769


def by_pillow(block: bytes) -> str:
    """All that Pillow reads, of whatever length."""
    with warnings.catch_warnings(action="ignore"):
        exif = Image.Exif()
        exif.load(block)
        tags = {ExifTags.TAGS.get(t, str(t)): v for t, v in exif.items()}
        inner = exif.get_ifd(INNER)
    tags |= {ExifTags.TAGS.get(t, str(t)): v for t, v in inner.items()}
    for name in ("ExifOffset", "GPSInfo", "ExifInteroperabilityOffset"):
        tags.pop(name, None)
    return json.dumps({n: str(v).strip("\0 ") for n, v in tags.items() if not isinstance(v, bytes)}, sort_keys=True)


def block_of(
    tags: list[tuple[int, int, int, int | bytes]],
    data: bytes,
    order: str = "<",
    inner: list[tuple[int, int, int, int | bytes]] | None = None,
) -> bytes:
    """An EXIF block: of each tag its number, type, number of values, and their place in `data` or themselves."""
    tags = [*tags, (INNER, 4, 1, b"inner")] if inner is not None else tags
    inner_at = 8 + 2 + 12 * len(tags) + 4
    data_at = inner_at + (2 + 12 * len(inner) + 4 if inner is not None else 0)
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    for directory in (tags,) if inner is None else (tags, inner):
        out += struct.pack(f"{order}H", len(directory))
        for tag, kind, count, where in directory:
            value = struct.pack(f"{order}L", data_at + where) if isinstance(where, int) else where[:4].ljust(4, b"\0")
            value = struct.pack(f"{order}L", inner_at) if where == b"inner" else value
            out += struct.pack(f"{order}HHL", tag, kind, count) + value
        out += bytes(4)
    return out + data


def calls_of(function: Any, *arguments: Any) -> tuple[Any, int]:
    """What it gives, and how many functions were called for it."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        return function(*arguments), count
    finally:
        sys.setprofile(None)


def jpeg_of(block: bytes) -> bytes:
    """A small JPEG with the block in as many segments as it takes."""
    parts = [b"Exif\0\0" + block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = b"".join(b"\xff\xe1" + (len(part) + 2).to_bytes(2) + part for part in parts)
    plain = saved(SMALL, "JPEG")
    return plain[:2] + segments + plain[2:]


FILES = {
    "JPEG": jpeg_of,
    "PNG": lambda block: rgb_png(SMALL, [chunk(b"eXIf", block)]),
    "WebP": lambda block: saved(SMALL, "WEBP", exif=block),
    "EXIF": lambda block: b"Exif\0\0" * 3 + block,
}


def read(kind: str, block: bytes) -> str:
    data = FILES[kind](block)
    return exif_json(exif_of(data)) if kind == "EXIF" else open_picture(data).exif_json()


def test_pillow_knows_the_same_types() -> None:
    """Of the same sizes: values of other types it passes over."""
    there = {kind: size for kind, (size, _) in TiffImagePlugin.ImageFileDirectory_v2._load_dispatch.items()}
    assert there == SIZES


HOSTILE: dict[str, bytes] = {
    **{
        f"one tag of type {kind}": block_of([(0x9999, kind, 400_000 // size, 0)], b"\xff\xfe" * 200_000)
        for kind, size in SIZES.items()
    },
    **{
        f"{count} tags of type {kind} that share their values": block_of(
            [(0x9000 + n, kind, 60_000 // size // share, 0) for n in range(count)], b"\x01\x02\x03\x04" * 15_000
        )
        for kind, size in SIZES.items()
        for count in (200, 2000)
        for share in (1, 20, 400)
    },
    "in both directories": block_of(
        [(n, 5, 60, 0) for n in range(1, 600)], b"\x01\2\3\4" * 999, ">", [(n, 12, 60, 0) for n in range(600)]
    ),
    "a count of 4,294,967,295": block_of([(0x9999, 4, 2**32 - 1, 0), (0x10F, 2, 4, b"Me\0")], bytes(9)),
    "65,535 tags": block_of([(n, 2, 4, b"abc\0") for n in range(65_535)], b""),
    "a text of quotes": block_of([(0x10F, 2, 16_000, 0)], b'"' * 16_000),
    "texts of quotes": block_of([(n, 2, 99, 0) for n in range(1, 400)], b'"\x80' * 400),
    "a directory that is its own": block_of([(INNER, 4, 1, b"\x08\0\0\0"), *((n, 3, 999, 0) for n in range(300))], bytes(3000)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_no_exif_is_more_than_it_may_be(kind: str) -> None:
    """Tags by the thousand, of values by the hundred thousand that are all the same bytes, of every type."""
    for name, block in HOSTILE.items():
        text, calls = calls_of(read, kind, block)
        assert len(text) <= MOST_TEXT, name
        assert calls < MOST_CALLS, (name, calls)
        assert isinstance(json.loads(text), dict)
        assert len(bounded(block)) <= 80 << 10, name
        assert text == read(kind, block), "it depends on the block alone"


def test_no_tiff_is_more_than_it_may_be() -> None:
    """Whose own tags are told as EXIF, from anywhere in the file; in files of 64-bit offsets as well."""
    for options in ({}, {"big_tiff": True}):
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[0x10F], info[0x9999], info[0x9998] = "me", "x" * 100_000, tuple(range(60_000))
        data = saved(SMALL, "TIFF", tiffinfo=info, **options)
        text, calls = calls_of(lambda: open_picture(data).exif_json())  # noqa: B023
        assert calls < MOST_CALLS
        told = json.loads(text)
        assert ("me", "8", "(8, 8, 8)") == (told["Make"], told["ImageWidth"], told["BitsPerSample"])
        assert not {"39320", "39321"} & set(told)


@pytest.mark.parametrize("is_one", [True, False])
def test_tiffs_whose_tags_share_their_values_are_refused(is_one: bool) -> None:
    """Thousands of tags, or one by the thousand, of a megabyte that is once in the file: nothing is copied."""
    tags = [(0x9999 if is_one else 0x9000 + n, 1, 1_000_000, 0) for n in range(2_000)]
    problem = to_stored(block_of(tags, bytes(1_000_000)), PictureOptions()).problem
    assert problem is not None
    assert ("corrupt", True) == (problem.reason, "whose tags have 2000000000 together" in (problem.message or ""))


TEXTS = st.text(st.characters(codec="latin-1"), max_size=40).map(lambda t: t.encode("latin-1") + b"\0")


@st.composite
def ordinary(draw: st.DrawFn) -> bytes:
    """A block as cameras and programs write them: texts, numbers, fractions, binary values, places, a pointer."""
    order = draw(st.sampled_from("<>"))
    data = bytearray()

    def directory(least: int) -> list[tuple[int, int, int, int | bytes]]:
        tags: list[tuple[int, int, int, int | bytes]] = []
        numbers = st.one_of(st.sampled_from(sorted(ExifTags.TAGS)), st.integers(least, 65_535))
        for tag in draw(st.lists(numbers.filter(lambda t: t != INNER), max_size=40)):
            kind = draw(st.sampled_from(sorted(SIZES)))
            count = draw(st.integers(0, 12))
            value = draw(TEXTS) if kind == 2 else draw(st.binary(min_size=count * 8, max_size=count * 8))
            count = len(value) if kind == 2 else count
            value = value[: count * SIZES[kind]]
            tags.append((tag, kind, count, value if len(value) <= 4 else len(data)))
            data.extend(value if len(value) > 4 else b"")
        return tags

    first, second = directory(1), directory(1) if draw(st.booleans()) else None
    return block_of(first, bytes(data), order, second)


@given(ordinary(), st.sampled_from(sorted(FILES)))
def test_ordinary_exif_is_what_pillow_reads(block: bytes, kind: str) -> None:
    """Byte for byte, as it was before there was a bound."""
    whole = by_pillow(block)
    assert len(whole) <= MOST_TEXT
    assert whole == read(kind, block)


@given(ordinary(), st.integers(0, 2**32))
def test_damaged_exif_is_what_pillow_reads_if_it_reads_any(block: bytes, seed: int) -> None:
    """Bytes changed and the end cut off."""
    rng = random.Random(seed)
    damaged = bytearray(block[: rng.randrange(8, len(block) + 1)])
    for _ in range(rng.randrange(4)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    try:
        whole = by_pillow(bytes(damaged))
    except Exception:  # noqa: BLE001  what Pillow raises is another test's
        return
    text = read("EXIF", bytes(damaged))
    assert json.loads(text).items() <= json.loads(whole).items()
    assert text == whole or len(whole) > MOST_TEXT


@given(st.lists(st.integers(1, 3000), min_size=8, max_size=60), st.booleans())
def test_tags_are_told_in_the_order_of_their_names_as_long_as_there_is_room(sizes: list[int], numbers: bool) -> None:
    """What does not fit is left out whole, and what fits behind it is told; all of it where all fits."""
    values = [b"1\0" * size if numbers else b"a" * size for size in sizes]
    places = [sum(map(len, values[:n])) for n in range(len(values))]
    tags = [
        (0x9400 + n, 3 if numbers else 2, size, value if len(value) <= 4 else place)
        for n, (size, value, place) in enumerate(zip(sizes, values, places, strict=True))
    ]
    block = block_of(tags, b"".join(value if len(value) > 4 else bytes(len(value)) for value in values))
    whole, told = json.loads(by_pillow(block)), json.loads(read("EXIF", block))
    assert told.items() <= whole.items()
    assert told == whole or len(json.dumps(whole)) > MOST_TEXT
    if not numbers and sum(sizes) <= 60_000:
        room = MOST_TEXT - len(json.dumps(told))
        assert all(len(json.dumps({n: whole[n]})) > room for n in whole.keys() - told.keys())


def test_what_is_left_out_turns_nothing_and_hides_nothing() -> None:
    """The orientation is read whatever stands before it, up to the last tag that is looked at."""
    for n, turned in ((MOST_TAGS - 1, True), (MOST_TAGS, False)):
        tags = [(0xA000 + k, 3, 30_000, 0) for k in range(n)]
        block = block_of([*tags, (0x0112, 3, 1, b"\6\0")], bytes(60_000))
        assert turned == (open_picture(FILES["PNG"](block))._unturn is not None)
    many = block_of([(0x0112, 3, 30_000, 0), (0x10F, 2, 3, b"me\0")], b"\6\0" * 30_000)
    assert '{"Make": "me", "Orientation": "6"}' == read("PNG", many)


def test_a_unit_full_of_them_stays_small() -> None:
    """The columns of a row that a stranger filled, message included, are some kilobytes."""
    data = rgb_png(SMALL, [chunk(b"eXIf", HOSTILE["one tag of type 3"])])
    for hostile in (data, *(FILES["JPEG"](block) for block in list(HOSTILE.values())[::9])):
        columns = to_stored(hostile, PictureOptions(image_size=8)).columns
        assert sum(len(str(value)) for value in columns.values()) < MOST_TEXT + 1000


def test_messages_do_not_quote_whole_files() -> None:
    """A TIFF whose compression is a text of a megabyte."""
    data = bytearray(saved(SMALL, "TIFF"))
    at = int.from_bytes(data[4:8], "little") + 2
    while data[at : at + 2] != (259).to_bytes(2, "little"):
        at += 12
    data[at + 2 : at + 12] = struct.pack("<HLL", 2, 1_000_000, len(data))
    problem = to_stored(bytes(data) + b"x" * 1_000_000, PictureOptions()).problem
    assert problem is not None
    assert ("corrupt", True) == (problem.reason, len(problem.message or "") < 1000)


def test_exif_in_many_segments_takes_no_longer_than_their_bytes() -> None:
    """A hundred thousand segments of two bytes."""
    plain = saved(SMALL, "JPEG")
    data = plain[:2] + b"\xff\xe1\0\x0aExif\0\0xx" * 100_000 + plain[2:]
    assert "{}" == open_picture(data).exif_json()
    assert io.BytesIO(data).getbuffer().nbytes == len(data)
