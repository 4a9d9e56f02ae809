"""How a scene becomes a picture: background; each thing's shadow, paint, pattern, light; grain over all."""

import math

import cv2
import numpy as np

from dalle.scenes.layout import BACKGROUNDS, PALETTE, SHAPES, Scene, Thing, stream
from dalle.scenes.outlines import Layer
from dalle.scenes.textures import Rgb, fractal, stretch, toned

_PAINTS: dict[str, Rgb] = {
    "wood": (112, 74, 44),
    "stem": (70, 122, 48),
    "core": (246, 196, 52),
    "cream": (246, 238, 218),
    "glass": (172, 208, 226),
    "ink": (38, 34, 36),
}
"""RGB of the parts of a thing that do not take its colour."""

FRACTION_BITS = 4
"""Polygon corners go to OpenCV in sixteenths of a pixel."""


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene, [height, width, 3] uint8 RGB, owned by the caller.

    What a thing looks like depends on the seed and on its number in `things`, not on the other things; the
    background's texture depends on the seed alone. So scenes that differ in one thing look alike elsewhere.
    """
    rng = stream(scene.seed, 1)
    background = BACKGROUNDS[scene.background]
    if background.colours:
        rgb = _varied(rng, PALETTE[scene.background_colour], 0.12)
    else:
        rgb = _varied(rng, background.rgb, 0.2)
    canvas = background.paint(rng, scene.height, scene.width, rgb)
    angle = rng.uniform(-2.6, -0.5)  # where the light comes from: above, more or less
    light = (math.cos(angle), math.sin(angle))
    for number, thing in enumerate(scene.things):
        _draw_thing(canvas, thing, light, stream(scene.seed, 2, number))
    return _lit(canvas, rng)


def _varied(rng: np.random.Generator, rgb: tuple[float, ...], by: float) -> Rgb:
    """A colour near this one; greys stay grey, for a tint would be another colour to the eye."""
    tint = rng.uniform(-1, 1, 3) * by * (30 + 0.4 * (max(rgb) - min(rgb)))
    red, green, blue = np.clip(np.array(rgb) * (1 + by * rng.uniform(-1, 0.8)) + tint, 0, 255).tolist()
    return red, green, blue


def _lit(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The canvas in uneven light, with the grain of a sensor."""
    height, width = canvas.shape[:2]
    light = fractal(rng, 64, 64, 1.5, finest=16) * rng.uniform(4, 14) + rng.uniform(118, 134)
    light = stretch(cv2.blur(light, (9, 9)), height, width)
    grain = np.frombuffer(rng.bytes(height * width), dtype=np.int8).reshape(height, width)
    shade = cv2.addWeighted(light, 1, grain, rng.uniform(0.01, 0.07), 0, dtype=cv2.CV_8U)
    _shade(canvas, shade)
    return canvas


def paints_of(rng: np.random.Generator | None, colour: str) -> dict[str, Rgb]:
    """The paints of a thing of this colour by role; `line` is for its outline, `second` for its pattern.

    Without random numbers the colour is that of the palette.
    """
    body = _varied(rng, PALETTE[colour], 0.1) if rng else PALETTE[colour]
    dark = colour == "black"  # of which nothing darker can be seen
    paints = _PAINTS | {
        "body": body,
        "deep": toned(body, 1.15 if dark else 0.72),
        "pale": toned(body, 1.55),
        "line": toned(body, 1.28 if dark else 0.42),
    }
    if colour == "yellow":
        paints["core"] = (150, 88, 40)
    second = toned(body, 1.8) if dark or rng is None or rng.random() < 0.6 else paints["line"]
    return paints | {"second": (190, 190, 196) if colour == "white" else second}


def _draw_thing(canvas: np.ndarray, thing: Thing, light: tuple[float, float], rng: np.random.Generator) -> None:
    """Paint one thing onto the canvas: its shadow, its layers, its pattern, then light and shade over all."""
    height, width = canvas.shape[:2]
    radius = thing.radius * min(height, width)
    x, y = thing.centre[0] * width, thing.centre[1] * height
    reach = 1.3 * radius + 2
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    patch = canvas[top : max(0, int(y + reach)), left : max(0, int(x + reach))]
    if not patch.size:
        return
    layers = on_patch(SHAPES[thing.shape].layers(rng), radius, thing.tilt, (x - left, y - top), rng.random() < 0.5)
    paints = paints_of(rng, thing.colour)
    line = max(1, round(radius * rng.uniform(0.02, 0.06)))
    outline = np.zeros(patch.shape[:2], dtype=np.uint8)
    body = np.zeros_like(outline)
    for role, polygons in layers:
        cv2.polylines(outline, polygons, True, 255, line, cv2.LINE_AA, FRACTION_BITS)
        for polygon in polygons:  # one by one: in one call OpenCV leaves holes where they overlap
            cv2.fillPoly(outline, [polygon], 255, cv2.LINE_AA, FRACTION_BITS)
            cv2.fillPoly(body, [polygon], 255 if role == "body" else 0, cv2.LINE_AA, FRACTION_BITS)
    _shade(patch, _shadow(outline, light, radius))
    for role, polygons in layers:
        cv2.polylines(patch, polygons, True, paints["line"], line, cv2.LINE_AA, FRACTION_BITS)
        for polygon in polygons:
            cv2.fillPoly(patch, [polygon], paints[role], cv2.LINE_AA, FRACTION_BITS)
    if thing.pattern != "plain":
        pattern = _pattern(thing.pattern, body.shape, radius, rng)
        _blend(patch, paints["second"], cv2.multiply(body, pattern, scale=1 / 255))
    _shade(patch, _relief(outline, light, radius, rng))


def on_patch(
    layers: list[Layer], radius: float, tilt: float, centre: tuple[float, float], flipped: bool
) -> list[tuple[str, list[np.ndarray]]]:
    """Layers in fixed-point pixels of the patch: fitted into the circle, flipped, turned, scaled, moved."""
    points = np.concatenate([polygon for layer in layers for polygon in layer.polygons])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    radius /= np.hypot(*(points - middle).T).max()
    c, s = math.cos(math.radians(tilt)) * radius, math.sin(math.radians(tilt)) * radius
    turn = np.array([[c, s], [-s, c]]) * ((-1.0,), (1.0,)) if flipped else np.array([[c, s], [-s, c]])
    scale = 1 << FRACTION_BITS
    return [
        (role, [np.rint(((polygon - middle) @ turn + centre) * scale).astype(np.int32) for polygon in polygons])
        for role, polygons in layers
    ]


def _shade(patch: np.ndarray, shade: np.ndarray) -> None:
    """Multiply in place by shade / 128."""
    cv2.multiply(patch, cv2.merge([shade] * 3), dst=patch, scale=1 / 128)


def _blend(patch: np.ndarray, rgb: Rgb, cover: np.ndarray) -> None:
    """Paint in place where cover is 255."""
    weight = cover.astype(np.float32) / 255
    above = np.full_like(patch, rgb)
    patch[:] = cv2.blendLinear(above, np.ascontiguousarray(patch), weight, 1 - weight)


def _moved(mask: np.ndarray, dx: float, dy: float) -> np.ndarray:
    matrix = np.array([[1, 0, round(dx)], [0, 1, round(dy)]], dtype=np.float64)
    return cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)


def _shadow(mask: np.ndarray, light: tuple[float, float], radius: float) -> np.ndarray:
    small, scale = _reduced(mask, radius)
    k = max(1, round(radius / scale * 0.14))
    soft = cv2.blur(cv2.blur(small, (k, k)), (k, k))
    soft = _moved(soft, -light[0] * radius / scale * 0.12, -light[1] * radius / scale * 0.12)
    return cv2.resize(cv2.convertScaleAbs(soft, alpha=-60 / 255, beta=128), mask.shape[::-1])


def _relief(mask: np.ndarray, light: tuple[float, float], radius: float, rng: np.random.Generator) -> np.ndarray:
    """128 outside; on the thing more where it leans to the light and less where away, as on a cushion."""
    small, scale = _reduced(mask, radius)
    k = max(1, int(radius / scale * rng.uniform(0.25, 0.6)))
    soft = cv2.blur(cv2.blur(small, (k, k)), (k, k))
    dx, dy = light[0] * k * 0.4, light[1] * k * 0.4
    lean = (_moved(soft, dx, dy).astype(np.float32) - _moved(soft, -dx, -dy)) * rng.uniform(0.25, 0.45)
    lean = cv2.resize(lean, mask.shape[::-1]) + fractal(rng, mask.shape[0], mask.shape[1], 6, 0.7) * 5
    lean = cv2.multiply(lean, mask, scale=1 / 255, dtype=cv2.CV_32F)
    return cv2.addWeighted(lean, 1, lean, 0, 128, dtype=cv2.CV_8U)


def _reduced(mask: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """The mask at the size at which soft light needs no more pixels, and how many times larger it was."""
    scale = max(1.0, radius / 24)
    size = max(1, round(mask.shape[1] / scale)), max(1, round(mask.shape[0] / scale))
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA), scale


def _tile(pattern: str) -> np.ndarray:
    """A sheet of a pattern, 13 x 13 periods of 64 pixels, uint8: enough to cover any thing at any turn."""
    y, x = np.mgrid[0:64, 0:64] / 64
    waves = {  # less than half of each is above 0, where the second colour goes
        "striped": np.sin(2 * np.pi * x) - 0.3,
        "dotted": 0.3 - np.hypot(x - 0.5, y - 0.5),
        "checked": np.sin(2 * np.pi * x) * np.sin(2 * np.pi * y) - 0.06,
    }
    sharp = {"striped": 6, "dotted": 16, "checked": 12}
    period = np.clip(127.5 + 127.5 * sharp[pattern] * waves[pattern], 0, 255).astype(np.uint8)
    return np.tile(period, (13, 13))


_TILES = {pattern: _tile(pattern) for pattern in ("striped", "dotted", "checked")}


def _pattern(pattern: str, shape: tuple[int, ...], radius: float, rng: np.random.Generator) -> np.ndarray:
    period, angle = radius * rng.uniform(0.32, 0.55), rng.uniform(0, np.pi)
    c, s = math.cos(angle) * period / 64, math.sin(angle) * period / 64
    turn, middle = np.array([[c, -s], [s, c]]), _TILES[pattern].shape[0] / 2 + rng.uniform(0, 64, 2)
    start = np.array(shape[::-1]) / 2 - turn @ middle
    matrix = np.column_stack([turn, start])
    return cv2.warpAffine(_TILES[pattern], matrix, shape[::-1])
