"""Others' pictures: folders and reference sets are decoded where one that ends its decoder ends nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dalle.detectors import load_detector
from dalle.pictures import apart
from dalle.pictures.apart import decode_apart
from dalle.pictures.folders import read_picture, read_pictures
from dalle.pictures.images import UndecodableImage, decode
from dalle.pictures.thumbnails import side_decoded_for, thumbnail, thumbnail_of
from dalle.scenes import compose, draw
from pipelines.stages.embed import embed
from tests.dalle.pictures.files import SCENE, saved


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders have a tenth of a second, which a large picture takes longer than: its processes really die."""
    monkeypatch.setattr(apart, "_SECONDS", 0.1)


def slow() -> bytes:
    return saved(np.tile(SCENE, (60, 60, 1)), "PNG", compress_level=1)


def test_pixels_come_in_order_and_are_those_of_this_process() -> None:
    """Bit for bit, of every size; what is no picture says so in its place; they may be written to."""
    files = [
        saved(np.ascontiguousarray(draw(compose(n, 40 + n, 30))), kind)
        for n, kind in enumerate(["PNG", "JPEG", "WEBP", "GIF", "BMP"] * 8)
    ]
    files[7] = b"<html>"
    for number, pixels in decode_apart(enumerate(files)):
        if number == 7:
            assert isinstance(pixels, UndecodableImage)
            assert ("not-an-image", "the bytes are a web page") == (pixels.reason, str(pixels))
        else:
            assert isinstance(pixels, np.ndarray)
            assert np.array_equal(decode(files[number]), pixels)
            pixels[0, 0] = 0


@pytest.mark.usefixtures("hasty")
def test_one_that_ends_its_decoder_is_refused_in_its_place() -> None:
    """And those around it are decoded."""
    files = [saved(SCENE, "PNG"), slow(), saved(SCENE, "JPEG")]
    first, second, third = (pixels for _, pixels in decode_apart(enumerate(files)))
    assert np.array_equal(SCENE, np.asarray(first))
    assert np.array_equal(decode(files[2]), np.asarray(third))
    assert isinstance(second, UndecodableImage)
    assert "decoder-time" == second.reason


@pytest.mark.usefixtures("hasty")
def test_a_training_names_the_file(tmp_path: Path) -> None:
    """Instead of ending without a word."""
    files = [tmp_path / f"{n}.png" for n in range(3)]
    for file, data in zip(files, (saved(SCENE, "PNG"), slow(), saved(SCENE, "PNG")), strict=True):
        file.write_bytes(data)
    pictures = read_pictures(files)
    assert np.array_equal(SCENE, next(pictures))
    with pytest.raises(
        ValueError, match=r"1\.png: cannot be decoded as a picture .*processor time.*; put a whole one there"
    ):
        next(pictures)
    assert np.array_equal(SCENE, read_picture(files[2]))


@pytest.mark.usefixtures("hasty")
def test_a_reference_set_names_the_picture() -> None:
    """And the same vectors come of the others as of pictures of our own."""
    detector = load_detector("phash")
    own = [("a", saved(SCENE, "PNG")), ("b", saved(SCENE[::-1].copy(), "JPEG"))]
    assert np.array_equal(embed(detector, own), embed(detector, own, foreign=True))
    with pytest.raises(ValueError, match=r"reference c: cannot be decoded .decoder-time"):
        embed(detector, [*own, ("reference c", slow())], foreign=True)


@pytest.mark.parametrize("most", [16_000, 3_000, 400])
def test_thumbnails_of_references_are_those_of_pictures(most: int) -> None:
    """Whichever process decoded them."""
    data = saved(np.ascontiguousarray(draw(compose(3, 700, 500))), "JPEG")
    ((_, pixels),) = decode_apart([(0, data)], side_decoded_for(most))
    assert isinstance(pixels, np.ndarray)
    assert thumbnail(data, most) == thumbnail_of(pixels, most)
