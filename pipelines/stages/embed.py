"""Pictures' bytes to unit vectors, by any detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dalle.detectors import Embedder, embed_all
from dalle.detectors.views import VIEWS
from dalle.pictures.apart import decode_apart
from dalle.pictures.images import UndecodableImage, open_picture
from dalle.pictures.pixels import Pixels


def embed(
    detector: Embedder,
    pictures: Iterable[tuple[str, bytes]],
    views: tuple[str, ...] = ("whole",),
    *,
    foreign: bool = False,
) -> np.ndarray:
    """The vectors of encoded pictures.

    Args:
        detector: what makes them.
        pictures: where each is, for messages, and its bytes.
        views: names in `dalle.detectors.views` of the parts of a picture that are embedded.
        foreign: whether the pictures are others' and not our own encoder's, and are decoded in a process of their own.

    Returns:
        [N, V, D] float32 of unit length.

    Raises:
        ValueError: naming a picture that cannot be decoded, or of which the detector gives no unit vector.
    """
    decoded = decode_apart(pictures, detector.least_side) if foreign else _decoded(pictures, detector.least_side)
    names: list[str] = []
    looked_at = _looked_at(decoded, views, names)
    vectors = embed_all(detector, looked_at, lambda number: names[number // len(views)])
    return vectors.reshape(-1, len(views), detector.dimension)


def _decoded(pictures: Iterable[tuple[str, bytes]], at_least: int) -> Iterator[tuple[str, Pixels | UndecodableImage]]:
    for where, data in pictures:
        try:
            yield where, open_picture(data).pixels(at_least)
        except UndecodableImage as error:
            yield where, error


def _looked_at(
    pictures: Iterable[tuple[str, Pixels | UndecodableImage]], views: tuple[str, ...], names: list[str]
) -> Iterator[Pixels]:
    """The views of each picture; what they are called is appended to `names`."""
    for where, pixels in pictures:
        names.append(where)
        if isinstance(pixels, UndecodableImage):
            raise ValueError(f"{where}: cannot be decoded ({pixels.reason}: {pixels}); repair it or take it out")
        for view in views:
            yield VIEWS[view](pixels)
