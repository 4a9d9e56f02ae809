"""Features are computed once for a picture, go on after a kill, and come from any source in its order."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalle.evaluation import features as room
from dalle.evaluation.blur import blurred
from dalle.evaluation.features import FeatureSet, features_of
from dalle.evaluation.store import Store
from schemas.folder import Folder


class Means:
    """Mean colours, and how often it was asked."""

    name, fingerprint, dimension, batch = "means", "means-1", 3, 4

    def __init__(self) -> None:
        self.pictures = 0

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        self.pictures += 1
        return pixels.reshape(-1, 3).mean(0)

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        assert (self.batch, 3) == prepared.shape, "batches always have one size"
        return prepared.astype(np.float32)


class Some:
    """A source in memory: bytes of PNGs, or pixels as a generator has them."""

    name, kind, lineage = "some", "memory", ()

    def __init__(self, pictures: Sequence[np.ndarray], *, as_pixels: bool = False, dies_at: int = 10**9) -> None:
        self._pictures, self._as_pixels, self._dies_at = pictures, as_pixels, dies_at

    def __len__(self) -> int:
        return len(self._pictures)

    def ids(self) -> Sequence[str]:
        return [f"{number}.png" for number in range(len(self))]

    def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
        for number, pixels in enumerate(self._pictures):
            if number == self._dies_at:
                raise KeyboardInterrupt
            yield f"{number}.png", pixels if self._as_pixels else png(pixels)


def png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "png")
    return data.getvalue()


def drawn(count: int) -> list[np.ndarray]:
    return [
        np.random.default_rng(seed).integers(0, 256, (9 + seed % 5, 8, 3)).astype(np.uint8) for seed in range(count)
    ]


def found(source: Some, folder: Path, extractor: Means | None = None, radius: float = 0.0) -> FeatureSet:
    extractor = extractor or Means()
    return features_of(source, extractor, Store(Folder(folder), extractor, radius), radius, lambda *_: None)


def expected(pictures: Sequence[np.ndarray], radius: float = 0.0) -> np.ndarray:
    return np.stack([blurred(p, radius).reshape(-1, 3).mean(0) for p in pictures]).astype(np.float32)


@pytest.mark.parametrize("as_pixels", [True, False])
@pytest.mark.parametrize("radius", [0.0, 40.0])
def test_in_the_order_of_the_source(as_pixels: bool, radius: float, tmp_path: Path) -> None:
    """Of files, and of what a generator draws; rows in any order."""
    pictures = drawn(11)
    features = found(Some(pictures, as_pixels=as_pixels), tmp_path, radius=radius)
    assert [f"{number}.png" for number in range(11)] == features.ids
    order = np.array([7, 0, 10, 7])
    assert np.allclose(expected(pictures, radius)[order], features.rows(order), atol=1e-4)


def test_a_picture_is_computed_once(tmp_path: Path) -> None:
    """Whatever it is called, in this run and the next; another blur is another picture."""
    pictures = drawn(6)
    first, second, third = Means(), Means(), Means()
    found(Some([*pictures, *pictures[:3]]), tmp_path, first)
    again = found(Some([pictures[4], *drawn(8)]), tmp_path, second)
    assert (6, 2) == (first.pictures, second.pictures)
    assert np.array_equal(expected([pictures[4], *drawn(8)]), again.rows(np.arange(9)))
    found(Some(pictures), tmp_path, third, radius=30.0)
    assert 6 == third.pictures


@pytest.mark.parametrize("dies_at", [0, 3, 9, 13])
def test_a_run_that_was_stopped_goes_on(dies_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same features; what lies on disk is not computed again, and nothing half-written counts."""
    monkeypatch.setattr(room, "PIECE", 4)
    pictures = drawn(14)
    with pytest.raises(KeyboardInterrupt):
        found(Some(pictures, as_pixels=True, dies_at=dies_at), tmp_path)
    rest = Means()
    features = found(Some(pictures), tmp_path / "other")
    again = found(Some(pictures, as_pixels=True), tmp_path, rest)
    assert 14 - dies_at // 4 * 4 == rest.pictures
    assert np.array_equal(features.rows(np.arange(14)), again.rows(np.arange(14)))


@pytest.mark.parametrize("damage", ["cut", "bit", "gone", "note", "strange note"])
def test_a_damaged_piece_does_not_count(damage: str, tmp_path: Path) -> None:
    """It is computed anew, to the same numbers."""
    pictures = drawn(5)
    found(Some(pictures), tmp_path)
    (numbers,), (note,) = tmp_path.rglob("*.npy"), tmp_path.rglob("*.json")
    data = numbers.read_bytes()
    if damage == "cut":
        numbers.write_bytes(data[:-1])
    elif damage == "bit":
        numbers.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "gone":
        numbers.unlink()
    else:
        note.write_text("{" if damage == "note" else '{"pictures": ["../../etc"], "sha256": "0"}')
    extractor = Means()
    features = found(Some(pictures), tmp_path, extractor)
    assert 5 == extractor.pictures
    assert np.array_equal(expected(pictures), features.rows(np.arange(5)))


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    """Wherever it stands, and as often as it is there."""

    class Broken(Some):
        def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
            for name, data in super().pictures():
                yield name, data
                yield f"broken-{name}", b"no picture"

    pictures = drawn(3)
    features = found(Broken(pictures), tmp_path)
    assert ["0.png", "1.png", "2.png"] == features.ids
    assert ["broken-0.png", "broken-1.png", "broken-2.png"] == [name for name, _ in features.unreadable]
    assert all(why for _, why in features.unreadable)
    assert np.array_equal(expected(pictures), features.rows(np.arange(3)))


def test_pixels_are_those_that_pillow_gives(data: Path, tmp_path: Path) -> None:
    """As the tools read them, of real photographs, turned ones and ones with profiles included."""
    files = [*sorted((data / "coco_val2017").glob("*.jpg"))[:6], *sorted((data / "flickr8k").glob("*.jpg"))[:6]]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(files[0]).save(tmp_path / "turned.jpg", exif=exif)
    files.append(tmp_path / "turned.jpg")
    from dalle.evaluation.decoding import decode_as_tools_do

    for path, pixels in decode_as_tools_do((path, path.read_bytes()) for path in files):
        assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), pixels), path


def test_memory_does_not_grow_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture costs its id and its sha256, some hundred bytes; features are on disk."""
    monkeypatch.setattr(room, "PIECE", 8)

    class Wide(Means):
        dimension = 4096

        def embed(self, prepared: np.ndarray) -> np.ndarray:
            return np.zeros((self.batch, self.dimension), np.float32) + prepared[:, :1]

    class Endless(Some):
        def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
            for number in range(len(self)):
                yield (
                    f"{number}",
                    np.full((32, 32, 3), 0, np.uint8) + np.array([number % 256, number // 256, 0], np.uint8),
                )

    peaks = []
    for count in (64, 512):
        tracemalloc.start()
        found(Endless([np.zeros(0)] * count), tmp_path / str(count), Wide())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 448 * 2048, "an eighth of the features"


def test_fingerprints_are_of_ids_and_pictures(tmp_path: Path) -> None:
    one, same = found(Some(drawn(3)), tmp_path), found(Some(drawn(3)), tmp_path / "other")
    assert one.fingerprint == same.fingerprint != found(Some(drawn(4)), tmp_path).fingerprint
    assert hashlib.sha256(png(drawn(1)[0])).digest() == one.digests[0]
