"""Any colour model to 8-bit sRGB: profiles, inks, opacity, and depths above eight bits.

Everything goes by bands of some rows, so that what is between a picture as decoded and its sRGB is never there for all
of it at once, and what OpenCV decoded is narrowed where it lies.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageCms

from dalle.pictures.faults import PILLOW_FAULTS, opencv_memory
from dalle.pictures.pixels import Pixels

_BAND = 1 << 18
"""Pixels that are converted at once."""


def from_pillow(image: Image.Image, icc: bytes | None) -> Pixels:
    """[H, W, 3] uint8 sRGB of a loaded picture of any of Pillow's 8- and 16-bit modes."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, end in _bands(*pixels.shape[:2]):
        band = image if (top, end) == (0, image.height) else image.crop((0, top, image.width, end))
        pixels[top:end] = _band_from_pillow(band, icc)
    return pixels


def from_opencv(values: np.ndarray, icc: bytes | None, transparent: int | None = None) -> Pixels:
    """[H, W, 3] uint8 sRGB of what OpenCV decoded, whose memory it takes if it is large.

    Args:
        values: [H, W], [H, W, 3] or [H, W, 4] uint8 or uint16, blue before red; not to be used afterwards.
        icc: their profile.
        transparent: the level of a grey picture that is not to be seen.
    """
    height, width = values.shape[:2]
    if height * width <= _BAND:
        return _band_from_opencv(values, icc, transparent)
    if values.ndim == 2:
        pixels = np.empty((height, width, 3), np.uint8)
    else:  # a band's place never reaches into one that was not read yet
        pixels = values.reshape(-1).view(np.uint8)[: 3 * height * width].reshape(height, width, 3)
    for top, end in _bands(height, width):
        pixels[top:end] = _band_from_opencv(values[top:end], icc, transparent)
    return pixels


def to_srgb(pixels: Pixels, icc: bytes) -> Pixels:
    """[H, W, 3] uint8 of a profile's own colours to sRGB, in the memory that they have if it may be written to."""
    if not pixels.flags.writeable or not pixels.flags.c_contiguous:
        pixels = pixels.copy()
    for top, end in _bands(*pixels.shape[:2]):
        pixels[top:end] = from_channels(pixels[top:end], icc)
    return pixels


def from_channels(values: np.ndarray, icc: bytes | None) -> Pixels:
    """[H, W, 3] uint8 sRGB of grey, RGB or RGBA, 8 or 16 bits; 16 are scaled by their range, opacity is over white."""
    if values.dtype.itemsize == 2:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    alpha = None
    if values.ndim == 3 and values.shape[2] == 4:
        values, alpha = values[..., :3], values[..., 3]
    if icc is not None and not is_srgb(icc):
        image = _apply_profile(Image.fromarray(np.ascontiguousarray(values)), icc)
        values = np.asarray(image.convert("RGB"))
    elif values.ndim == 2:
        values = cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(values) if alpha is None else on_white(values, alpha)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> Pixels:
    """Blend [H, W, 3] uint8 over white by [H, W] uint8 opacity, rounding to nearest."""
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(pixels)
    opacity = alpha[..., None].astype(np.uint16)
    return ((pixels * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def decode_with_opencv(data: bytes) -> np.ndarray | None:
    """Channels as stored, palette and transparency resolved; its PNG reader is libpng, which refuses what is damaged.

    Returns:
        [H, W], [H, W, 3] or [H, W, 4], uint8 or uint16, blue before red; None if the file is not whole.

    Raises:
        MemoryError: if there is not enough.
    """
    try:
        with opencv_memory():
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


@functools.lru_cache(64)
def is_srgb(icc: bytes | None) -> bool:
    """Whether the profile is sRGB's, or none that can be read."""
    if icc is None:
        return True
    try:
        return "srgb" in ImageCms.getProfileDescription(io.BytesIO(icc)).lower()
    except (ImageCms.PyCMSError, *PILLOW_FAULTS):
        return True


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    """First row and end of each."""
    step = max(1, _BAND // max(width, 1))
    return ((top, min(top + step, height)) for top in range(0, height, step))


def _band_from_opencv(values: np.ndarray, icc: bytes | None, transparent: int | None) -> Pixels:
    if values.ndim == 2:
        if transparent is not None:
            values = np.where(values == transparent, np.iinfo(values.dtype).max, values).astype(values.dtype)
        return from_channels(values, icc)
    return from_channels(cv2.cvtColor(values, cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA), icc)


def _band_from_pillow(image: Image.Image, icc: bytes | None) -> Pixels:
    if image.mode.startswith("I;16"):
        return from_channels(np.asarray(image), icc)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        return from_channels(np.asarray(image), icc)
    return np.asarray(_apply_profile(image, icc).convert("RGB"))


def _apply_profile(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc is None or is_srgb(icc):
        return image
    transform = _transform_to_srgb(icc, image.mode)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image, transform)
    return image if converted is None else converted


@functools.lru_cache(64)
def _transform_to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, *PILLOW_FAULTS):
        return None  # made for other channels than the picture has
