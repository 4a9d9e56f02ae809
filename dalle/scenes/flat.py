"""The flat style: scenes painted as in a picture book, without light, grain and relief, on calm backgrounds.

A picture of it holds little beside what a caption says, so that a small dVAE can give it back and a small transformer
draw it.
"""

from __future__ import annotations

import cv2
import numpy as np

from dalle.scenes.layout import BACKGROUNDS, SHAPES, Scene, Thing, stream
from dalle.scenes.painting import FRACTION_BITS, on_patch, paints_of

_TEXTURE = 0.12
"""How much of a background's texture is left."""
_LINE = 0.045
"""Width of outlines, as a share of a thing's radius."""
_SAME = 11
"""Seed of all proportions: two houses are the same house."""


def draw_flat(scene: Scene) -> np.ndarray:
    """The picture of a scene in the flat style, [height, width, 3] uint8 RGB, owned by the caller.

    The texture depends on the seed; a thing only on its kind, colour, radius, tilt and place.
    """
    rng = stream(scene.seed, 4)
    background = BACKGROUNDS[scene.background]
    textured = background.paint(rng, scene.height, scene.width, background.rgb)
    # one colour for all pictures of a background, which a patch of its texture would not have
    mean = np.full_like(textured, _mean(scene.background))
    canvas = cv2.addWeighted(textured, _TEXTURE, mean, 1 - _TEXTURE, 0)
    for thing in scene.things:
        _draw_thing(canvas, thing)
    return canvas


_MEANS: dict[str, tuple[int, ...]] = {}


def _mean(name: str) -> tuple[int, ...]:
    """Of a background's pixels, over some pictures."""
    if name not in _MEANS:
        background = BACKGROUNDS[name]
        some = [background.paint(stream(seed, 4), 128, 128, background.rgb) for seed in range(8)]
        _MEANS[name] = tuple(np.rint(np.concatenate(some).mean((0, 1))).astype(int).tolist())
    return _MEANS[name]


def _draw_thing(canvas: np.ndarray, thing: Thing) -> None:
    side = min(canvas.shape[:2])
    radius = thing.radius * side
    place = (thing.centre[0] * canvas.shape[1], thing.centre[1] * canvas.shape[0])
    layers = on_patch(SHAPES[thing.shape].layers(stream(_SAME)), radius, thing.tilt, place, flipped=False)
    paints = paints_of(None, thing.colour)
    line = max(1, round(radius * _LINE))
    for role, polygons in layers:
        cv2.polylines(canvas, polygons, True, paints["line"], line, cv2.LINE_AA, FRACTION_BITS)
        for polygon in polygons:
            cv2.fillPoly(canvas, [polygon], paints[role], cv2.LINE_AA, FRACTION_BITS)
