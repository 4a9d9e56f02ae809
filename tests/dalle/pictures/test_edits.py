"""Edits: plain functions of pixels, strength and generator, each of which leaves a picture that is still a copy."""

import hashlib

import cv2
import numpy as np
import pytest

from dalle.pictures.edits import EDITS, SINGLE
from dalle.pictures.overlays import picture_in_picture, side_by_side

CASES = [(name, strength) for name, edit in EDITS.items() for strength in edit.strengths]


def picture(height: int = 144, width: int = 192) -> np.ndarray:
    """Smooth colours with a few hard edges."""
    coarse = np.random.default_rng(7).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels[height // 4 : height // 2, width // 3 : width // 2] = (200, 30, 40)
    return pixels


def test_there_are_at_least_25_kinds_in_several_strengths() -> None:
    """The benchmark's promise."""
    assert len(EDITS) >= 25
    one_way = {name for name, edit in EDITS.items() if len(edit.strengths) == 1}
    assert one_way == {"mirror", "grey"}


@pytest.mark.parametrize(("name", "strength"), CASES)
def test_an_edit_gives_new_pixels_and_leaves_its_argument_alone(name: str, strength: float) -> None:
    """uint8 RGB of at least 8 pixels a side, something changed, the argument did not."""
    pixels = picture()
    edited = EDITS[name].apply(pixels, strength, np.random.default_rng(1))
    assert edited.dtype == np.uint8
    assert edited.ndim == 3
    assert edited.shape[2] == 3
    assert min(edited.shape[:2]) >= 8
    assert edited.shape != pixels.shape or not np.array_equal(edited, pixels)
    assert np.array_equal(pixels, picture())


@pytest.mark.parametrize("name", EDITS)
def test_the_same_generator_state_gives_the_same_bytes(name: str) -> None:
    """Planted copies and benchmarks can be made again, byte for byte."""
    edit = EDITS[name]
    once, again = (edit.apply(picture(), edit.strengths[-1], np.random.default_rng(3)) for _ in range(2))
    assert hashlib.sha256(once).hexdigest() == hashlib.sha256(again).hexdigest()


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 90), (200, 31)])
def test_small_and_narrow_pictures_can_be_edited(name: str, height: int, width: int) -> None:
    """No edit needs more than 16 pixels a side."""
    edit = EDITS[name]
    for strength in edit.strengths:
        edited = edit.apply(picture(height, width), strength, np.random.default_rng(5))
        assert min(edited.shape[:2]) >= 1


@pytest.mark.parametrize("area", [0.95, 0.7, 0.4])
def test_a_crop_keeps_the_area_it_says(area: float) -> None:
    """The strength is a fraction of the area."""
    cropped = EDITS["crop"].apply(picture(300, 400), area, np.random.default_rng(0))
    assert cropped.shape[0] * cropped.shape[1] == pytest.approx(area * 300 * 400, rel=0.02)


def test_mirroring_twice_is_the_picture() -> None:
    """An involution."""
    rng = np.random.default_rng(0)
    mirror = EDITS["mirror"].apply
    assert np.array_equal(mirror(mirror(picture(), 1, rng), 1, rng), picture())


def test_grey_has_three_equal_channels() -> None:
    """Black and white, still RGB."""
    grey = EDITS["grey"].apply(picture(), 1, np.random.default_rng(0))
    assert int(np.ptp(grey.astype(int), axis=2).max()) <= 1


@pytest.mark.parametrize("name", ["border", "letterbox", "blurred-border", "meme", "screenshot", "side-by-side"])
def test_what_is_put_around_a_picture_leaves_it_whole(name: str) -> None:
    """The picture is found inside, pixel for pixel."""
    pixels = picture()
    for strength in EDITS[name].strengths:
        edited = EDITS[name].apply(pixels, strength, np.random.default_rng(2))
        difference = cv2.matchTemplate(edited, pixels, cv2.TM_SQDIFF)
        assert difference.min() == pytest.approx(0, abs=1)


@pytest.mark.parametrize("edit", [picture_in_picture, side_by_side])
def test_another_picture_can_be_given(edit) -> None:
    """Red all over beside the picture, where red was given."""
    red = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    edited = edit(np.zeros((60, 60, 3), np.uint8), 0.5, np.random.default_rng(0), backdrop=red)
    assert {(0, 0, 0), (255, 0, 0)} == {tuple(colour) for colour in edited.reshape(-1, 3).tolist()}


def test_a_combination_is_made_of_single_edits() -> None:
    """Combinations do not nest."""
    assert not {"combine", "repost", "rephotograph", "photo-filter"} & set(SINGLE)
