"""Backgrounds that people made: cloth, bricks, planks, tiles, paper."""

import cv2
import numpy as np

from dalle.scenes.textures import (
    Background,
    Field,
    Rgb,
    flat,
    fractal,
    noise,
    over,
    ramp,
    slope,
    stretch,
    toned,
    waves,
)


def _plain(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    field = slope(rng, height, width) * rng.uniform(0.4, 0.9)
    # Clouds of colour, or the strokes of a broad brush.
    across, down = ((1, 1), (1, 1), (1, 6), (6, 1))[rng.integers(4)]
    blurs = fractal(rng, height // down + 1, width // across + 1, rng.uniform(1.5, 5), 0.6)
    field += stretch(blurs, height, width) * rng.uniform(0.2, 0.6)
    return ramp(field, toned(rgb, 0.72), rgb, toned(rgb, 1.35))


def _cloth(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    folds = fractal(rng, height, width, rng.uniform(1.5, 4), 0.4, finest=8)
    threads = rng.uniform(45, 90)
    along = np.arange(width, dtype=np.float32) * (threads / min(height, width))
    down = np.arange(height, dtype=np.float32) * (threads / min(height, width))
    weave = waves(along[None, :] + 0.8 * folds) * waves(down[:, None] + 0.8 * folds)
    field = 0.6 * weave + 0.5 * folds + 0.2 * noise(rng, height, width)
    return ramp(field, toned(rgb, 0.5), rgb, toned(rgb, 1.3))


def _paper(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    pulp = fractal(rng, height, width, rng.uniform(2, 5), 0.72, finest=1)
    sheet = ramp(0.5 * pulp, toned(rgb, 0.8), rgb, toned(rgb, 1.5))
    gap, ink = min(height, width) / rng.uniform(9, 22), (rng.uniform(90, 180), rng.uniform(90, 130), 190)
    ruled, squared = rng.random() < 0.6, rng.random() < 0.5
    for start in np.arange(rng.uniform(0, gap), height, gap).astype(int).tolist() if ruled else ():
        cv2.line(sheet, (0, start), (width, start), ink, max(1, round(gap / 24)), cv2.LINE_AA)
    for start in np.arange(rng.uniform(0, gap), width, gap).astype(int).tolist() if ruled and squared else ():
        cv2.line(sheet, (start, 0), (start, height), ink, max(1, round(gap / 24)), cv2.LINE_AA)
    return over(sheet, flat(height, width, (250, 246, 236)), 0.2 + 0.3 * noise(rng, height, width))


def _marble(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    warp = fractal(rng, height, width, rng.uniform(1.5, 3), 0.58)
    mist = fractal(rng, height, width, 3, finest=8)
    veins = np.abs(waves(slope(rng, height, width) * rng.uniform(0.8, 2.5) + 0.5 * warp))
    return ramp(2 * np.sqrt(veins) - 1.15 + 0.3 * mist, toned(rgb, 0.4), toned(rgb, 0.8), rgb, toned(rgb, 1.25))


def _concrete(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    stains = fractal(rng, height, width, rng.uniform(2, 5), 0.7, finest=1)
    pores = fractal(rng, height, width, rng.uniform(40, 90), 0.4)
    return ramp(0.5 * stains - np.maximum(0, pores - 0.55) * 2, toned(rgb, 0.5), rgb, toned(rgb, 1.4))


def _courses(
    rng: np.random.Generator, height: int, width: int, high: float, long: float, shift: float
) -> tuple[Field, Field]:
    """Blocks in rows: a tone in -1..1 for each block, and the distance in pixels to the nearest joint."""
    down = (np.arange(height) + rng.uniform(0, high)) / high
    along = (np.arange(width) + rng.uniform(0, long)) / long
    row, columns = down.astype(int), np.stack([along, along + shift])  # every other row is shifted
    block = columns.astype(int)
    tones = rng.uniform(-1, 1, (row[-1] + 1, block.max() + 1)).astype(np.float32)
    to_side = (np.minimum(columns - block, 1 - columns + block) * long).astype(np.float32)
    to_row = (np.minimum(down - row, 1 - down + row) * high).astype(np.float32)
    rows = np.arange(len(tones))
    return tones[rows[:, None], block[rows % 2]][row], np.minimum(to_side[row % 2], to_row[:, None])


def _bricks(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    high = min(height, width) / rng.uniform(8, 15)
    tones, edge = _courses(rng, height, width, high, high * rng.uniform(2.2, 3.2), 0.5)
    grain = fractal(rng, height, width, 12, 0.75, finest=1)
    field = 0.4 * tones + 0.5 * grain
    wall = ramp(field, toned(rgb, 0.55), rgb, toned(rgb, 1.3))
    joint = high * rng.uniform(0.05, 0.09)
    mortar = ramp(0.5 * grain, (120, 114, 106), (206, 200, 190))
    return over(mortar, wall, (edge + grain * joint * 0.6 - joint) * 0.5)


def _planks(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    upright = rng.random() < 0.5
    h, w = (width, height) if upright else (height, width)
    high = min(h, w) / rng.uniform(4, 9)
    tones, edge = _courses(rng, h, w, high, high * rng.uniform(6, 12), rng.uniform(0.3, 0.6))
    fibres = stretch(fractal(rng, h, max(8, w // 10), rng.uniform(6, 12), 0.75, finest=1), h, w)
    rings = waves(3 * tones + 1.4 * fibres + stretch(noise(rng, h // 8 + 2, w // 100 + 3), h, w) * 0.8)
    wood = ramp(0.35 * tones + 0.3 * fibres + 0.22 * rings, toned(rgb, 0.5), rgb, toned(rgb, 1.3))
    wood = over(flat(h, w, toned(rgb, 0.22)), wood, edge / max(1.0, high * 0.03))
    return np.ascontiguousarray(wood.transpose(1, 0, 2)) if upright else wood


def _tiles(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    side = min(height, width) / rng.uniform(5, 10)
    tones, edge = _courses(rng, height, width, side, side, 0)
    glaze = fractal(rng, height, width, rng.uniform(2, 6), 0.5, finest=4)
    bevel = np.minimum(edge / (side * 0.12), 1)
    tiles = ramp(0.3 * tones + 0.35 * glaze + 0.5 * bevel - 0.4, toned(rgb, 0.6), rgb, toned(rgb, 1.45))
    return over(flat(height, width, (186, 182, 176)), tiles, (edge - side * 0.025) * 0.7)


def _pebbles(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    scale = 2  # nearest-stone search at half size: four times less work, and the noise hides it
    h, w = -(-height // scale), -(-width // scale)
    side = min(h, w) / rng.uniform(8, 14)
    rows, columns = int(h / side) + 2, int(w / side) + 2
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    spots = (grid + rng.uniform(0.12, 0.88, grid.shape) - 0.5) * side
    inside = spots.reshape(-1, 2).astype(int)
    inside = inside[(inside >= 0).all(axis=1) & (inside < (w, h)).all(axis=1)]
    empty = np.full((h, w), 255, dtype=np.uint8)
    empty[inside[:, 1], inside[:, 0]] = 0
    _, stones = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    same = np.full((h, w), 255, dtype=np.uint8)
    same[1:] &= ~((stones[1:] != stones[:-1]) * np.uint8(255))
    same[:, 1:] &= ~((stones[:, 1:] != stones[:, :-1]) * np.uint8(255))
    same[0, 0] = 0  # a picture smaller than one stone still has a joint to measure from
    edge = stretch(cv2.distanceTransform(same, cv2.DIST_L2, 3) / np.float32(side), height, width)
    tone = stretch(rng.uniform(-1, 1, int(stones.max()) + 1).astype(np.float32)[stones], height, width)
    grain = fractal(rng, height, width, 20, 0.7)
    field = 1.1 * np.sqrt(np.clip(edge * 2.6, 0, 1)) - 0.9 + 0.35 * tone + 0.3 * grain
    return ramp(field, (38, 34, 30), toned(rgb, 0.7), rgb, toned(rgb, 1.4))


_ANY = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black", "grey", "turquoise")

SURFACES: dict[str, Background] = {
    "plain": Background(
        paint=_plain,
        names=("a plain {} background", "a {} background", "a {} backdrop"),
        prepositions=("on", "against", "in front of"),
        colours=_ANY,
    ),
    "cloth": Background(
        paint=_cloth,
        names=("a {} cloth", "a piece of {} cloth", "a sheet of {} fabric"),
        prepositions=("on",),
        colours=_ANY,
    ),
    "paper": Background(
        paint=_paper,
        rgb=(240, 234, 216),
        names=("a sheet of paper", "a piece of paper", "the page of a notebook"),
        prepositions=("on",),
        clashes=("white", "grey", "yellow"),
    ),
    "marble": Background(
        paint=_marble,
        names=("a {} marble floor", "a slab of {} marble", "the {} marble of a floor"),
        prepositions=("on",),
        colours=("white", "grey", "green", "pink", "black"),
    ),
    "concrete": Background(
        paint=_concrete,
        rgb=(150, 148, 144),
        names=("a concrete wall", "a grey wall", "a bare concrete wall"),
        prepositions=("on", "against", "in front of"),
        clashes=("grey", "white"),
    ),
    "bricks": Background(
        paint=_bricks,
        names=("a {} brick wall", "a wall of {} bricks", "a wall made of {} bricks"),
        prepositions=("on", "against", "in front of"),
        colours=("red", "brown", "white", "grey", "yellow"),
    ),
    "planks": Background(
        paint=_planks,
        rgb=(164, 112, 66),
        names=("a wooden floor", "the planks of a floor", "the wood of an old table"),
        prepositions=("on",),
        clashes=("brown", "orange"),
    ),
    "tiles": Background(
        paint=_tiles,
        names=("the {} tiles", "a floor of {} tiles", "a floor with {} tiles"),
        prepositions=("on",),
        colours=_ANY,
    ),
    "pebbles": Background(
        paint=_pebbles,
        names=("the {} cobblestones", "a street of {} cobblestones", "the {} stones of a street"),
        prepositions=("on",),
        colours=("grey", "brown", "white"),
    ),
}
"""Walls, floors and sheets, by name."""
