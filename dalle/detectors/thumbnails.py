"""Any picture to the small square that the built-in detector looks at, with plain borders cut off."""

import cv2
import numpy as np

from dalle.pictures.pixels import Pixels

TOLERANCE = 14  # grey levels; JPEG at quality 15 moves a plain border by less
LEAST = 0.2  # never cut a side to less than this fraction: then it is no border but the picture


def thumbnail(pixels: Pixels, side: int) -> Pixels:
    """[side, side, 3] uint8: borders of one colour cut off, the rest squashed to a square.

    A border is the commonest thing put round a picture and the cheapest to undo: with it gone, a copy framed
    to a third of its area is as easy as the picture itself.
    """
    small = cv2.resize(pixels, (side, side), interpolation=_filter(pixels, side))
    top, bottom, left, right = plain_border(small)
    if (top, bottom, left, right) == (0, side, 0, side):
        return small
    rows, columns = pixels.shape[0] / side, pixels.shape[1] / side
    part = pixels[
        int(top * rows) : max(int(bottom * rows), int(top * rows) + 1),
        int(left * columns) : max(int(right * columns), int(left * columns) + 1),
    ]
    return cv2.resize(part, (side, side), interpolation=_filter(part, side))


def plain_border(small: Pixels) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is inside the border; borders inside borders go as well."""
    side = small.shape[0]
    box = (0, side, 0, side)
    for _ in range(3):
        inner = _inside(small, *box)
        if inner == box:
            break
        if min(inner[1] - inner[0], inner[3] - inner[2]) < LEAST * side:
            return box
        box = inner
    return box


def _inside(small: Pixels, top: int, bottom: int, left: int, right: int) -> tuple[int, int, int, int]:
    part = small[top:bottom, left:right]
    above, below = _plain_rows(part), _plain_rows(part[::-1])
    part = part[above : part.shape[0] - below]
    if not len(part):
        return top, top, left, left
    turned = part.transpose(1, 0, 2)
    before, after = _plain_rows(turned), _plain_rows(turned[::-1])
    return top + above, bottom - below, left + before, max(right - after, left + before)


def _plain_rows(part: Pixels) -> int:
    """How many rows from the top have the colour of the first; one more, which may be half border."""
    first = part[0].astype(np.int16)
    if np.abs(first - first[0]).max() > 2 * TOLERANCE:  # so it is with nearly all pictures
        return 0
    colour = np.median(first, axis=0).astype(np.int16)
    plain = (np.abs(part - colour).max(2) <= TOLERANCE).mean(1) > 0.98
    rows = len(part) if plain.all() else int(plain.argmin())
    return min(rows + 1, len(part)) if rows > 1 else 0


def _filter(pixels: Pixels, side: int) -> int:
    return cv2.INTER_AREA if min(pixels.shape[:2]) > side else cv2.INTER_LINEAR
