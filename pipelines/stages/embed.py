"""Pictures' bytes to unit vectors, by any detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dalle.detectors import Embedder, embed_all
from dalle.detectors.views import VIEWS
from dalle.pictures.images import UndecodableImage, open_picture
from dalle.pictures.pixels import Pixels


def embed(detector: Embedder, pictures: Iterable[tuple[str, bytes]], views: tuple[str, ...] = ("whole",)) -> np.ndarray:
    """The vectors of encoded pictures.

    Args:
        detector: what makes them.
        pictures: where each is, for messages, and its bytes.
        views: names in `dalle.detectors.views` of the parts of a picture that are embedded.

    Returns:
        [N, V, D] float32 of unit length.

    Raises:
        ValueError: naming a picture that cannot be decoded, or of which the detector gives no unit vector.
    """
    names: list[str] = []
    looked_at = _looked_at(detector, pictures, views, names)
    vectors = embed_all(detector, looked_at, lambda number: names[number // len(views)])
    return vectors.reshape(-1, len(views), detector.dimension)


def _looked_at(
    detector: Embedder, pictures: Iterable[tuple[str, bytes]], views: tuple[str, ...], names: list[str]
) -> Iterator[Pixels]:
    """The views of each picture; what they are called is appended to `names`."""
    for where, data in pictures:
        names.append(where)
        try:
            pixels = open_picture(data).pixels(detector.least_side)
        except UndecodableImage as error:
            raise ValueError(
                f"{where}: cannot be decoded ({error.reason}: {error}); repair it or take it out"
            ) from None
        for view in views:
            yield VIEWS[view](pixels)
