"""Drawn pictures without a subject, for training a near-duplicate detector beside photographs and scenes.

Each function takes a side length and a Generator and gives pixels, uint8 RGB [side, side, 3]. What they have in
common with photographs: edges of objects before one another (dead leaves), spectra that fall with frequency
(noise), detail at every scale (fractals), repetition (waves) and letters. After Baradad et al. 2021, "Learning
to see by looking at noise", and Kataoka et al. 2020, "Pre-training without natural images".
"""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dalle.pictures import overlays
from dalle.pictures.pixels import Pixels


def _stretched(values: np.ndarray) -> np.ndarray:
    """The values shifted and scaled to 0 to 1."""
    low, high = np.quantile(values, (0.01, 0.99))
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def _coloured(fields: np.ndarray, rng: np.random.Generator) -> Pixels:
    """Three fields in 0 to 1, [3, H, W], as the coordinates of a randomly turned colour space."""
    spread = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.1, 1, 3)
    colours = np.einsum("ck,khw->hwc", spread, fields - 0.5) + rng.uniform(0.25, 0.75, 3)
    return np.clip(colours * 255, 0, 255).astype(np.uint8)


def noise(side: int, rng: np.random.Generator) -> Pixels:
    """Noise whose amplitude falls with a power of the frequency, like clouds, stone or grass."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    stretch = np.exp(rng.uniform(-0.7, 0.7))
    frequency = np.hypot(rows * stretch, columns / stretch) + 1 / side
    spectrum = rng.standard_normal((3, side, side // 2 + 1)) + 1j * rng.standard_normal((3, side, side // 2 + 1))
    fields = np.fft.irfft2(spectrum * frequency ** -rng.uniform(0.7, 2.2), (side, side))
    return _coloured(np.stack([_stretched(field) for field in fields]), rng)


def waves(side: int, rng: np.random.Generator) -> Pixels:
    """A few bent sine waves over one another: stripes, ripples, cloth."""
    y, x = np.mgrid[0:side, 0:side] / side
    fields = []
    for _ in range(3):
        bend = rng.uniform(0, 0.15) * np.sin(2 * np.pi * (rng.uniform(0.3, 2) * (x if rng.random() < 0.5 else y)))
        angle, cycles = rng.uniform(0, np.pi), np.exp(rng.uniform(0.5, 3.5))
        wave = np.sin(2 * np.pi * (cycles * (x * np.cos(angle) + y * np.sin(angle) + bend) + rng.random()))
        fields.append(0.5 + 0.5 * (np.sign(wave) if rng.random() < 0.3 else wave))
    return _coloured(np.stack(fields), rng)


def fractal(side: int, rng: np.random.Generator) -> Pixels:
    """The attractor of a few random contractions, coloured by where its points come from."""
    maps = int(rng.integers(2, 6))
    turns = rng.uniform(0, 2 * np.pi, (maps, 2))
    scales = rng.uniform(0.3, 0.85, (maps, 2))
    matrices = np.stack([_rotation(a) @ np.diag(s) @ _rotation(b) for (a, b), s in zip(turns, scales, strict=True)])
    shifts = rng.uniform(-1, 1, (maps, 2))
    points, colours = np.zeros((4000, 2)), rng.random((4000, 3))
    palette = rng.random((maps, 3))
    canvas, weight = np.zeros((side * side, 3)), np.zeros(side * side)
    visited: list[tuple[np.ndarray, np.ndarray]] = []
    for step in range(24):
        chosen = rng.integers(maps, size=len(points))
        points = np.einsum("nij,nj->ni", matrices[chosen], points) + shifts[chosen]
        colours = 0.5 * colours + 0.5 * palette[chosen]
        if step >= 6:
            visited.append((points, colours))
    where = np.concatenate([points for points, _ in visited])
    low, high = np.quantile(where, 0.02, axis=0), np.quantile(where, 0.98, axis=0)
    cells = ((where - low) / np.maximum(high - low, 1e-6) * (side - 1)).astype(np.int64)
    inside = ((cells >= 0) & (cells < side)).all(1)
    index = cells[inside, 1] * side + cells[inside, 0]
    paint = np.concatenate([colours for _, colours in visited])[inside]
    weight += np.bincount(index, minlength=side * side)
    for channel in range(3):
        canvas[:, channel] = np.bincount(index, paint[:, channel], side * side)
    cover = np.minimum(weight, 3)[:, None] / 3
    shade = canvas / np.maximum(weight, 1)[:, None] * cover + rng.random(3) * (1 - cover)
    return (shade.reshape(side, side, 3) * 255).astype(np.uint8)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def page(side: int, rng: np.random.Generator) -> Pixels:
    """Lines of text in a few sizes on one colour, with a box or two."""
    paper = overlays.colour(rng)
    ink = overlays.ink_for(paper)
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 3)):
        x, y, width, height = (int(value) for value in rng.integers(0, side, 4))
        draw.rectangle((x, y, x + width // 2, y + height // 2), overlays.colour(rng))
    line = float(rng.integers(0, side // 8))
    while line < side:
        points = int(rng.integers(side // 24 + 4, side // 7 + 6))
        words = overlays.words(int(rng.integers(1, 8)), rng)
        draw.text((int(rng.integers(0, side // 4)), line), words, ink, ImageFont.load_default(points))
        line += points * rng.uniform(1, 2.5)
    return np.array(image)


def leaves(side: int, rng: np.random.Generator, fills: list[Pixels] | None = None) -> Pixels:
    """Dead leaves: shapes of all sizes before one another, each with a texture (or a part of one of `fills`)."""
    canvas = noise(side, rng) if not fills else _fitted(fills[rng.integers(len(fills))], side, side, rng)
    for radius in sorted(side * np.clip(0.05 * rng.pareto(1.2, rng.integers(8, 50)) + 0.03, 0, 0.35), reverse=True):
        shape = _shape(side, radius, rng)
        rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
        if not len(rows):
            continue
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        height, width = shape[box].shape
        if fills:
            fill = _fitted(fills[rng.integers(len(fills))], height, width, rng)
        else:
            base = rng.integers(0, 256, 3) + rng.standard_normal((height, width, 1)) * rng.choice((0, 8, 30))
            fill = np.clip(base + np.linspace(-1, 1, width)[None, :, None] * rng.uniform(-60, 60), 0, 255).astype(
                np.uint8
            )
        np.copyto(canvas[box], fill, where=shape[box][..., None].astype(bool))
    return canvas


def _shape(side: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A mask of one random polygon or ellipse."""
    mask = np.zeros((side, side), np.uint8)
    x, y = rng.uniform(0, side, 2)
    if rng.random() < 0.4:
        axes = (max(round(radius), 1), max(round(radius * rng.uniform(0.3, 1)), 1))
        cv2.ellipse(mask, (round(x), round(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        reach = radius * rng.uniform(0.6, 1.3, len(angles))
        corners = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1)
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    return mask


def _fitted(fill: Pixels, height: int, width: int, rng: np.random.Generator) -> Pixels:
    """A part of a picture, at most twice as large as needed, as height x width."""
    scale = rng.uniform(1, 2)
    rows, columns = min(round(height * scale), fill.shape[0]), min(round(width * scale), fill.shape[1])
    top, left = rng.integers(fill.shape[0] - rows + 1), rng.integers(fill.shape[1] - columns + 1)
    part = fill[top : top + rows, left : left + columns]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)


TEXTURES: tuple[Callable[[int, np.random.Generator], Pixels], ...] = (
    leaves,
    leaves,
    noise,
    waves,
    fractal,
    page,
)


def draw(side: int, rng: np.random.Generator) -> Pixels:
    """One picture of any kind."""
    return TEXTURES[rng.integers(len(TEXTURES))](side, rng)
