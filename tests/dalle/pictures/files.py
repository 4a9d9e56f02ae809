"""Pictures' files that tests make by hand, chunk by chunk, because no library writes them so."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms

from dalle.scenes import compose, draw

SCENE = np.ascontiguousarray(draw(compose(5, 90, 70)))
"""[70, 90, 3] uint8."""


def saved(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    """A file as Pillow writes it."""
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes = b"", *, sum_: int | None = None) -> bytes:
    """A chunk of a PNG; with another sum than its own if one is given."""
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) if sum_ is None else sum_)
    )


def png(
    width: int,
    height: int,
    rows: bytes,
    *,
    bits: int = 8,
    colour: int = 2,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
) -> bytes:
    """A PNG of packed rows, each with its filter's byte, with further chunks before and after its image data."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(rows)), *after, chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def grey_png(levels: np.ndarray, bits: int, before: Sequence[bytes] = ()) -> bytes:
    """A grey PNG of [H, W] levels, each below 2 to the power of the bits."""
    if bits == 16:
        packed = levels.astype(">u2").view(np.uint8).reshape(len(levels), -1)
    else:
        each = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(each.reshape(len(levels), -1).astype(np.uint8), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    return png(levels.shape[1], levels.shape[0], rows, bits=bits, colour=0, before=before)


def rgb_png(pixels: np.ndarray, before: Sequence[bytes] = (), after: Sequence[bytes] = ()) -> bytes:
    """A PNG of [H, W, 3] uint8 or uint16."""
    bits = 8 * pixels.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], rows, bits=bits, before=before, after=after)


def animated_png(default: np.ndarray, frames: Sequence[np.ndarray], *, is_first: bool) -> bytes:
    """An animation of RGB frames beside a default image, which is its first frame as well if it is to be."""
    height, width = default.shape[:2]
    number = iter(range(1000))

    def control() -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", next(number), width, height, 0, 0, 1, 10, 0, 0))

    def data(frame: np.ndarray) -> bytes:
        kind = f">u{frame.dtype.itemsize}"
        packed = zlib.compress(b"".join(b"\0" + row.astype(kind).tobytes() for row in frame))
        return chunk(b"fdAT", struct.pack(">I", next(number)) + packed)

    before = [chunk(b"acTL", struct.pack(">II", len(frames) + is_first, 0)), *([control()] if is_first else [])]
    after = [part for frame in frames for part in (control(), data(frame))]
    return rgb_png(default, before, after)


def bmp(
    rows: bytes, width: int, height: int, bits: int, *, compression: int = 0, palette: bytes = b"", extra: bytes = b""
) -> bytes:
    """A BMP of rows as they lie in the file, or of runs."""
    offset = 14 + 40 + len(extra) + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0
    )
    return struct.pack("<2sIHHI", b"BM", offset + len(rows), 0, 0, offset) + info + extra + palette + rows


def gif(screen: tuple[int, int], at: tuple[int, int], frame: Image.Image, transparent: int | None) -> bytes:
    """A GIF whose one frame lies somewhere on its screen."""
    whole = saved(frame, "GIF", **({} if transparent is None else {"transparency": transparent}))
    assert whole[10] & 0x80, "Pillow writes a table of colours"
    start = 13 + (3 << (whole[10] & 7) + 1)
    place = whole.index(b",", start) + 1
    while int.from_bytes(whole[place + 4 : place + 6], "little") != frame.width:
        place = whole.index(b",", place) + 1
    sides = struct.pack("<HH", *screen)
    return whole[:6] + sides + whole[10:place] + struct.pack("<HH", *at) + whole[place + 4 :]


def swapped_profile() -> bytes:
    """sRGB with its red and blue primaries exchanged: the tags rXYZ and bXYZ change places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        profile.replace(b"rXYZ", b"????")
        .replace(b"bXYZ", b"rXYZ")
        .replace(b"????", b"bXYZ")
        .replace(b"sRGB", b"test")
        .replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    )


def iccp(profile: bytes) -> bytes:
    """A PNG's chunk with a profile."""
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))
