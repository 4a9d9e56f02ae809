"""The run lengths of BMP: bytes to indices of colours."""

from __future__ import annotations

import numpy as np

from dalle.pictures.faults import UndecodableImage

_END_OF_ROW, _END, _MOVE = 0, 1, 2


def unpacked(data: bytes, bits: int, width: int, height: int) -> np.ndarray:
    """The indices of a picture whose rows are packed as runs.

    Args:
        data: the runs.
        bits: of an index, 4 or 8.
        width, height: in pixels; what runs beyond a row is cut off.

    Returns:
        [height, width] uint8, in the order of the file.

    Raises:
        UndecodableImage: if pixels are left out, which readers show in different colours, or the data end too early.
    """
    indices = np.zeros((height, width), np.uint8)
    at = x = y = written = 0
    ended = False
    while y < height and at + 2 <= len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            some: np.ndarray | int = value if bits == 8 or value >> 4 == value & 15 else _nibbles(bytes([value]), count)
            some = some & 15 if bits == 4 and isinstance(some, int) else some
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        elif value == _END:
            ended = True
            break
        elif value == _MOVE:
            x, y = x + int.from_bytes(data[at : at + 1]), y + int.from_bytes(data[at + 1 : at + 2])
            at += 2
            continue
        else:
            count, size = value, value if bits == 8 else (value + 1) // 2
            literal = data[at : at + size]
            if len(literal) < size:
                break
            some = np.frombuffer(literal, np.uint8) if bits == 8 else _nibbles(literal, count)
            at += size + size % 2
        room = max(0, min(count, width - x))
        indices[y, x : x + room] = some if isinstance(some, int) else some[:room]
        x, written = x + count, written + room
    if written < width * height:
        message = f"a run-length encoded BMP that leaves out {width * height - written} of its pixels"
        raise UndecodableImage("unsupported" if ended else "truncated", message)
    return indices


def _nibbles(data: bytes, count: int) -> np.ndarray:
    """The first `count` half bytes, from the first again where there are too few."""
    packed = np.frombuffer(data, np.uint8)
    return np.resize(np.stack([packed >> 4, packed & 15], axis=1).ravel(), count)
