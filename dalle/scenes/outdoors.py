"""Backgrounds under the open sky: clouds, stars, waves, grass, hills."""

import cv2
import numpy as np

from dalle.scenes.textures import (
    Background,
    Rgb,
    flat,
    fractal,
    noise,
    over,
    ramp,
    relief,
    slope,
    stretch,
    toned,
    waves,
)


def _sky(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    air = np.linspace(-1, rng.uniform(0.2, 1), height, dtype=np.float32)
    air = np.repeat(air[:, None], width, axis=1)
    blue = ramp(air, toned(rgb, rng.uniform(0.65, 0.85)), rgb, toned(rgb, 1.6))
    clouds = fractal(rng, height, width, rng.uniform(1.5, 4), 0.55)
    cover = np.clip((clouds - rng.uniform(-0.1, 0.5)) * 1.6, 0, 1)
    shade = relief(clouds, height // 24) * 1.3 - 0.4
    white = ramp(shade, (255, 255, 255), (222, 227, 236), (172, 181, 200))
    return over(blue, white, cover)


def _sunset(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    streaks = stretch(fractal(rng, height, max(8, width // 5), rng.uniform(3, 7), 0.6), height, width)
    down = np.linspace(-1.1, 1, height, dtype=np.float32)[:, None] + rng.uniform(0.15, 0.4) * streaks
    stops = np.array([(64, 44, 104), (190, 80, 110), (245, 140, 70), (255, 210, 120)])
    stops = stops * rng.uniform(0.8, 1.1, (4, 1)) + rng.uniform(-28, 28, (4, 3))
    return ramp(down * rng.uniform(0.6, 1.2) + rng.uniform(-0.3, 0.3), *(tuple(s) for s in stops.tolist()))


def _night(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    mist = fractal(rng, height, width, rng.uniform(1.5, 3.5), 0.55)
    sky = ramp(mist + 0.5 * slope(rng, height, width), (4, 5, 16), (14, 18, 48), rgb)
    side = min(height, width) / 512
    count = int(rng.integers(120, 320) * max(1.0, height * width / min(height, width) ** 2))
    stars = (rng.random((count, 2)) * (width, height) * 16).astype(int).tolist()
    glow = rng.uniform(90, 255, count).astype(int).tolist()
    sizes = ((0.5 + 1.7 * rng.random(count) ** 4) * max(side, 0.5) * 16).astype(int).tolist()
    for (x, y), light, size in zip(stars, glow, sizes, strict=True):
        cv2.circle(sky, (x, y), size, (light, light, min(255, light + 20)), -1, cv2.LINE_AA, 4)
    return sky


def _water(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    swell = stretch(fractal(rng, height, max(8, width // 3), rng.uniform(4, 8), 0.5), height, width)
    rows = np.linspace(0, rng.uniform(14, 30) * height / min(height, width), height, dtype=np.float32)
    crests = waves(rows[:, None] + 0.75 * swell)
    field = 0.45 * crests + 0.45 * swell + 0.3 * slope(rng, height, width)
    return ramp(field, toned(rgb, 0.45), toned(rgb, 0.8), rgb, toned(rgb, 1.35), (240, 250, 252))


def _sand(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    dunes = fractal(rng, height, width, rng.uniform(1.5, 4), 0.45, finest=4)
    ripples = waves(slope(rng, height, width) * rng.uniform(4, 18) + dunes * rng.uniform(0.6, 1.6))
    field = 0.45 * dunes + rng.uniform(0.15, 0.4) * ripples + 0.35 * noise(rng, height, width)
    return ramp(field, toned(rgb, 0.7), rgb, toned(rgb, 1.5))


def _snow(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    drifts = fractal(rng, height, width, rng.uniform(1.2, 3), 0.55, finest=4)
    soft = cv2.blur(drifts, (9, 9))  # the grid of the octaves shows in differences
    light = 2.2 * relief(soft, min(height, width) // 40) + 0.35 * slope(rng, height, width) + 0.25 * soft
    light += 0.12 * noise(rng, height, width)
    return ramp(light + 0.15, (140, 162, 200), (205, 217, 236), (236, 242, 250), (255, 255, 255))


def _blades(rng: np.random.Generator, canvas: np.ndarray, rgb: Rgb, count: int) -> None:
    """Grass, drawn blade by blade, tone by tone."""
    height, width = canvas.shape[:2]
    long = min(height, width) * rng.uniform(0.035, 0.07)
    for tone in (0.5, 0.75, 1.0, 1.2, 1.35):
        feet = rng.random((count, 2)) * (width, height * 1.05)
        tips = feet + rng.normal(0, 0.3, (count, 2)) * long - (0, long)
        blades = np.stack([feet, tips], axis=1)
        paint = tuple(float(c) for c in np.clip(toned(rgb, tone) + rng.normal(0, 8, 3), 0, 255))
        lines = list((blades * 16).astype(np.int32))
        cv2.polylines(canvas, lines, False, paint, max(1, round(long / 16)), cv2.LINE_AA, 4)


def _grass(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    ground = fractal(rng, height, width, rng.uniform(2, 5), 0.7)
    canvas = ramp(0.7 * ground, toned(rgb, 0.45), toned(rgb, 0.85), toned(rgb, 1.2))
    _blades(rng, canvas, rgb, int(rng.integers(100, 200)))
    patches = fractal(rng, height, width, rng.uniform(1.5, 3), finest=8) * rng.uniform(0.15, 0.4)
    return over(canvas, flat(height, width, (200, 205, 90)), patches)


def _hills(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    canvas = _sky(rng, height, width, (110, 170, 228))
    grain = 0.45 * fractal(rng, height, width, 6, 0.7) + 0.8 * slope(rng, height, width)
    for depth in (0.0, 0.5, 1.0):
        ridge = fractal(rng, 8, width, rng.uniform(0.06, 0.15), 0.35, finest=8)[4] * height * 0.13
        ridge += height * (0.42 + 0.24 * depth + rng.uniform(-0.05, 0.05))
        top = max(0, int(ridge.min()))
        below = np.arange(top, height, dtype=np.float32)[:, None] - ridge
        green = toned(toned(rgb, 0.55 + 0.25 * depth), 1.0 if depth else 1.12)  # the farthest in haze
        hill = ramp(grain[top:], toned(green, 0.6), green, toned(green, 1.3))
        canvas[top:] = over(canvas[top:], hill, below)
    return canvas


def _leaves(rng: np.random.Generator, height: int, width: int, rgb: Rgb) -> np.ndarray:
    side = min(height, width) * rng.uniform(0.04, 0.065)
    canvas = ramp(fractal(rng, height, width, 20, 0.6), (40, 26, 14), (88, 56, 28))
    count = int(min(1200, 1.5 * height * width / side**2))
    angles = np.arange(10) * (np.pi / 5)
    lengths = side * rng.uniform((0.6, 0.25), (1.1, 0.5), (count, 2))
    turns = rng.random((count, 1)) * 2 * np.pi
    x, y = np.cos(angles) * lengths[:, :1], np.sin(angles) * lengths[:, 1:]
    leaves = np.stack([x * np.cos(turns) - y * np.sin(turns), x * np.sin(turns) + y * np.cos(turns)], axis=-1)
    leaves += (rng.random((count, 2)) * (width, height))[:, None]
    paints = np.array([(196, 92, 30), (224, 150, 40), (160, 52, 28), (204, 176, 70), (128, 84, 40)])
    tones = paints[rng.integers(0, 5, count)] * rng.uniform(0.6, 1.1, (count, 1))
    for leaf, tone in zip((leaves * 16).astype(np.int32), tones.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, leaf, tone, cv2.LINE_AA, 4)
    return over(canvas, flat(height, width, (30, 18, 10)), 0.5 * fractal(rng, height, width, 40, 0.6))


OUTDOORS: dict[str, Background] = {
    "sky": Background(
        paint=_sky,
        rgb=(90, 150, 226),
        names=("a blue sky", "the blue sky", "a cloudy sky"),
        prepositions=("in", "against", "under"),
        clashes=("cloud", "white", "blue", "turquoise"),
    ),
    "sunset": Background(
        paint=_sunset,
        names=("the sky at sunset", "the evening sky", "the orange sky of a sunset"),
        prepositions=("in", "against", "under"),
        clashes=("sun", "orange", "yellow", "pink"),
    ),
    "night": Background(
        paint=_night,
        rgb=(44, 48, 110),
        names=("the night sky", "a starry sky", "a dark sky full of stars"),
        prepositions=("in", "against", "under"),
        clashes=("star", "sun", "black", "blue", "purple", "brown"),
    ),
    "water": Background(
        paint=_water,
        rgb=(40, 120, 180),
        names=("the water", "the blue sea", "the waves", "a lake with small waves"),
        prepositions=("on", "over"),
        clashes=("drop", "blue", "turquoise"),
    ),
    "sand": Background(
        paint=_sand,
        rgb=(214, 184, 132),
        names=("the sand", "a sandy beach", "the beach"),
        prepositions=("on",),
        clashes=("yellow", "orange", "brown"),
    ),
    "snow": Background(
        paint=_snow,
        names=("the snow", "the fresh snow", "a field of snow"),
        prepositions=("on", "in"),
        clashes=("white", "grey"),
    ),
    "grass": Background(
        paint=_grass,
        rgb=(84, 150, 50),
        names=("the grass", "the green grass", "the grass of a meadow"),
        prepositions=("on", "in"),
        clashes=("green", "leaf", "turquoise"),
    ),
    "hills": Background(
        paint=_hills,
        rgb=(110, 170, 70),
        names=("green hills under a blue sky", "a landscape with green hills", "green hills and a blue sky"),
        prepositions=("in front of", "against"),
        clashes=("green", "blue", "cloud", "turquoise", "white"),
    ),
    "leaves": Background(
        paint=_leaves,
        names=("the fallen leaves", "a carpet of autumn leaves", "leaves that have fallen in autumn"),
        prepositions=("on",),
        clashes=("leaf", "orange", "brown", "yellow", "red"),
    ),
}
"""Backgrounds found outside, by name."""
