"""How close a reconstruction is to its picture: PSNR and SSIM."""

from __future__ import annotations

import cv2
import numpy as np

WINDOW = 11
"""Side of the windows that are compared, weighted by a Gaussian of 1.5 pixels (Wang et al. 2004)."""


def psnr(picture: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 pictures of one size, over all pixels and channels."""
    error = np.mean((picture.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(picture: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity, at most 1, of two uint8 pictures [H, W, 3]: mean over channels and whole windows."""
    x, y = picture.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _windows(x), _windows(y)
    var_x, var_y = _windows(x * x) - mean_x**2, _windows(y * y) - mean_y**2
    covariance = _windows(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((luminance * structure).mean())


def _windows(values: np.ndarray) -> np.ndarray:
    """Weighted means of all windows that lie inside."""
    means = cv2.GaussianBlur(values, (WINDOW, WINDOW), 1.5)
    edge = WINDOW // 2
    return means[edge:-edge, edge:-edge]
