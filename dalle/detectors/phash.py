"""The perceptual hash: which of the 64 slowest waves of a small grey picture are stronger than their median."""

import cv2
import numpy as np
from PIL import Image

from dalle.pictures.pixels import Pixels

FIRST = np.where(np.arange(8) == 0, 2**0.5, 1)
UNSCALED = np.outer(FIRST, FIRST)  # OpenCV's transform is orthonormal, that of imagehash is not


class PHash:
    """64 bits as a vector of +-1/8, so that cosine = 1 - bits that differ / 32.

    The same bits as `imagehash.phash`. Survives re-encoding, scaling, grey and blur; not crops, mirrors, borders.
    """

    name = "phash"
    fingerprint = "phash-64-v1"
    dimension = 64
    threshold = 0.6875  # at most 10 bits differ
    views: tuple[str, ...] = ("whole", "centre", "mirror", "centre-mirror")
    least_side = 64
    batch = 256

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[32, 32] grey."""
        return np.asarray(Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.LANCZOS))

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[B, 32, 32] uint8 to [B, 64]."""
        slow = np.stack([cv2.dct(grey.astype(np.float64))[:8, :8] for grey in prepared]) * UNSCALED
        slow = slow.reshape(-1, 64)
        bits = slow > np.median(slow, axis=1, keepdims=True)
        return np.where(bits, np.float32(0.125), np.float32(-0.125))
