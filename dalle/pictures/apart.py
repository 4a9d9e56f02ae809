"""Pictures that others put somewhere, decoded in a process of their own: one that ends its decoder is refused.

For folders of pictures, reference sets and whatever else did not go through `pipelines.ingest`, whose stored pictures
its own encoder wrote. Pixels come back through memory that both processes share.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from dalle.pictures.faults import UndecodableImage
from dalle.pictures.images import MAX_PIXELS, memory_allowed, open_picture
from dalle.pictures.pixels import Pixels
from dalle.sandbox import Answer, Limits, one_by_one

T = TypeVar("T")

_SECONDS = 30
"""Of the processor, for 100 megapixels or less; the slowest picture that was seen takes five."""
_ROOM = 48 << 20
"""Bytes beyond what a picture may take, for what decoders keep and for a heap's holes."""


def picture_limits(max_pixels: int) -> Limits:
    """What a process that decodes pictures of so many pixels may take."""
    return Limits(memory=memory_allowed(max_pixels) + _ROOM, seconds=max(_SECONDS, _SECONDS * max_pixels // 10**8))


def decode_apart(
    pictures: Iterable[tuple[T, bytes]], at_least: int = 0
) -> Iterator[tuple[T, Pixels | UndecodableImage]]:
    """The pixels of pictures, or what is wrong with them, in their order; the next are decoded while one is looked at.

    Args:
        pictures: each with what it is called.
        at_least: see `dalle.pictures.images.Picture.pixels`.

    Raises:
        WorkersDie: if decoding processes end, and not because of a picture.
    """
    function = functools.partial(_decoded, at_least=at_least)
    for name, answer in one_by_one(function, picture_limits(MAX_PIXELS), pictures):
        yield name, _pixels(answer)


def _decoded(data: bytes, *, at_least: int) -> tuple[dict[str, Any], memoryview | bytes]:
    """In the other process."""
    try:
        pixels = open_picture(data).pixels(at_least)
    except UndecodableImage as error:
        return {"why": [error.reason, str(error)]}, b""
    return {"shape": pixels.shape}, np.ascontiguousarray(pixels).data.cast("B")


def _pixels(answer: Answer) -> Pixels | UndecodableImage:
    if answer.fault:
        return UndecodableImage(f"decoder-{answer.fault}", f"decoding it: {answer.message}, also alone")
    if answer.raised:
        return UndecodableImage("unexpected", answer.raised)
    if "why" in answer.value:
        return UndecodableImage(*answer.value["why"])
    return np.frombuffer(bytearray(answer.data), np.uint8).reshape(answer.value["shape"])
