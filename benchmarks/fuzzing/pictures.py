"""Drawn pictures in every format that is read, and in kinds of each that readers treat apart."""

from __future__ import annotations

import functools
import io
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


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
