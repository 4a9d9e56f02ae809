"""PSNR and SSIM against their definitions, window by window."""

import numpy as np
import pytest

from dalle.evaluation.fidelity import psnr, ssim

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (16, 18, 3)).astype(np.uint8)
OTHER = np.clip(PICTURE + RNG.normal(0, 30, PICTURE.shape), 0, 255).astype(np.uint8)


def test_psnr_is_its_definition() -> None:
    assert psnr(PICTURE, PICTURE) == float("inf")
    assert psnr(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)) == 0
    assert psnr(np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 110, np.uint8)) == pytest.approx(28.13, abs=0.01)


def test_ssim_is_its_definition() -> None:
    """Wang et al. 2004, eq. 13, with weighted sums in plain loops."""
    ramp = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weight = np.outer(ramp, ramp) / ramp.sum() ** 2
    values = []
    for row in range(6):
        for column in range(8):
            for channel in range(3):
                x, y = (p[row : row + 11, column : column + 11, channel].astype(float) for p in (PICTURE, OTHER))
                mx, my = (weight * x).sum(), (weight * y).sum()
                vx, vy = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum()
                both = (weight * (x - mx) * (y - my)).sum()
                c1, c2 = 2.55**2, 7.65**2
                values.append((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    assert ssim(PICTURE, OTHER) == pytest.approx(np.mean(values))
    assert ssim(PICTURE, PICTURE) == pytest.approx(1)
