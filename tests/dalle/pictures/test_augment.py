"""The views of a picture: ranges of Listings 1 and 2, and the filter against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalle.pictures.augment import cut, draw_crops, dvae_view, enlarge, enlarged_size, shrink_area

SIDES = st.integers(1, 900)
SEEDS = st.integers(0, 2**32)


def picture(height: int, width: int) -> np.ndarray:
    """Red tells the row, green the column, as shares of 255."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // max(height - 1, 1), columns * 255 // max(width - 1, 1), rows * 0], 2).astype(
        np.uint8
    )


def area_by_definition(values: np.ndarray, size: int) -> np.ndarray:
    """TensorFlow's AREA filter with aligned corners along one axis, one output at a time."""
    ratio = (len(values) - 1) / (size - 1)
    means = []
    for index in range(size):
        start, end, total = index * ratio, (index + 1) * ratio, 0.0
        for pixel in range(int(np.floor(start)), int(np.ceil(end))):
            total += max(0.0, min(pixel + 1, end) - max(pixel, start)) * values[min(pixel, len(values) - 1)]
        means.append(total / ratio)
    return np.array(means)


@given(st.integers(2, 60), st.integers(2, 60), SEEDS)
def test_the_filter_is_tensorflows(old: int, new: int, seed: int) -> None:
    """Separable: a picture of one row's profile shrinks along each axis as the definition says."""
    new = min(old, new)
    values = np.random.default_rng(seed).integers(0, 256, old).astype(np.uint8)
    pixels = np.broadcast_to(values[:, None, None], (old, old, 3)).copy()
    expected = area_by_definition(values.astype(float), new) if new < old else values.astype(float)
    down = shrink_area(pixels, new)[:, 0, 0].astype(float)
    across = shrink_area(pixels.transpose(1, 0, 2).copy(), new)[0, :, 1].astype(float)
    assert np.abs(expected - down).max() <= 0.501  # rounded
    assert np.abs(expected - across).max() <= 0.501


def test_the_filter_keeps_a_plain_colour_and_all_of_a_picture() -> None:
    plain = np.full((300, 300, 3), (7, 130, 251), np.uint8)
    assert (shrink_area(plain, 256) == (7, 130, 251)).all()
    ends = shrink_area(picture(400, 400), 300)
    assert (ends[0, 0, 0], ends[-1, -1, 0]) == (0, 255)


@settings(max_examples=25)
@given(st.integers(20, 500), st.integers(20, 500), SEEDS, st.sampled_from([64, 256]))
def test_listing_1_gives_a_window_of_the_right_scale(height: int, width: int, seed: int, resolution: int) -> None:
    """What is seen is 2/3 to 8/9 of the short side where the picture is large enough, and all of it where it is not."""
    pixels = picture(height, width)
    view = dvae_view(pixels, np.random.default_rng(seed), resolution)
    assert view.shape == (resolution, resolution, 3)
    assert view.dtype == np.uint8
    assert np.array_equal(view, dvae_view(pixels, np.random.default_rng(seed), resolution))
    height, width = enlarged_size(height, width, resolution)
    side = min(height, width)
    seen = (int(view[-1, 0, 0]) - int(view[0, 0, 0])) / 255 * (height - 1) / (resolution - 1)  # source rows a pixel
    slack = 6 * height / 255 / (resolution - 1)
    least, most = side / min(side, round(1.5 * resolution)), side / min(side, round(1.125 * resolution))
    assert least - slack <= seen <= most + slack


def test_listing_1_mirrors_half_of_the_views() -> None:
    pixels = picture(80, 80)
    views = [dvae_view(pixels, np.random.default_rng(seed), 64) for seed in range(400)]
    mirrored = sum(int(view[0, 0, 1]) > int(view[0, -1, 1]) for view in views)
    assert 160 < mirrored < 240
    assert not any(int(view[0, 0, 0]) > int(view[-1, 0, 0]) for view in views)


@given(SIDES, SIDES, SEEDS)
def test_listing_2_stays_near_the_centre(height: int, width: int, seed: int) -> None:
    crops = draw_crops(height, width, 3, np.random.default_rng(seed))
    assert crops == draw_crops(height, width, 3, np.random.default_rng(seed))
    height, width = enlarged_size(height, width, 256)
    side = min(height, width)
    for crop in crops:
        assert crop.side == side
        for offset, room in ((crop.top, height - side), (crop.left, width - side)):
            assert 3 * room // 8 <= offset <= max(3 * room // 8, 5 * room // 8 - 1)
        assert 256 <= crop.scaled <= max(256, min(side, 288))
        assert 0 <= min(crop.row, crop.column) <= max(crop.row, crop.column) <= crop.scaled - 256


def test_listing_2_reaches_both_ends_of_its_ranges() -> None:
    crops = draw_crops(416, 320, 4000, np.random.default_rng(0))
    assert {crop.top for crop in crops} == set(range(36, 60))
    assert {crop.scaled for crop in crops} == set(range(256, 289))
    assert max(crop.row for crop in crops) == 32


@given(SIDES, SIDES, SEEDS, st.integers(1, 3))
def test_the_box_lies_in_the_picture(height: int, width: int, seed: int, count: int) -> None:
    for crop in draw_crops(height, width, count, np.random.default_rng(seed)):
        left, top, right, bottom = crop.box(height, width)
        assert -1e-6 <= left < right <= width + 1
        assert -1e-6 <= top < bottom <= height + 1
        assert right - left == pytest.approx(bottom - top)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (300, 500), (700, 400), (60, 90)])
def test_what_is_cut_is_what_the_box_says(height: int, width: int) -> None:
    for crop in draw_crops(height, width, 4, np.random.default_rng(1)):
        pixels = cut(picture(height, width), crop)
        assert pixels.shape == (256, 256, 3)
        left, top, right, bottom = crop.box(height, width)
        rows, columns = pixels[:, 128, 0] / 255 * (height - 1), pixels[128, :, 1] / 255 * (width - 1)
        assert (rows[0], rows[-1]) == pytest.approx((top, bottom), abs=max(4, height / 60))
        assert (columns[0], columns[-1]) == pytest.approx((left, right), abs=max(4, width / 60))


def test_one_crop_is_the_centre_and_draws_nothing() -> None:
    rng = np.random.default_rng(3)
    (crop,) = draw_crops(300, 500, 1, rng)
    assert crop.box(300, 500) == (100, 0, 400, 300)
    assert rng.integers(1 << 30) == np.random.default_rng(3).integers(1 << 30)


def test_small_pictures_are_enlarged_as_little_as_possible() -> None:
    assert enlarge(picture(128, 200), 256).shape == (256, 400, 3)
    large = picture(256, 300)
    assert enlarge(large, 256) is large
    assert enlarged_size(1, 1, 256) == (256, 256)
