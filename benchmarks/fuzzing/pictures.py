"""Drawn pictures in every format that is read, and in kinds of each that readers treat apart."""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from dalle.pictures.formats import heif as _heif  # noqa: F401  lets Pillow write HEIC
from dalle.scenes import compose, draw

_SIDES = (48, 40)


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Small files, all of them right."""
    return tuple(_seeds())


def _seeds() -> Iterator[bytes]:
    pixels = np.ascontiguousarray(draw(compose(5, *_SIDES)))
    image = Image.fromarray(pixels)
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    frames = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.rotate(180)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    exif.get_ifd(0x8769)[0x9003] = "2011:05:03 10:00:00"
    for mode in ("RGB", "L", "CMYK"):
        for options in (
            {},
            {"progressive": True},
            {"subsampling": 0, "exif": exif},
            {"quality": 30, "restart_marker_rows": 1},
        ):
            yield _saved(image.convert(mode), "JPEG", **options)
    yield from _jpegs_of_odd_scans(image)
    yield from _with_arrays(image)
    for masks in ((0xF800, 0x07E0, 0x001F, 0), (0x0F00, 0x00F0, 0x000F, 0xF000)):
        yield _masked_bmp(pixels, masks)
    for each in (image, alpha, image.convert("L"), image.convert("LA"), image.quantize(16), image.convert("1")):
        yield _saved(each, "PNG")
        yield _saved(
            each, "PNG", save_all=True, append_images=[f.convert(each.mode) for f in frames], default_image=True
        )
    yield _saved(image.quantize(16), "PNG", transparency=3, exif=exif, icc_profile=b"not a profile" * 9)
    for deep in (pixels[..., 0].astype(np.uint16) * 257, pixels.astype(np.uint16) * 257):
        yield cv2.imencode(".png", deep)[1].tobytes()
    for each in (image, alpha):
        for options in ({"quality": 80}, {"lossless": True}, {"quality": 50, "exif": exif.tobytes()}):
            yield _saved(each, "WEBP", **options)
            yield _saved(each, "WEBP", **options, save_all=True, append_images=frames)
    for options in (
        {},
        {"transparency": 2},
        {"interlace": 0},
        {"save_all": True, "append_images": frames, "disposal": 2},
    ):
        yield _saved(image.quantize(32), "GIF", **options)
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        yield _saved(image.convert(mode), "BMP")
        yield _saved(image.convert(mode), "DIB")
    for mode in ("RGB", "L", "P", "1", "RGBA", "CMYK", "YCbCr", "I;16"):
        each = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"):
            if mode != "YCbCr" or compression == "raw":
                yield _saved(each, "TIFF", compression=compression, tiffinfo={274: 6})
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield _saved(image.convert("1"), "TIFF", compression=compression)
    for each in (image, alpha):
        yield _saved(each, "AVIF", exif=exif)
        yield _saved(
            each, "AVIF", subsampling="4:4:4", save_all=True, append_images=[f.convert(each.mode) for f in frames]
        )
        yield _saved(each, "HEIF", quality=70)
    yield from (b"<svg xmlns='x'/>", b"8BPS\0\1" + bytes(40), b"\0\0\1\0\1\0\x10\x10" + bytes(40), b"BA" + bytes(60))


def _jpegs_of_odd_scans(image: Image.Image) -> Iterator[bytes]:
    """With bytes before restart markers that mean nothing, few and many; and each channel in a scan of its own."""
    whole = _saved(image, "JPEG", restart_marker_blocks=2)
    for junk in (bytes(4), b"abcdefghijkl"):
        one = whole.index(b"\xff\xd0")
        yield whole[:one] + junk + whole[one:]
        yield re.sub(rb"\xff[\xd0-\xd9]", lambda found, junk=junk: junk + found[0], whole[2:]).join((whole[:2], b""))  # type: ignore[misc]
    black = _saved(Image.new("RGB", image.size), "JPEG", subsampling=0)
    scan, blocks = black.index(b"\xff\xda"), -(-image.width // 8) * -(-image.height // 8)
    codes = ((1, 0, "001010"), (2, 0x11, "0000"), (3, 0x11, "0000"))  # of a block like the one before it
    scans = b""
    for channel, tables, code in codes:
        bits = code * blocks + "1" * (-len(code) * blocks % 8)
        header = bytes((0xFF, 0xDA, 0, 8, 1, channel, tables, 0, 63, 0))
        scans += header + int(bits, 2).to_bytes(len(bits) // 8)
    yield black[:scan] + scans + b"\xff\xd9"


def _with_arrays(image: Image.Image) -> Iterator[bytes]:
    """EXIF of every type of number, many of them, in tags that share them."""
    for count, tags in ((9, 14), (1000, 60)):
        kinds = [(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16)[n % 14] for n in range(tags)]
        at = 8 + 2 + 12 * tags + 4
        entries = b"".join(struct.pack("<HHLL", 0x9200 + n, kind, count, at) for n, kind in enumerate(kinds))
        block = b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4) + b"\1\2\3\4" * (2 * count)
        for kind in ("JPEG", "PNG", "WEBP"):
            yield _saved(image, kind, exif=b"Exif\0\0" + block)


def _masked_bmp(pixels: np.ndarray, masks: tuple[int, int, int, int]) -> bytes:
    """Of 16 bits a pixel, in a header of the kind that names masks."""
    height, width = pixels.shape[:2]
    words = np.zeros((height, width), np.uint16)
    for channel, mask in enumerate(masks[:3]):
        low = (mask & -mask).bit_length() - 1
        words |= (pixels[..., channel].astype(np.uint16) * (mask >> low) // 255 << low).astype(np.uint16)
    if masks[3]:
        words |= masks[3]
    rows = words.astype("<u2").tobytes()
    header = struct.pack("<IiiHHIIiiII", 56, width, -height, 1, 16, 3, len(rows), 0, 0, 0, 0) + struct.pack(
        "<4I", *masks
    )
    return b"BM" + struct.pack("<IHHI", 14 + 56 + len(rows), 0, 0, 14 + 56) + header + rows


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
