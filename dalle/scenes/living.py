"""What grows and moves in pictures: a tree, a flower, a fish, a cat."""

import numpy as np

from dalle.scenes.outlines import Layer, Shape, at, box, ellipse, layer, mirrored, smooth


def _tree(rng: np.random.Generator) -> list[Layer]:
    w, trunk = rng.uniform(0.08, 0.14), layer("wood", box(-0.1, 0.2, 0.1, 0.98))
    if rng.random() < 0.4:  # a conifer
        tiers = [
            at((0, y), (0.34 + k * w, y + 0.72), (-0.34 - k * w, y + 0.72)) for k, y in enumerate((-1, -0.6, -0.2))
        ]
        return [trunk, *(layer("body", tier) for tier in tiers[::-1])]
    centres = ((-0.42, 0.02), (0.42, 0.02), (-0.26, -0.5), (0.26, -0.5), (0, -0.2))
    return [trunk, layer("body", *(ellipse(x, y, *rng.uniform(0.38, 0.5, 2)) for x, y in centres))]


def _flower(rng: np.random.Generator) -> list[Layer]:
    count, turn = int(rng.integers(5, 9)), rng.uniform(0, 60)
    angles = turn + np.arange(count) * 360 / count
    petals = [(0.33 * np.cos(np.radians(a)), 0.33 * np.sin(np.radians(a)) - 0.38, a) for a in angles]
    return [
        layer("stem", box(-0.04, -0.3, 0.04, 0.98), ellipse(0.24, 0.6, 0.26, 0.1, turn=-30)),
        layer("body", *(ellipse(x, y, 0.29, 0.95 / count, turn=a) for x, y, a in petals)),
        layer("core", ellipse(0, -0.38, 0.18, 0.18)),
    ]


def _leaf(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.38, 0.55)
    blade = smooth(mirrored((0.0, -1.0), (w * 0.7, -0.45), (w, 0.1), (w * 0.55, 0.5), (0.03, 0.7)))
    veins = [at((0, y + 0.25), (s * w * 0.7, y), (0, y + 0.31)) for s in (-1, 1) for y in (-0.4, -0.1, 0.2)]
    return [layer("body", blade), layer("deep", at((0, -0.8), (0.05, 1), (-0.05, 1)), *veins)]


def _mushroom(rng: np.random.Generator) -> list[Layer]:
    w, rim = rng.uniform(0.2, 0.32), rng.uniform(0.0, 0.15)
    return [
        layer("cream", smooth(mirrored((w, -0.1), (w * 0.9, 0.4), (w * 1.25, 0.9)))),
        layer("body", ellipse(0, rim, 0.95, 0.95 + rim, 180, 360)),
        layer("deep", ellipse(0, rim, 0.95, 0.14)),
    ]


def _apple(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.82, 0.95)
    fruit = mirrored((0.0, -0.5), (0.4, -0.66), (w, -0.2), (0.72, 0.6), (0.3, 0.92), (0.0, 0.84))
    return [
        layer("wood", at((-0.04, -0.45), (0.1, -1.0), (0.18, -0.97), (0.05, -0.45))),
        layer("stem", ellipse(0.4, -0.82, 0.28, 0.11, turn=-20)),
        layer("body", smooth(fruit)),
    ]


def _fish(rng: np.random.Generator) -> list[Layer]:
    fat = rng.uniform(0.4, 0.58)
    flank = smooth(at((-0.45, 0), (0, -fat), (0.6, -fat * 0.7), (0.98, 0), (0.6, fat * 0.7), (0, fat)))
    return [
        layer(
            "deep",
            at((-0.35, 0), (-0.98, -0.5), (-0.8, 0), (-0.98, 0.5)),
            at((-0.1, -0.3), (0.1, -0.8), (0.4, -0.3)),
        ),
        layer("body", flank),
        layer("cream", ellipse(0.62, -0.1, 0.11, 0.11)),
        layer("ink", ellipse(0.64, -0.1, 0.05, 0.05)),
    ]


def _bird(rng: np.random.Generator) -> list[Layer]:
    wing = rng.uniform(-20, 30)
    return [
        layer("deep", at((-0.4, 0.05), (-1.0, -0.2), (-0.95, 0.2))),
        layer(
            "core",
            at((0.8, -0.5), (1.0, -0.33), (0.75, -0.28)),
            box(-0.02, 0.5, 0.03, 0.95),
            box(0.2, 0.5, 0.25, 0.95),
        ),
        layer("body", ellipse(0, 0.1, 0.62, 0.48, turn=-18), ellipse(0.55, -0.4, 0.32, 0.32)),
        layer("deep", ellipse(-0.12, 0.08, 0.4, 0.22, turn=wing)),
        layer("ink", ellipse(0.64, -0.46, 0.06, 0.06)),
    ]


def _butterfly(rng: np.random.Generator) -> list[Layer]:
    spread, low = rng.uniform(0.42, 0.52), rng.uniform(0.3, 0.4)
    return [
        layer("deep", *(ellipse(s * 0.4, 0.42, low, 0.36, turn=s * 40) for s in (-1, 1))),
        layer("body", *(ellipse(s * 0.5, -0.32, spread, 0.38, turn=s * -38) for s in (-1, 1))),
        layer(
            "ink",
            ellipse(0, 0, 0.09, 0.62),
            *(at((0, -0.5), (s * 0.3, -0.95), (s * 0.24, -0.96)) for s in (-1, 1)),
        ),
    ]


def _cat(rng: np.random.Generator) -> list[Layer]:
    wide, ear = rng.uniform(0.78, 0.92), rng.uniform(-1.0, -0.85)
    return [
        layer(
            "body",
            ellipse(0, 0.12, wide, 0.72),
            *(at((s * 0.8, 0), (s * 0.72, ear), (s * 0.2, -0.5)) for s in (-1, 1)),
        ),
        layer("cream", *(ellipse(s * 0.34, 0, 0.17, 0.13) for s in (-1, 1))),
        layer(
            "ink",
            *(ellipse(s * 0.34, 0, 0.06, 0.12) for s in (-1, 1)),
            at((-0.09, 0.25), (0.09, 0.25), (0, 0.36)),
        ),
        layer(
            "ink",
            *(at((s * 0.25, 0.38), (s * 0.95, y), (s * 0.95, y + 0.04)) for s in (-1, 1) for y in (0.26, 0.46)),
        ),
    ]


LIVING: dict[str, Shape] = {
    "tree": Shape(layers=_tree, pose="stand"),
    "flower": Shape(layers=_flower, tilt=15, pose="stand"),
    "leaf": Shape(layers=_leaf, tilt=60),
    "mushroom": Shape(layers=_mushroom, tilt=12, pose="stand"),
    "apple": Shape(layers=_apple, tilt=20),
    "fish": Shape(layers=_fish, tilt=20, pose="float"),
    "bird": Shape(layers=_bird, tilt=10, pose="stand"),
    "butterfly": Shape(layers=_butterfly, tilt=40, pose="float"),
    "cat": Shape(layers=_cat, tilt=12),
}
"""Plants and animals by name."""
