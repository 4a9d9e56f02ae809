"""Any colour model to 8-bit sRGB: profiles, inks, opacity, and depths above eight bits."""

from __future__ import annotations

import functools
import io

import cv2
import numpy as np
from PIL import Image, ImageCms

PILLOW_FAULTS = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError)
"""What Pillow's parsers raise on damaged files; each has been seen (tests/dalle/pictures/test_images.py)."""


def from_pillow(image: Image.Image, icc: bytes | None) -> np.ndarray:
    """[H, W, 3] uint8 sRGB of a loaded picture of any of Pillow's 8- and 16-bit modes."""
    if image.mode.startswith("I;16"):
        return from_channels(np.asarray(image), icc)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        return from_channels(np.asarray(image), icc)
    return np.ascontiguousarray(_apply_profile(image, icc).convert("RGB"))


def from_channels(values: np.ndarray, icc: bytes | None) -> np.ndarray:
    """[H, W, 3] uint8 sRGB of grey, RGB or RGBA, 8 or 16 bits; 16 are scaled by their range, opacity is over white."""
    if values.dtype.itemsize == 2:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    alpha = None
    if values.ndim == 3 and values.shape[2] == 4:
        values, alpha = values[..., :3], values[..., 3]
    image = _apply_profile(Image.fromarray(np.ascontiguousarray(values)), icc)
    pixels = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(pixels) if alpha is None else on_white(pixels, alpha)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend [H, W, 3] uint8 over white by [H, W] uint8 opacity, rounding to nearest."""
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(pixels)
    opacity = alpha[..., None].astype(np.uint16)
    return ((pixels * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def decode_with_opencv(data: bytes) -> np.ndarray | None:
    """Channels as stored, palette and transparency resolved; its PNG reader is libpng, which refuses what is damaged.

    Returns:
        [H, W], [H, W, 3] or [H, W, 4], uint8 or uint16, RGB order; None if the file is not whole.
    """
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if values is None or values.ndim == 2:
        return values
    return cv2.cvtColor(values, cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


@functools.lru_cache(64)
def is_srgb(icc: bytes | None) -> bool:
    """Whether the profile is sRGB's, or none that can be read."""
    if icc is None:
        return True
    try:
        return "srgb" in ImageCms.getProfileDescription(io.BytesIO(icc)).lower()
    except (ImageCms.PyCMSError, *PILLOW_FAULTS):
        return True


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
