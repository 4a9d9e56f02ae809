"""Pixels to the size and the bytes that a shard stores; modes and their names are img2dataset's."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import simplejpeg

from dalle.pictures.faults import opencv_memory

ResizeMode = Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]
EncodeFormat = Literal["jpg", "png", "webp"]

WHITE = (255, 255, 255)
LONGEST_SIDE: dict[EncodeFormat, int] = {"jpg": 65_500, "png": 1_000_000, "webp": 16_383}
"""In pixels, of what a format or the library that writes it can hold."""
_TO_ENCODE: dict[EncodeFormat, int] = {"jpg": 3, "png": 8, "webp": 8}
"""Bytes a pixel that encoding takes, measured; noise takes more."""


def decoded_size_needed(size: int, mode: ResizeMode) -> int:
    """How long the short side of a decoded picture must stay so that shrinking it to `size` loses nothing seen.

    Twice the target: then the area filter still averages at least four decoded pixels into one, and DCT-scaled
    decoding stays above 34 dB against full decoding (benchmarks/ingest.py). 0 means: decode at full size.
    """
    return 2 * size if mode in ("center_crop", "keep_ratio") else 0


def resized_size(
    width: int, height: int, size: int, mode: ResizeMode, *, only_if_bigger: bool = False
) -> tuple[int, int]:
    """Width and height that `resize` gives a picture of these."""
    if mode == "no":
        return width, height
    side = min(height, width) if mode in ("center_crop", "keep_ratio") else max(height, width)
    if only_if_bigger and side <= size:
        return width, height
    if mode in ("center_crop", "border"):
        return size, size
    return max(1, round(width * size / side)), max(1, round(height * size / side))


def memory_to_store(source: tuple[int, int], target: tuple[int, int], kind: EncodeFormat) -> int:
    """Bytes that resizing pixels to a size and encoding them takes at most, beside the pixels' own.

    Args:
        source, target: width and height.
        kind: the format.
    """
    area = target[0] * target[1]
    doubled = 12 * area if all(b < a < 2 * b for a, b in zip(source, target, strict=True)) else 0
    return (3 * area if target != source else 0) + max(doubled, _TO_ENCODE[kind] * area)


def resize(pixels: np.ndarray, size: int, mode: ResizeMode, *, only_if_bigger: bool = False) -> np.ndarray:
    """The picture at its stored size; shrunk by an area filter (see `_shrink`), enlarged by Lanczos.

    Args:
        pixels: [H, W, 3] uint8.
        size: target in pixels.
        mode: `center_crop`: a square of `size`; `keep_ratio`: short side becomes `size`; `keep_ratio_largest`: long
            side becomes `size`; `border`: the same, then white up to a square; `no`: as it is.
        only_if_bigger: leave a picture alone that would be enlarged.

    Returns:
        [h, w, 3] uint8; the very same array if nothing had to be done.
    """
    height, width = pixels.shape[:2]
    target = resized_size(width, height, size, mode, only_if_bigger=only_if_bigger)
    if target == (width, height):
        return pixels
    with opencv_memory():
        if mode == "center_crop":  # cropped first: what is cut away need not be resized
            return _scale(_centre_square(pixels), size, size)
        if mode == "border":
            inner = resized_size(width, height, size, "keep_ratio_largest")
            return _on_white_square(_scale(pixels, *inner), size)
        return _scale(pixels, *target)


def encode(pixels: np.ndarray, kind: EncodeFormat, quality: int) -> bytes:
    """Encode [H, W, 3] uint8 RGB; `quality` is 0-100 for jpg and webp, zlib's 0-9 for png.

    Raises:
        MemoryError: if there is not enough.
    """
    assert max(pixels.shape) <= LONGEST_SIDE[kind], f"{pixels.shape} as {kind}"
    if kind == "jpg":
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420"))
    setting = cv2.IMWRITE_PNG_COMPRESSION if kind == "png" else cv2.IMWRITE_WEBP_QUALITY
    with opencv_memory():
        ok, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [setting, quality])
    if not ok:  # of sizes that it can hold, only for want of memory
        raise MemoryError(f"{kind} could not be encoded")
    return encoded.tobytes()


def _scale(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    if height <= pixels.shape[0] and width <= pixels.shape[1]:
        return _shrink(pixels, height, width)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LANCZOS4)


def _shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """By an area filter.

    Between the full size and the half, where most of the web's pictures are, pixels are first interpolated to exactly
    twice the target, which OpenCV averages by fours: the same within 48 dB on photographs (what JPEG 95 loses comes
    to 40), in less than half the time of its filter for any ratio (0.40 ms for 0.94 from 480 x 480 to 256 x 256).
    """
    if height < pixels.shape[0] < 2 * height and width < pixels.shape[1] < 2 * width:
        pixels = cv2.resize(pixels, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _on_white_square(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    return cv2.copyMakeBorder(
        pixels, top, size - height - top, left, size - width - left, cv2.BORDER_CONSTANT, value=WHITE
    )
