"""The files of the sample web: scenes as JPEG, PNG and WebP, whole, odd and damaged."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from dalle.pictures.edits import EDITS
from dalle.pictures.resize import resize

_AS: dict[str, tuple[str, dict[str, int]]] = {
    "jpg": ("JPEG", {}),
    "png": ("PNG", {"compress_level": 1}),
    "webp": ("WEBP", {"method": 1}),
}
FORMATS = ("jpg", "jpg", "jpg", "png", "webp")
_EXIF_ORIENTATION = 0x0112
_MILD = (
    *("jpeg", "webp", "downscale", "upscale", "squash", "mild-crop", "mirror", "rotate", "brightness", "contrast"),
    *("grey", "blur", "noise", "text", "emoji", "border", "screenshot", "hue"),
)
"""Edits of planted copies: what people commonly do before they post a picture again."""


def encoded(pixels: np.ndarray, kind: str, quality: int = 90) -> bytes:
    """[H, W, 3] uint8 RGB as a file."""
    out = io.BytesIO()
    format_, options = _AS[kind]
    Image.fromarray(pixels).save(out, format_, **{"quality": quality, **options})
    return out.getvalue()


def turned(pixels: np.ndarray, orientation: int) -> bytes:
    """A JPEG whose pixels lie turned and whose EXIF says how to show them."""
    back = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}[orientation]
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = orientation
    out = io.BytesIO()
    Image.fromarray(cv2.rotate(pixels, back)).save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def cmyk(pixels: np.ndarray) -> bytes:
    """A JPEG of four inks."""
    out = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(out, "JPEG", quality=92)
    return out.getvalue()


def deep_grey(pixels: np.ndarray) -> bytes:
    """A grey PNG of 16 bits."""
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257
    return _png(luma)


def grey(pixels: np.ndarray) -> bytes:
    """A JPEG of one channel."""
    out = io.BytesIO()
    Image.fromarray(pixels).convert("L").save(out, "JPEG", quality=92)
    return out.getvalue()


def transparent(pixels: np.ndarray) -> bytes:
    """A PNG whose right half is half transparent."""
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, pixels.shape[1] // 2 :] = 128
    return _png(np.dstack([cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), alpha]))


def shown(kind: str, pixels: np.ndarray) -> np.ndarray:
    """What a person would see of an odd file made from these pixels."""
    if kind in ("16-bit", "grey"):
        return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if kind == "transparent":
        seen = pixels.astype(np.float32)
        half = pixels.shape[1] // 2
        seen[:, half:] = seen[:, half:] * (128 / 255) + 255 * (127 / 255)
        return np.rint(seen).astype(np.uint8)
    return pixels


ODD: dict[str, Callable[[np.ndarray, int], bytes]] = {
    "EXIF-turned": lambda pixels, i: turned(pixels, (3, 6, 8)[i % 3]),
    "CMYK": lambda pixels, i: cmyk(pixels),
    "16-bit": lambda pixels, i: deep_grey(pixels),
    "grey": lambda pixels, i: grey(pixels),
    "transparent": lambda pixels, i: transparent(pixels),
}
"""Files that must be shown right, from pixels and a running number."""


def edit_of(number: int) -> str:
    """The edit of a planted copy, by its running number."""
    return _MILD[number % len(_MILD)]


def edited(pixels: np.ndarray, number: int, seed: int) -> tuple[np.ndarray, str]:
    """A copy as somebody else would post it, and the name of the edit."""
    name = edit_of(number)
    edit = EDITS[name]
    strength = edit.strengths[(number // len(_MILD)) % min(2, len(edit.strengths))]
    return edit.apply(pixels, strength, np.random.default_rng([seed, number])), name


def bomb(side: int = 20_000) -> bytes:
    """A PNG of some kilobytes with side² one-bit pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    line = bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    chunks = (b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def thumbnail(pixels: np.ndarray) -> str:
    """8 x 8 pixels of the centre square, as hex: enough to tell an upright picture from a turned one."""
    return cv2.resize(resize(pixels, 256, "center_crop"), (8, 8), interpolation=cv2.INTER_AREA).tobytes().hex()


def thumbnail_distance(a: str, b: str) -> float:
    """Mean difference of two thumbnails in grey levels."""
    first, second = (np.frombuffer(bytes.fromhex(t), np.uint8).astype(int) for t in (a, b))
    return float(np.abs(first - second).mean())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(pixels: np.ndarray) -> bytes:
    ok, data = cv2.imencode(".png", pixels)
    assert ok
    return data.tobytes()
