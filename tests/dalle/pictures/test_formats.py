"""Each format's container: what makes the picture reaches the decoder, what else there is in the file changes nothing."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from dalle.pictures.formats.png import Png
from dalle.pictures.images import UndecodableImage, decode, open_picture
from tests.dalle.pictures.files import (
    SCENE,
    animated_png,
    bmp,
    chunk,
    gif,
    grey_png,
    iccp,
    rgb_png,
    saved,
    swapped_profile,
)

RED = np.full((6, 8, 3), (200, 30, 20), np.uint8)
BLUE = np.full((6, 8, 3), (20, 30, 200), np.uint8)
"""Which is shown says whether a profile that exchanges them was applied."""


def by_pillow(data: bytes) -> np.ndarray:
    """What Pillow shows, on white."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def refused(data: bytes) -> UndecodableImage:
    with pytest.raises(UndecodableImage) as caught:
        decode(data)
    return caught.value


KINDS = st.sampled_from(
    [b"acTL", b"fcTL", b"fdAT", b"tEXt", b"gAMA", b"bKGD", b"sRGB", b"pHYs", b"eXIf", b"prIv", b"cICP"]
)
CHUNKS = st.builds(
    lambda kind, data, whole: chunk(kind, data, sum_=None if whole else 7), KINDS, st.binary(max_size=40), st.booleans()
)


@given(st.lists(CHUNKS, max_size=6), st.lists(CHUNKS, max_size=6))
def test_what_else_a_png_holds_changes_nothing(before: list[bytes], after: list[bytes]) -> None:
    """Whatever lies in chunks that make no picture, whole or damaged; an EXIF block may only turn it."""
    plain = rgb_png(SCENE)
    picture = open_picture(rgb_png(SCENE, before, after))
    pixels = picture.pixels()
    assert sorted(pixels.shape) == sorted(SCENE.shape)
    if pixels.shape == SCENE.shape and picture._unturn is None:
        assert np.array_equal(decode(plain), pixels)


@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_the_decoder_of_png_gets_nothing_else(data: bytes, number: int) -> None:
    """An animation's chunks are what a decoder once wrote where it must not; none of them reaches it."""
    still = Png(
        rgb_png(SCENE, [chunk(b"acTL", data)], [chunk(b"fcTL", data), chunk(b"fdAT", data, sum_=number)]), 10**6
    )
    assert rgb_png(SCENE) == still._still()


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("deep", [np.uint8, np.uint16])
def test_of_an_animated_png_the_default_image_counts(is_first: bool, deep: type) -> None:
    """As a reader shows it that knows of no animations, whether or not the animation begins with it."""
    scale = 257 if deep is np.uint16 else 1
    default, frames = (
        SCENE.astype(deep) * scale,
        [SCENE[::-1].astype(deep) * scale, SCENE[:, ::-1].astype(deep) * scale],
    )
    picture = open_picture(animated_png(default, frames, is_first=is_first))
    assert np.array_equal(SCENE, picture.pixels())
    assert not picture.is_plain, "its bytes show more than that"
    written = saved(
        SCENE, "PNG", save_all=True, default_image=not is_first, append_images=[Image.fromarray(SCENE[::-1])] * 2
    )
    assert b"acTL" in written
    assert np.array_equal(SCENE, decode(written))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@given(st.data())
def test_grey_colour_keys(bits: int, data: st.DataObject) -> None:
    """The level that a key names is not seen, at any depth and for any level; all others are what they were."""
    most = (1 << bits) - 1
    levels = (
        np.arange(4096).reshape(16, 256) * most // 4095 if bits == 16 else np.arange(512).reshape(8, 64) % (most + 1)
    )
    key = data.draw(st.sampled_from(sorted({0, most, *levels.flat})))
    plain = decode(grey_png(levels, bits))
    keyed = decode(grey_png(levels, bits, [chunk(b"tRNS", struct.pack(">H", key))]))
    assert (keyed[levels == key] == 255).all()
    assert np.array_equal(plain[levels != key], keyed[levels != key])
    assert np.array_equal((levels * 255 + most // 2) // most, plain[..., 0])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_colour_keys_as_pillow_shows_them(bits: int) -> None:
    """Pillow applies a key to levels as it widens them."""
    levels = np.arange(64).reshape(4, 16) % (1 << bits)
    whole = grey_png(levels, bits, [chunk(b"tRNS", struct.pack(">H", 1))])
    image = Image.open(io.BytesIO(whole))
    assert np.array_equal(decode(whole)[..., 0] == 255, (levels == 1) | (np.asarray(image.convert("L")) == 255))


@pytest.mark.parametrize(
    ("before", "after", "applied"),
    [
        ([iccp(swapped_profile())], [], True),
        ([iccp(swapped_profile()), iccp(b"another")], [], True),
        ([iccp(b"no profile"), iccp(swapped_profile())], [], False),
        ([chunk(b"PLTE", bytes(range(30))), iccp(swapped_profile())], [], False),
        ([], [iccp(swapped_profile())], False),
        ([chunk(b"iCCP", b"p\0\0" + zlib.compress(swapped_profile()), sum_=1)], [], False),
        ([chunk(b"iCCP", b"p\0\1" + zlib.compress(swapped_profile()))], [], False),
        ([chunk(b"iCCP", b"\0\0" + zlib.compress(swapped_profile()))], [], False),
        ([chunk(b"iCCP", b"p\0\0" + zlib.compress(swapped_profile())[:-9])], [], False),
        ([chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(9 << 20)))], [], False),
    ],
)
def test_a_profile_counts_where_libpng_has_it(before: list[bytes], after: list[bytes], applied: bool) -> None:
    """The first, whole, before palette and image data, and not one that unpacks to megabytes of nothing."""
    shown = decode(rgb_png(RED, before, after))
    assert np.abs(shown.astype(int) - (BLUE if applied else RED)).max() <= 3


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """Marker and content of a JPEG's segments before its first scan, and all from there on."""
    at, parts = 2, []
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        parts.append((data[at + 1], data[at + 4 : end]))
        at = end
    return [*parts, (0xDA, data[at:])]


def jpeg(parts: list[tuple[int, bytes]]) -> bytes:
    *segments_, (_, scans) = parts
    return b"\xff\xd8" + b"".join(b"\xff" + bytes([m]) + (len(d) + 2).to_bytes(2) + d for m, d in segments_) + scans


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@given(st.data())
def test_what_else_a_jpeg_holds_changes_nothing(mode: str, data: st.DataObject) -> None:
    """Segments of any kind and content that decoding needs none of, anywhere before the scan."""
    whole = saved(Image.fromarray(SCENE).convert(mode), "JPEG", quality=90)
    parts = segments(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        marker = data.draw(st.sampled_from([0xE1, 0xE2, 0xE3, 0xEC, 0xED, 0xEF, 0xFE]))
        start = data.draw(
            st.sampled_from([b"", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"FPXR\0", b"Photoshop 3.0\0", b"http://ns"])
        )
        parts.insert(data.draw(st.integers(0, len(parts) - 1)), (marker, start + data.draw(st.binary(max_size=30))))
    picture = open_picture(jpeg(parts))
    if picture._unturn is None:
        assert np.array_equal(decode(whole), picture.pixels())


@given(st.binary(max_size=20))
def test_a_jfif_segment_that_is_cut_is_no_error(rest: bytes) -> None:
    """Densities that end too early, in pictures of ink as well, which Pillow reads."""
    for mode in ("RGB", "CMYK"):
        whole = saved(Image.fromarray(SCENE).convert(mode), "JPEG")
        parts = [(0xE0, b"JFIF\0" + rest), (0xE1, b"Exif\0\0" + rest), *(p for p in segments(whole) if p[0] != 0xE0)]
        assert decode(jpeg(parts)).shape == SCENE.shape


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_profile_on_either_side_of_the_frame_header(place: str) -> None:
    """In one piece or two, in any order."""
    parts = segments(saved(RED, "JPEG", quality=95, subsampling=0))
    frame = next(n for n, (marker, _) in enumerate(parts) if marker == 0xC0)
    profile = swapped_profile()
    for pieces in ([profile], [profile[:99], profile[99:]]):
        icc = [(0xE2, b"ICC_PROFILE\0" + bytes([n, len(pieces)]) + p) for n, p in enumerate(pieces, 1)][::-1]
        at = frame + (place == "after")
        shown = decode(jpeg([*parts[:at], *icc, *parts[at:]]))
        assert np.abs(shown.astype(int) - BLUE).max() <= 4
    assert np.abs(decode(jpeg([*parts[:at], icc[0], *parts[at:]])).astype(int) - RED).max() <= 4, "half of a profile"


@pytest.mark.parametrize(
    ("marker", "bits", "name"),
    [
        (0xC3, 8, "lossless"),
        (0xCB, 8, "lossless"),
        (0xC5, 8, "hierarchical"),
        (0xF7, 8, "JPEG-LS"),
        (0xC1, 12, "12 bits"),
    ],
)
def test_kinds_of_jpeg_that_are_not_read_are_named(marker: int, bits: int, name: str) -> None:
    """Instead of being called damaged."""
    parts = [
        (marker if m == 0xC0 else m, bytes([bits]) + d[1:] if m == 0xC0 else d)
        for m, d in segments(saved(SCENE, "JPEG"))
    ]
    error = refused(jpeg(parts))
    assert "unsupported" == error.reason
    assert name in str(error)


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "group3", "group4", "tiff_ccitt"]
)
@pytest.mark.parametrize("white", [0, 1])
def test_bilevel_tiffs(compression: str | None, white: int) -> None:
    """Of every compression, with either level for white, in odd widths."""
    image = Image.fromarray(SCENE[:, :77]).convert("1")
    data = saved(image, "TIFF", **({"compression": compression} if compression else {}), tiffinfo={262: white})
    assert np.array_equal(by_pillow(data), decode(data))
    assert {0, 255} == set(decode(data).flat)


PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
BGR0 = np.concatenate([PALETTE[:, ::-1], np.zeros((256, 1), np.uint8)], axis=1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [1, 7, 8, 33])
@pytest.mark.parametrize("top_down", [True, False])
def test_bmp_with_a_palette(bits: int, width: int, top_down: bool) -> None:
    """Rows are padded to four bytes; the lowest comes first unless the height is negative."""
    levels = np.random.default_rng(width).integers(0, 1 << bits, (5, width))
    each = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(each.reshape(5, -1).astype(np.uint8), axis=1)
    rows = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))
    palette = BGR0[: 1 << bits].tobytes()
    data = bmp((rows if top_down else rows[::-1]).tobytes(), width, -5 if top_down else 5, bits, palette=palette)
    assert np.array_equal(PALETTE[levels], decode(data))
    assert np.array_equal(PALETTE[levels], decode(data[14:])), "the same without its file header"
    if bits != 2:
        assert np.array_equal(by_pillow(data), decode(data))


@given(
    st.sampled_from([16, 32]),
    st.lists(st.integers(1, 8), min_size=3, max_size=4).filter(lambda sizes: sum(sizes[:3]) <= 16),
    st.permutations(range(4)),
)
def test_bmp_with_masks(bits: int, sizes: list[int], order: list[int]) -> None:
    """Channels of any width in any order, each stretched to 0 to 255."""
    masks, at = [0, 0, 0, 0], 0
    for channel in [channel for channel in order if channel < 3]:
        masks[channel], at = ((1 << sizes[channel]) - 1) << at, at + sizes[channel]
    rng = np.random.default_rng(at)
    values = [rng.integers(0, 1 << size, (4, 6)) for size in sizes[:3]]
    words = sum(value << (mask & -mask).bit_length() - 1 for value, mask in zip(values, masks[:3], strict=True))
    rows = np.asarray(words).astype(f"<u{bits // 8}").tobytes()
    data = bmp(rows, 6, -4, bits, compression=3, extra=struct.pack("<3I", *masks[:3]))
    expected = np.stack([value * 255 // ((1 << size) - 1) for value, size in zip(values, sizes, strict=False)], axis=2)
    assert np.array_equal(expected, decode(data))


def test_bmp_opacity() -> None:
    """Over white; where a file has a mask for it and nothing is opaque, its writer knew nothing of it."""
    pixels = np.dstack([SCENE[:8, :8, ::-1], np.arange(64).reshape(8, 8) * 4]).astype(np.uint8)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    half = decode(bmp(pixels.tobytes(), 8, -8, 32, compression=6, extra=masks))
    alpha = pixels[..., 3:] / 255
    assert np.abs(half - (SCENE[:8, :8] * alpha + 255 * (1 - alpha))).max() <= 0.5
    pixels[..., 3] = 0
    assert np.array_equal(SCENE[:8, :8], decode(bmp(pixels.tobytes(), 8, -8, 32, compression=6, extra=masks)))


def runs_of(levels: np.ndarray, bits: int, rng: np.random.Generator, *, even: bool = False) -> bytes:
    """Rows packed as runs and as literal pixels, in turn, as a writer may; literal ones of even numbers if asked."""
    out = bytearray()
    for row in levels:
        at = 0
        while at < len(row):
            count = min(int(rng.integers(1, 9)), len(row) - at)
            count -= even and count > 3 and count % 2
            part = row[at : at + count]
            if count >= 3 + even and rng.random() < 0.5:
                packed = (
                    bytes(part)
                    if bits == 8
                    else bytes(
                        int(a) << 4 | int(b)
                        for a, b in zip(part[::2], [*part[1::2], *([0] * (count % 2))], strict=True)
                    )
                )
                out += bytes([0, count]) + packed + b"\0" * (len(packed) % 2)
            else:
                count = next((n for n in range(1, count) if part[n] != part[0]), count)
                value = int(part[0])
                out += bytes([count, value if bits == 8 else value << 4 | value])
            at += count
        out += b"\0\0"
    return bytes(out + b"\0\1")


@pytest.mark.parametrize("bits", [4, 8])
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32))
def test_bmp_of_runs(bits: int, width: int, height: int, seed: int) -> None:
    """What is packed is what is unpacked, and what Pillow shows."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.integers(0, 1 << bits, (height, width)), 3, axis=1)[:, :width].astype(np.uint8)
    palette = BGR0[: 1 << bits].tobytes()
    for even in (False, True):
        packed = runs_of(levels[::-1], bits, rng, even=even)
        data = bmp(packed, width, height, bits, compression=3 - bits // 4, palette=palette)
        assert np.array_equal(PALETTE[levels], decode(data))
    assert np.array_equal(by_pillow(data), decode(data))  # of odd numbers of half bytes Pillow reads one too few


@pytest.mark.parametrize(("runs", "reason"), [
    (b"\4\1\0\0\0\1", "unsupported"), (b"\0\2\1\0\3\1\0\0\4\1\0\1", "unsupported"), (b"\4\1\0\0", "truncated"), (b"\0\5\1", "truncated"),
])  # fmt: skip
def test_bmp_of_runs_that_leaves_pixels_out_is_refused(runs: bytes, reason: str) -> None:
    """Readers fill them with different colours."""
    error = refused(bmp(runs, 4, 2, 8, compression=1, palette=BGR0.tobytes()))
    assert reason == error.reason
    assert "leaves out" in str(error)


def test_a_gif_whose_first_frame_does_not_fill_it() -> None:
    """What it does not cover is clear if the file has a clear colour, and else what readers do not agree on."""
    frame = Image.new("P", (20, 10), 1)
    frame.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 255])
    ImageDraw.Draw(frame).rectangle((0, 0, 5, 5), fill=2)
    data = gif((40, 30), (7, 5), frame, transparent=2)
    shown = decode(data)
    assert np.array_equal(by_pillow(data), shown)
    assert [255, 255, 255] == shown[0, 0].tolist() == shown[5, 7].tolist()
    assert [0, 200, 0] == shown[14, 26].tolist()
    error = refused(gif((40, 30), (7, 5), frame, transparent=None))
    assert ("unsupported", True) == (error.reason, "does not fill" in str(error))
    assert np.array_equal(np.asarray(frame.convert("RGB")), decode(gif((20, 10), (0, 0), frame, transparent=None)))


@given(st.integers(4, 200))
def test_a_gif_that_ends_too_early_is_never_filled_up(cut: int) -> None:
    """Neither with the first colour nor with the clear one, wherever it ends, with an end mark behind it or without."""
    whole = saved(Image.fromarray(SCENE).quantize(64), "GIF")
    for rest in (b"", b"\0;"):
        assert refused(whole[: len(whole) - 3 - cut] + rest).reason in ("truncated", "corrupt")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_is_what_libwebp_shows(lossless: bool, mode: str) -> None:
    """The frame alone in a file of its own has the pixels that Pillow finds in the whole file; animations, their first."""
    image = Image.fromarray(SCENE)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    options = {"lossless": lossless, "quality": 90, "exif": Image.Exif().tobytes(), "xmp": b"<x/>"}
    still = saved(image, "WEBP", **options)
    moving = saved(image, "WEBP", **options, save_all=True, append_images=[image.rotate(180)])
    assert b"ANMF" in moving
    for data in (still, moving):
        assert np.abs(by_pillow(data).astype(int) - decode(data)).max() <= 1
    assert (mode == "RGB") == open_picture(still).is_plain
    assert not open_picture(moving).is_plain


NAMED = {
    "TGA": "Targa", "ICO": "icon", "JPEG2000": "JPEG 2000", "PPM": "Netpbm", "DDS": "DDS", "PCX": "PCX", "SGI": "SGI", "XBM": "XBM",
    "ICNS": "Apple icon", "PDF": "PDF", "EPS": "PostScript", "QOI": "QOI",
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED)
def test_formats_that_are_not_read_are_named(kind: str) -> None:
    """As Pillow writes them."""
    data = saved(Image.fromarray(SCENE[:64, :64]).convert("1" if kind == "XBM" else "RGB"), kind)
    error = refused(data)
    assert ("not-an-image" if kind in ("PDF", "EPS") else "unsupported") == error.reason
    assert NAMED[kind] in str(error)


@pytest.mark.parametrize(("data", "name"), [
    (b"8BPS\0\1" + bytes(40), "Photoshop"), (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"), (b"\xff\x0a" + bytes(20), "JPEG XL"),
    (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"), (b"\0\0\2\0\1\0" + bytes(20), "cursor"), (b"v/1\1\2\0\0\0", "OpenEXR"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1", "Canon"), (b"\0\0\0\x18ftypisom\0\0\0\1", "video"), (b"RIFF\x10\0\0\0AVI LIST", "AVI"),
    (b"<svg xmlns='x'></svg>", "SVG"), (b"<?xml version='1.0'?>\n<!-- a -->\n<svg>", "SVG"), (b"PK\3\4" + bytes(30), "ZIP"),
    (b"BA" + bytes(40), "OS/2"), (b"P5\n3 3\n255\n" + bytes(9), "Netpbm"),
    (bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 4, 0, 24, 0]) + bytes(48), "Targa"),
])  # fmt: skip
def test_more_formats_that_are_named(data: bytes, name: str) -> None:
    """By their first bytes; Targa, which has none of its own, by a header in which nothing is out of place."""
    assert name in str(refused(data))


@given(st.binary(max_size=300))
def test_noise_is_not_called_targa(data: bytes) -> None:
    """A name is not given away: text and random bytes have none."""
    text = data.hex().encode()
    assert "begin with" in str(refused(b"x" + text))


def test_avif_and_heic_know_each_other_apart() -> None:
    """By the brands behind the first one, which they share."""
    avif, heic = saved(SCENE, "AVIF"), saved(SCENE, "HEIF")
    assert ("AVIF", "HEIF") == (open_picture(avif).format, open_picture(heic).format)
    for data in (avif, heic):
        assert open_picture(data[:8] + b"mif1" + data[12:]).format == open_picture(data).format
    ok = cv2.imdecode(np.frombuffer(avif, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(ok, decode(avif))


RUNS = sorted({((1 << size) - 1) << start for start in range(32) for size in range(1, 33 - start)})
"""All masks of neighbouring bits."""


def masked_bmp(bits: int, masks: tuple[int, int, int, int], words: np.ndarray, compression: int) -> bytes:
    extra = struct.pack("<4I", *masks)[: 16 if compression == 6 else 12]
    rows = words.astype(f"<u{bits // 8}").tobytes()
    return bmp(rows, words.shape[1], -len(words), bits, compression=compression, extra=extra)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("channel", range(4))
def test_bmp_with_every_mask(bits: int, channel: int) -> None:
    """Of neighbouring bits or not: what lies under it, or `corrupt` where a colour's bits lie beyond the pixel."""
    rng = np.random.default_rng(channel)
    scattered = [int(n) & int(m) for n, m in rng.integers(1, 2**32, (200, 2))]
    words = rng.integers(0, 1 << bits, (2, 2), dtype=np.uint64)
    for mask in [*RUNS, *filter(None, scattered)]:
        masks = [0, 0, 0, 0]
        masks[channel] = mask
        if channel == 3:
            masks[0] = 1
        data = masked_bmp(bits, (masks[0], masks[1], masks[2], masks[3]), words, 6)
        if mask >= 1 << bits and channel < 3:
            error = refused(data)
            assert ("corrupt", True) == (error.reason, f"{mask:x}" in str(error))
            continue
        shown = decode(data)
        if channel < 3:
            low = (mask & -mask).bit_length() - 1
            expected = [[(int(w) & mask) >> low for w in row] for row in words]
            assert [[v * 255 // (mask >> low) for v in row] for row in expected] == shown[..., channel].tolist()


@given(st.sampled_from([16, 32]), st.sampled_from([3, 6]), st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4))
def test_bmp_masks_of_any_bits_end_well(bits: int, compression: int, masks: list[int]) -> None:
    """Read, or refused as corrupt."""
    words = np.arange(4, dtype=np.uint64).reshape(2, 2)
    data = masked_bmp(bits, (masks[0], masks[1], masks[2], masks[3]), words, compression)
    try:
        assert (2, 2, 3) == decode(data).shape
    except UndecodableImage as error:
        assert "corrupt" == error.reason
