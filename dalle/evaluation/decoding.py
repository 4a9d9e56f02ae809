"""Pictures' bytes to the pixels that the tools see, in a process of their own.

Unlike `dalle.pictures.images` this is Pillow and `convert("RGB")`, no profile applied and nothing turned upright: so
the numbers are those of pytorch-fid, torch-fidelity and clean-fid, which all read so. Pictures that our own jobs stored
look the same both ways. What is no picture, or too large, is refused before Pillow sees it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from dalle.pictures.apart import picture_limits
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.images import MAX_PIXELS, open_picture
from dalle.pictures.pixels import Pixels
from dalle.sandbox import Answer, one_by_one

T = TypeVar("T")

_FAULTS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError)
"""What Pillow raises on bytes that are no whole picture."""


def decode_as_tools_do(pictures: Iterable[tuple[T, bytes]]) -> Iterator[tuple[T, Pixels | str]]:
    """The pixels of pictures, [H, W, 3] uint8, or why there are none, in their order.

    Raises:
        WorkersDie: if decoding processes end, and not because of a picture.
    """
    for name, answer in one_by_one(_decoded, picture_limits(MAX_PIXELS), pictures):
        yield name, _pixels(answer)


def _decoded(data: bytes) -> tuple[dict[str, Any], memoryview | bytes]:
    """In the other process."""
    try:
        picture = open_picture(data)
        picture.check_memory(picture.memory())
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            pixels = np.asarray(image.convert("RGB"))
    except UndecodableImage as error:
        return {"why": str(error)}, b""
    except _FAULTS as error:
        return {"why": f"Pillow: {error}"}, b""
    return {"shape": pixels.shape}, np.ascontiguousarray(pixels).data.cast("B")


def _pixels(answer: Answer) -> Pixels | str:
    if answer.fault:
        return f"decoding it: {answer.message}"
    if answer.raised:
        return answer.raised
    if "why" in answer.value:
        return str(answer.value["why"])
    return np.frombuffer(bytearray(answer.data), np.uint8).reshape(answer.value["shape"])
