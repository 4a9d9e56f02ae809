"""What a header says is compared with what a picture may take before anything is allocated, and what it says is enough."""

from __future__ import annotations

import functools
import io
import lzma
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from dalle.pictures.images import UndecodableImage, decode, memory_allowed, open_picture
from pipelines.stages.decode import PictureOptions, to_stored
from tests.dalle.pictures.files import chunk, iccp, png, rgb_png, saved, swapped_profile
from tests.dalle.pictures.measuring import decoded, in_a_new_process, stored

SMALL = 64 << 20
"""Bytes that refusing a picture may take."""


@functools.cache
def large() -> np.ndarray:
    """[1500, 2400, 3] uint8, smooth."""
    noise = np.random.default_rng(0).integers(0, 256, (15, 24, 3), dtype=np.uint8)
    return cv2.resize(noise, (2400, 1500), interpolation=cv2.INTER_CUBIC)


def clear() -> Image.Image:
    image = Image.fromarray(large())
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def deep(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels.astype(np.uint16) * 257, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved(large(), "JPEG"),
    "progressive JPEG": lambda: saved(large(), "JPEG", progressive=True, subsampling=0),
    "JPEG of ink": lambda: saved(Image.fromarray(large()).convert("CMYK"), "JPEG"),
    "JPEG with a profile": lambda: saved(large(), "JPEG", icc_profile=swapped_profile()),
    "turned JPEG": lambda: saved(large(), "JPEG", exif=turned()),
    "PNG": lambda: saved(large(), "PNG", compress_level=1),
    "clear PNG": lambda: saved(clear(), "PNG", compress_level=1),
    "grey PNG": lambda: saved(large()[..., 0], "PNG", compress_level=1),
    "deep PNG": lambda: deep(large()),
    "deep clear PNG": lambda: deep(np.asarray(clear())),
    "deep grey PNG": lambda: deep(large()[..., 0]),
    "WebP": lambda: saved(large(), "WEBP", method=0),
    "clear WebP": lambda: saved(clear(), "WEBP", method=0),
    "lossless WebP": lambda: saved(clear(), "WEBP", method=0, lossless=True, quality=0),
    "GIF": lambda: saved(large()[..., 0], "GIF"),
    "BMP": lambda: saved(large(), "BMP"),
    "clear BMP": lambda: saved(clear(), "BMP"),
    "TIFF": lambda: saved(large(), "TIFF"),
    "packed TIFF": lambda: saved(large(), "TIFF", compression="tiff_lzw"),
    "TIFF in one strip": lambda: saved(large(), "TIFF", compression="packbits", tiffinfo={278: 1500}),
    "turned TIFF": lambda: saved(clear(), "TIFF", tiffinfo={274: 6}),
    "bilevel TIFF": lambda: saved(Image.fromarray(large()).convert("1"), "TIFF", compression="group4"),
    "AVIF": lambda: saved(clear(), "AVIF", speed=10, subsampling="4:4:4"),
    "HEIC": lambda: saved(np.ascontiguousarray(large()[:500, :800]), "HEIF"),
}


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("kind", FILES)
def test_decoding_takes_no_more_than_its_header_told(kind: str) -> None:
    """In a process that has done nothing before, so that nothing it has already is taken for nothing."""
    answer = in_a_new_process(decoded, FILES[kind](), 1 << 30)
    assert answer.fault is None, answer.message
    took, told, why = answer.value
    assert "" == why
    assert took <= told + (2 << 20)
    assert told <= 12 * large().size, "far from what it takes"


def packed(width: int, height: int) -> bytes:
    """A PNG of zeros, four channels of 16 bits, row by row."""
    packer, row = zlib.compressobj(1), bytes(1 + width * 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND")


def test_the_largest_pictures_stay_below_a_gigabyte() -> None:
    """10,000 x 10,000 clear pixels of 16 bits in some megabytes are kept, whole, by a process that may take no more."""
    answer = in_a_new_process(stored, packed(10_000, 10_000), memory_allowed(10**8) + (48 << 20))
    assert (None, None) == (answer.fault, answer.raised), answer.message
    assert "" == answer.value[2]
    assert answer.value[0] <= memory_allowed(10**8)


def animated_webp(width: int, height: int) -> bytes:
    """A header of an animation without a frame."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    header = b"VP8X\x0a\0\0\0\x12\0\0\0" + sides + b"ANIM\6\0\0\0" + bytes(6)
    return b"RIFF" + (4 + len(header)).to_bytes(4, "little") + b"WEBP" + header


def tiff(tags: dict[int, tuple[int, int]], data: bytes = b"") -> bytes:
    """A little TIFF of these tags, of which each has a type and a value; its data begin at 8."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def greedy_xz() -> bytes:
    """A stream whose header asks for a dictionary of 1.5 GB, or 4."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1536 << 20}]
    data = bytearray(lzma.compress(b"\1" * 4, lzma.FORMAT_XZ, filters=filters))
    return bytes(data)


TAGS = {
    256: (4, 2),
    257: (4, 2),
    258: (3, 8),
    259: (3, 1),
    262: (3, 1),
    273: (4, 8),
    277: (3, 1),
    278: (4, 2),
    279: (4, 4),
}
LIES: dict[str, bytes] = {
    "a chunk of 2 GB": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)) + b"\x7f\xff\xff\xf0IDAT\x78\x9c",
    "a chunk before the picture": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)) + b"\x7f\xff\xff\xf0iCCP",
    "a PNG of 4 GB": png(32_000, 32_000, b"\0"),
    "a PNG that is no more than its header": png(10_000, 10_000, b"\0", bits=16, colour=6),
    "a profile of zeros": rgb_png(np.zeros((1, 1, 3), np.uint8), [iccp(bytes(200 << 20))]),
    "a GIF of 4 GB whose frame is taken away": b"GIF89a\xff\xff\xff\xff\0\0\0!\xf9\4\x08\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
    "a frame beyond its GIF": b"GIF89a\1\0\1\0\0\0\0!\xf9\4\x08\0\0\0\0,\xff\xff\xff\xff\xff\xff\xff\xff\0\2\2L\1\0;",
    "a canvas of 1 GB": animated_webp(16_383, 16_383),
    "a canvas of 70 GB": animated_webp(1 << 24, 1 << 24),
    "a lossless WebP of 1 GB": b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + ((16_382) | 16_382 << 14).to_bytes(4, "little") + bytes(5),
    "a BMP of 12 GB": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 65_535, 65_535, 1, 24, 0, 0, 0, 0, 0, 0),
    "a TIFF of 4 GB": tiff({**TAGS, 256: (4, 65_535), 257: (4, 65_535)}, bytes(8)),
    "a tile of 4 GB": tiff({**{k: v for k, v in TAGS.items() if k not in (273, 278, 279)}, 259: (3, 5), 322: (4, 65_520), 323: (4, 65_520), 324: (4, 8), 325: (4, 4)}, bytes(8)),
    "a dictionary of 1.5 GB": tiff({**TAGS, 259: (3, 34_925), 279: (4, len(greedy_xz()))}, greedy_xz()),
    "a JPEG of 13 GB": saved(np.zeros((8, 8, 3), np.uint8), "JPEG").replace(b"\x08\0\x08\0\x08\3", b"\x08\xff\xdc\xff\xdc\3"),
}  # fmt: skip
"""Small files whose headers ask for much."""


@pytest.mark.parametrize("name", LIES)
def test_what_a_header_asks_for_is_not_given(name: str) -> None:
    """Refused, by a process that could not have had it."""
    assert len(LIES[name]) < 300_000
    answer = in_a_new_process(decoded, LIES[name], 1 << 30)
    assert (None, None) == (answer.fault, answer.raised), answer.message
    took, _, why = answer.value
    assert took < SMALL
    assert why in ("truncated", "corrupt", "too-many-pixels", "decoder-memory") or name == "a profile of zeros"


def test_a_header_is_believed_only_as_far_as_memory_goes() -> None:
    """What a picture would take is said, beside what it may; more pixels that are allowed allow more memory."""
    data = saved(Image.new("RGB", (6_000, 6_000)), "AVIF", speed=10, quality=10)
    picture = open_picture(data, max_pixels=36_000_000)
    with pytest.raises(UndecodableImage, match="6000 x 6000 as AVIF would take 521 MB, more than the 270 MB") as caught:
        picture.pixels()
    assert "decoder-memory" == caught.value.reason
    assert 270_000_000 == memory_allowed(36_000_000)
    assert memory_allowed(1) == 256 << 20


@pytest.mark.parametrize("mode", ["keep_ratio", "no", "keep_ratio_largest", "border", "center_crop"])
def test_long_pictures_are_refused_before_they_are_made(mode: str) -> None:
    """1 x 20,000 pixels, which `keep_ratio` would make 256 x 5,120,000; other modes keep it."""
    answer = in_a_new_process(
        functools.partial(stored, resize_mode=mode, encode_format="png", encode_quality=1),
        png(1, 20_000, b"\0\1\2\3" * 20_000),
        1 << 30,
    )
    assert answer.fault is None
    assert ("too-long" if mode == "keep_ratio" else "") == answer.value[2]
    assert answer.value[0] < SMALL


@pytest.mark.parametrize(("kind", "longest"), [("jpg", 65_500), ("webp", 16_383)])
def test_as_long_as_a_format_can_hold_and_no_longer(kind: str, longest: int) -> None:
    """Stored at the very limit, refused one pixel beyond it, by name and before the work."""
    options = PictureOptions(resize_mode="no", encode_format=kind)
    for height, problem in ((longest, None), (longest + 1, "too-long")):
        result = to_stored(rgb_png(np.zeros((height, 1, 3), np.uint8)), options)
        assert problem == (result.problem and result.problem.reason)
        if problem is None:
            assert (longest, 1, 3) == decode(result.data).shape
    assert f"holds sides up to {longest}" in str(result.problem)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 65_501}, "jpg holds sides up to 65500"),
        ({"image_size": 16_384, "encode_format": "webp"}, "webp holds sides up to 16383"),
        ({"image_size": 20_000}, "more pixels than"),
    ],
)
def test_sizes_that_no_picture_could_be_stored_at(options: dict, message: str) -> None:
    """Are refused before anything starts, unless nothing is made larger."""
    with pytest.raises(ValueError, match=message):
        PictureOptions(**options)
    assert PictureOptions(**options, resize_only_if_bigger=True).image_size == options["image_size"]


def test_memory_that_runs_out_is_no_fault_of_the_picture() -> None:
    """It is a `MemoryError` and never "corrupt": who gave the memory decides what it means. libavif alone does not say."""
    for data in (FILES["PNG"](), FILES["WebP"](), FILES["TIFF"](), FILES["JPEG"](), FILES["GIF"]()):
        answer = in_a_new_process(decoded, data, 4 << 20)
        assert "memory" == answer.fault, (data[:12], answer)


def test_files_are_not_held_twice_for_nothing() -> None:
    """A file of 30 MB whose picture is one pixel takes itself, and little more."""
    data = saved(np.zeros((1, 1, 3), np.uint8), "JPEG") + bytes(30 << 20)
    answer = in_a_new_process(decoded, data, 1 << 30)
    assert answer.value[0] < SMALL
    assert io.BytesIO(data).getbuffer().nbytes == len(data)
