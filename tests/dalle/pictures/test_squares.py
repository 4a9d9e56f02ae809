"""Squares of pictures as open_clip's models see them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from dalle.pictures.squares import centre_square, drawn_square

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.integers(1, 64), st.integers(0, 99))
def test_the_centre_is_open_clips_to_the_bit(height: int, width: int, side: int, seed: int) -> None:
    """Of any shape, enlarged or shrunk; open_clip then divides by 255."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    transform = image_transform_v2(PreprocessCfg(size=side, mean=(0, 0, 0), std=(1, 1, 1)), is_train=False)
    expected = transform(Image.fromarray(pixels))
    square = centre_square(pixels, side)
    assert (side, side, 3) == square.shape
    assert torch.equal(expected, torch.from_numpy(square.transpose(2, 0, 1).copy()) / 255)


@given(SIDES, SIDES, st.integers(1, 64), st.floats(0, 1), st.integers(0, 99))
def test_a_drawn_square_is_in_the_picture(height: int, width: int, side: int, area: float, seed: int) -> None:
    """Of any shape; the same from the same generator, and never mirrored or squashed."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows, columns, np.full_like(rows, 255)], axis=2).astype(np.uint8)
    square, again = (drawn_square(pixels, np.random.default_rng(seed), side, area) for _ in range(2))
    assert (side, side, 3) == square.shape
    assert np.array_equal(square, again)
    assert (square[:, :, 2] == 255).all()
    assert (np.diff(square[:, :, 0].astype(int), axis=0) >= 0).all()
    assert (np.diff(square[:, :, 1].astype(int), axis=1) >= 0).all()
