"""What is wrong with a picture's bytes: one exception, and what the readers' own become."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator

import cv2

PILLOW_FAULTS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, RuntimeError),
    *(AttributeError, AssertionError, struct.error),
)
"""What Pillow's parsers raise on damaged files; each has been seen (tests/dalle/pictures, benchmarks/fuzz.py).

Not MemoryError: a header's sizes are checked before anything is allocated, so memory that runs out says nothing of the
file that can be relied on, and whoever gave the memory decides.
"""


_NO_MEMORY = ("out of memory", "insufficient memory", "not enough memory", "memory allocation", "cannot allocate")
_LONGEST = 500
"""Characters of a message; readers quote files, which may be all of one value."""


class UndecodableImage(ValueError):
    """No picture can be had from these bytes."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…")
        self.reason = reason
        """One of the words of the stage `decode` in `schemas.reasons`."""


@contextlib.contextmanager
def told_as_ours() -> Iterator[None]:
    """What Pillow raises inside the block is raised as `UndecodableImage`; what it warns of is not said.

    Raises:
        MemoryError: if that is what it says.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except UndecodableImage:
        raise
    except PILLOW_FAULTS as error:
        raise fault(str(error) or type(error).__name__) from None


@contextlib.contextmanager
def opencv_memory() -> Iterator[None]:
    """Memory that runs out in OpenCV inside the block is a `MemoryError`, as everywhere."""
    try:
        yield
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from None
        raise


def fault(message: str) -> UndecodableImage | MemoryError:
    """`truncated` or `corrupt`, by what a decoder says; or that there was not the memory it wanted."""
    if any(words in message.lower() for words in _NO_MEMORY):
        return MemoryError(message[:_LONGEST])
    early = "remature end" in message or "truncated" in message
    return UndecodableImage("truncated" if early else "corrupt", message)
