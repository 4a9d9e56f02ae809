"""Figures that pictures are strewn with: a ball, a star, a heart, a cloud."""

import numpy as np

from dalle.scenes.outlines import Layer, Shape, at, box, ellipse, layer, mirrored, smooth, spikes


def _disc(rng: np.random.Generator) -> list[Layer]:
    return [layer("body", ellipse(0, 0, 0.98, 0.98))]


def _square(rng: np.random.Generator) -> list[Layer]:
    return [layer("body", box(-0.78, -0.78, 0.78, 0.78))]


def _triangle(rng: np.random.Generator) -> list[Layer]:
    return [layer("body", at((rng.uniform(-0.25, 0.25), -0.92), (0.92, 0.7), (-0.92, 0.7)))]


def _diamond(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.55, 0.7)
    return [layer("body", at((0, -1), (w, 0), (0, 1), (-w, 0)))]


def _hexagon(rng: np.random.Generator) -> list[Layer]:
    return [layer("body", ellipse(0, 0, 0.98, 0.98, corners=6))]


def _star(rng: np.random.Generator) -> list[Layer]:
    return [layer("body", spikes(5, rng.uniform(0.38, 0.5)))]


def _heart(rng: np.random.Generator) -> list[Layer]:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t) + 2.5
    return [layer("body", np.stack([np.sin(t) ** 3 * rng.uniform(0.85, 1.0), -y / 16], axis=1))]


def _ring(rng: np.random.Generator) -> list[Layer]:
    hole = rng.uniform(0.45, 0.65)
    outer, inner = ellipse(0, 0, 1, 1), ellipse(0, 0, hole, hole)
    # One polygon with a seam: out along the rim, in along the hole, so that the hole stays empty.
    return [layer("body", np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]))]


def _cross(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.24, 0.36)
    quarter = at((w, -0.95), (w, -w), (0.95, -w))
    turns = [quarter @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return [layer("body", np.concatenate(turns))]


def _arrow(rng: np.random.Generator) -> list[Layer]:
    neck, w = rng.uniform(0.0, 0.3), rng.uniform(0.2, 0.35)
    return [layer("body", at((-1, -w), (neck, -w), (neck, -0.75), (1, 0), (neck, 0.75), (neck, w), (-1, w)))]


def _drop(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.58, 0.68)
    return [layer("body", np.concatenate([at((0, -1)), ellipse(0, 0.35, w, 0.63, -25, 205)]))]


def _egg(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.68, 0.78)
    return [layer("body", smooth(mirrored((0.0, -1.0), (w * 0.75, -0.5), (w, 0.25), (w * 0.62, 0.85), (0.0, 1.0))))]


def _moon(rng: np.random.Generator) -> list[Layer]:
    bite = rng.uniform(0.3, 0.55)
    inner = ellipse(bite - 0.15, 0, 0.98 - bite * 0.5, 0.82, 90, 270)[::-1]
    return [layer("body", np.concatenate([ellipse(0, 0, 1, 1, 62, 298), inner]))]


def _sun(rng: np.random.Generator) -> list[Layer]:
    rays = spikes(int(rng.integers(9, 14)), 0.72, rng.uniform(0, 90))
    return [layer("deep", rays), layer("body", ellipse(0, 0, 0.66, 0.66))]


def _cloud(rng: np.random.Generator) -> list[Layer]:
    puffs = [ellipse(x, rng.uniform(-0.2, 0.02) - h, 0.42, 0.38) for x, h in ((-0.42, 0), (0.02, 0.2), (0.45, 0))]
    return [layer("body", smooth(box(-0.95, 0.02, 0.95, 0.5)), *puffs)]


FIGURES: dict[str, Shape] = {
    "ball": Shape(layers=_disc, also=("circle",), tilt=180),
    "square": Shape(layers=_square, tilt=15),
    "triangle": Shape(layers=_triangle, tilt=15),
    "diamond": Shape(layers=_diamond, tilt=10),
    "hexagon": Shape(layers=_hexagon, tilt=180),
    "star": Shape(layers=_star, tilt=36, pose="float"),
    "heart": Shape(layers=_heart, tilt=20, pose="float"),
    "ring": Shape(layers=_ring, tilt=180),
    "cross": Shape(layers=_cross, tilt=12),
    "arrow": Shape(layers=_arrow, tilt=180),
    "drop": Shape(layers=_drop, tilt=15, pose="float"),
    "egg": Shape(layers=_egg, tilt=25),
    "moon": Shape(layers=_moon, also=("crescent moon",), tilt=25, pose="float"),
    "sun": Shape(layers=_sun, pose="float"),
    "cloud": Shape(layers=_cloud, pose="float"),
}
"""Plain figures by name."""
