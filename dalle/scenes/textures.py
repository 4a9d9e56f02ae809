"""Fields of noise and the colours they become: what the backgrounds of drawn pictures are made of.

Textures are sums of noise over octaves, so that a JPEG of a drawn picture has the spectrum of a photograph
rather than that of clip art.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Rgb = tuple[float, float, float]
"""Red, green, blue, 0..255."""
Field = np.ndarray
"""[H, W] float32, about -1..1."""

_SINE = np.sin(np.arange(256) * (2 * np.pi / 256)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Background:
    """One kind of background."""

    paint: Callable[[np.random.Generator, int, int, Rgb], np.ndarray]
    """(random stream, height, width, colour) to [height, width, 3] uint8; sizes follow the shorter side."""
    names: tuple[str, ...]
    """Noun phrases; `{}` stands for the colour."""
    prepositions: tuple[str, ...]
    """With which things are put there: `on`, `in front of`."""
    colours: tuple[str, ...] = ()
    """Colours it comes in; none where the kind itself says the colour, which then is `rgb`."""
    rgb: Rgb = (128.0, 128.0, 128.0)
    clashes: tuple[str, ...] = ()
    """Colours and shapes that would not stand out on it, or would be miscounted."""


def noise(rng: np.random.Generator, height: int, width: int) -> Field:
    """[height, width] white noise, -1..1."""
    # Bytes cost a fifth of floats, and 256 levels are plenty under interpolation.
    levels = np.frombuffer(rng.bytes(height * width), dtype=np.int8).reshape(height, width)
    return levels * np.float32(1 / 128)


def stretch(field: Field, height: int, width: int) -> Field:
    """The field made larger, or smaller, to [height, width]."""
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def fractal(
    rng: np.random.Generator, height: int, width: int, cells: float = 3, rough: float = 0.5, finest: int = 2
) -> Field:
    """[height, width] noise over octaves, about -1..1.

    `cells` is the number of coarsest blobs along the shorter side, `rough` the share of amplitude from one
    octave to the next, `finest` the side in pixels of the smallest blobs.
    """
    side = max(finest, min(height, width) / cells)
    field: Field = noise(rng, 2 + int(height / side), 2 + int(width / side))
    amplitude = 1.0
    while side > finest:
        # One small field that grows costs 4/3 of its last octave; octaves at full size cost one each.
        side, amplitude = max(finest, side / 2), amplitude * rough
        rows, columns = 2 + int(height / side), 2 + int(width / side)
        field = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
        field = field + amplitude * noise(rng, rows, columns)
    return stretch(field, height, width)


def ramp(field: Field, *stops: Rgb) -> np.ndarray:
    """Colours for a field: its -1 takes the first stop, +1 the last."""
    levels = np.linspace(0, 255, len(stops))
    table = np.stack([np.interp(np.arange(256), levels, [s[c] for s in stops]) for c in range(3)], axis=1)
    index = cv2.addWeighted(field, 127.5, field, 0, 127.5, dtype=cv2.CV_8U)
    return cv2.applyColorMap(index, np.clip(table, 0, 255).astype(np.uint8).reshape(256, 1, 3))


def toned(rgb: Rgb, by: float) -> Rgb:
    """A colour made darker (by < 1) or mixed towards white (by > 1)."""
    if by <= 1:
        return rgb[0] * by, rgb[1] * by, rgb[2] * by
    red, green, blue = (c + (255 - c) * (by - 1) for c in rgb)
    return red, green, blue


def waves(phase: Field) -> Field:
    """The sine of a phase counted in turns."""
    return _SINE[(phase * 256).astype(np.int32) & 255]


def relief(field: Field, shift: int) -> Field:
    """How much higher a field is than up and to the left of it, as if lit from there."""
    shift = max(1, shift)
    padded = cv2.copyMakeBorder(field, shift, 0, shift, 0, cv2.BORDER_REPLICATE)
    return field - padded[: field.shape[0], : field.shape[1]]


def over(below: np.ndarray, above: np.ndarray, cover: Field) -> np.ndarray:
    """`above` laid over `below` where cover is 1, seen through where it is 0."""
    cover = np.clip(cover, 0, 1)
    return cv2.blendLinear(above, below, cover, 1 - cover)


def flat(height: int, width: int, rgb: Rgb) -> np.ndarray:
    """[height, width, 3] uint8 in one colour."""
    return np.full((height, width, 3), np.clip(rgb, 0, 255), dtype=np.uint8)


def slope(rng: np.random.Generator, height: int, width: int) -> Field:
    """A plane that falls from one side of the picture to the other."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-np.cos(angle), np.cos(angle), width, dtype=np.float32)
    y = np.linspace(-np.sin(angle), np.sin(angle), height, dtype=np.float32)
    return (x[None, :] + y[:, None]) * np.float32(0.7)
