"""The flat style: scenes painted as in a picture book, without light, grain and relief, on patterned paper.

A picture of it holds nothing beside what a caption says and where things stand, so that a small dVAE can give it back
and a small transformer draw it.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from dalle.scenes.layout import BACKGROUNDS, SHAPES, Scene, Thing, stream
from dalle.scenes.painting import FRACTION_BITS, on_patch, paints_of

_TEXTURE = 0.3
"""How much of a background's texture is left."""
TILES = 16
"""Of a background on a side, all alike: as many as a picture of 128 pixels has codes."""
_LINE = 0.13
"""Width of outlines, as a share of a thing's radius."""
_INK = (44, 40, 52)
"""Of outlines: white things are to be seen on snow."""
_SAME = 11
"""Seed of all proportions: two houses are the same house."""


def draw_flat(scene: Scene) -> np.ndarray:
    """The picture of a scene in the flat style, [height, width, 3] uint8 RGB, owned by the caller.

    It depends on the background and on each thing's kind, colour, radius, tilt and place; not on the seed.
    """
    canvas = _paper(scene.background, scene.height, scene.width).copy()
    for thing in scene.things:
        _draw_thing(canvas, thing)
    return canvas


@functools.lru_cache(maxsize=32)
def _paper(name: str, height: int, width: int) -> np.ndarray:
    """A background, one tile of its texture over and over."""
    background = BACKGROUNDS[name]
    textured = background.paint(stream(_SAME, 4), height, width, background.rgb)
    tile = textured[: -(-height // TILES), : -(-width // TILES)]
    calm = cv2.addWeighted(tile, _TEXTURE, np.full_like(tile, textured.mean((0, 1))), 1 - _TEXTURE, 0)
    return np.tile(calm, (TILES, TILES, 1))[:height, :width]


def _draw_thing(canvas: np.ndarray, thing: Thing) -> None:
    side = min(canvas.shape[:2])
    radius = thing.radius * side
    place = (thing.centre[0] * canvas.shape[1], thing.centre[1] * canvas.shape[0])
    layers = on_patch(SHAPES[thing.shape].layers(stream(_SAME)), radius, thing.tilt, place, flipped=False)
    paints = paints_of(None, thing.colour)
    line = max(1, round(radius * _LINE))
    for role, polygons in layers:
        cv2.polylines(canvas, polygons, True, _INK, line, cv2.LINE_AA, FRACTION_BITS)
        for polygon in polygons:
            cv2.fillPoly(canvas, [polygon], paints[role], cv2.LINE_AA, FRACTION_BITS)
