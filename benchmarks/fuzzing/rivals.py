"""Readers of pictures beside each other, for `benchmarks/decoders.py`: what they take and what they make of damage."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from dalle.pictures.images import UndecodableImage, decode

SIDES = (2400, 1600)
"""Of the picture that is measured, in pixels."""
_TINY = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def by_opencv(data: bytes) -> Any:
    """The whole file, whatever is in it."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)


def by_pillow(data: bytes) -> Any:
    """The whole file; of an animation the first frame."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


RIVALS: dict[str, Callable[[bytes], Any]] = {"ours": decode, "opencv": by_opencv, "pillow": by_pillow}


def cost(data: bytes, *, who: str) -> tuple[Any, bytes]:
    """In a new process: nanoseconds and bytes a pixel."""
    RIVALS[who](_TINY)  # loads what it needs
    _RESET.write_text("5")
    before, begun = _bytes("VmRSS"), time.process_time()
    if RIVALS[who](data) is None:
        return None, b""
    spent, took = time.process_time() - begun, _bytes("VmHWM") - before
    area = SIDES[0] * SIDES[1]
    return [1e9 * spent / area, took / area], b""


def outcome(data: bytes, *, who: str) -> tuple[Any, bytes]:
    """Whether a damaged file is decoded."""
    try:
        return ("decoded" if RIVALS[who](data) is not None else "refused"), b""
    except MemoryError:
        raise
    except UndecodableImage as error:
        return ("too much memory, by its header" if error.reason == "decoder-memory" else "refused"), b""
    except Exception:  # noqa: BLE001  the rivals have their own words for it
        return "refused", b""


def _bytes(name: str) -> int:
    return next(1024 * int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(name))
