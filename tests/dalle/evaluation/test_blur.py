"""The Gaussian of the docstring, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.evaluation.blur import RADII, blurred, gaussian

scipy_ndimage = pytest.importorskip("scipy.ndimage")


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def theirs(pixels: np.ndarray, radius: float) -> np.ndarray:
    sigma = radius * min(pixels.shape[:2]) / 256
    return scipy_ndimage.gaussian_filter(pixels.astype(np.float64), (sigma, sigma, 0), mode="reflect", truncate=4.0)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 999),
    sigma=st.one_of(st.floats(0.01, 40), st.sampled_from([0.1, 0.125, 0.5, 8.0])),
)
def test_any_picture_any_width(height: int, width: int, seed: int, sigma: float) -> None:
    """Also where the filter is wider than the picture, which is mirrored again and again."""
    pixels = picture(height, width, seed)
    expected = scipy_ndimage.gaussian_filter(pixels.astype(np.float64), (sigma, sigma, 0), mode="reflect", truncate=4.0)
    assert np.abs(expected - gaussian(pixels.astype(np.float32), sigma)).max() < 2e-3


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("shape", [(256, 256), (96, 130)])
def test_the_radii_of_figure_9(radius: float, shape: tuple[int, int]) -> None:
    """In pixels of a picture of 256, rounded to 8 bits; 0 changes nothing."""
    pixels = picture(*shape, 7)
    expected, found = theirs(pixels, radius), blurred(pixels, radius)
    assert np.uint8 == found.dtype
    assert np.abs(expected - found).max() <= 0.502
    assert np.array_equal(pixels, found) == (radius == 0)


def test_samples_and_larger_references_lose_the_same() -> None:
    """A picture four times as large, blurred, is the picture blurred, four times as large."""
    small = picture(64, 64, 1)
    small = blurred(small, 8)  # without what no larger picture could have
    large = small.repeat(4, 0).repeat(4, 1)
    again = blurred(large, 4).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(again - blurred(small, 4)).mean() < 1.0
