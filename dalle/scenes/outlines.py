"""Outlines that things are built from, and what it takes to be a kind of thing.

A shape is a short list of layers, painted in order. A layer is a role (which of the thing's paints it takes)
and closed polygons. Coordinates: x to the right, y downwards, about -1..1; whoever paints a thing fits it into
its circle. Proportions are drawn anew for each thing, so that no two houses are the same house.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Points = np.ndarray
"""[N, 2] float64, corners of a closed polygon."""


class Layer(NamedTuple):
    """Polygons in one paint; where they overlap they join."""

    role: str
    """`body`, `deep`, `pale` (the thing's colour, darker or lighter) or a named paint, such as `wood`."""
    polygons: tuple[Points, ...]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One kind of thing."""

    layers: Callable[[np.random.Generator], list[Layer]]
    also: tuple[str, ...] = ()
    """Other nouns that are right for this kind and for no other."""
    tilt: float = 8.0
    """Largest turn in degrees with which the thing is still what it is called."""
    pose: str = "lie"
    """What such a thing does in a picture: `stand`, `float` or `lie`."""


def layer(role: str, *polygons: Points) -> Layer:
    """A layer of these polygons."""
    return Layer(role, polygons)


def at(*corners: tuple[float, float]) -> Points:
    """A polygon by its corners."""
    return np.array(corners, dtype=np.float64)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """An upright rectangle."""
    return at((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(
    x: float,
    y: float,
    rx: float,
    ry: float,
    start: float = 0,
    stop: float = 360,
    turn: float = 0,
    corners: int = 40,
) -> Points:
    """An ellipse, or the part of it between two angles, in degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, stop, corners, endpoint=stop - start < 360))
    offsets = np.stack([rx * np.cos(angles), ry * np.sin(angles)], axis=1)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return offsets @ np.array([[c, s], [-s, c]]) + (x, y)


def spikes(count: int, inner: float, phase: float = -90) -> Points:
    """A star with `count` tips at radius 1 and notches at radius `inner`."""
    angles = np.radians(phase + np.arange(2 * count) * 180 / count)
    radii = np.where(np.arange(2 * count) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def smooth(points: Points) -> Points:
    """A closed Catmull-Rom curve through the points, in order."""
    a, b, c, d = (np.roll(points, k, axis=0)[:, None] for k in (1, 0, -1, -2))
    t = np.linspace(0, 1, 7)[:-1, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return curve.reshape(-1, 2)


def mirrored(*right: tuple[float, float]) -> Points:
    """The polygon whose right half is given from top to bottom."""
    half = at(*right)
    return np.concatenate([half, half[half[:, 0] > 0][::-1] * (-1, 1)])  # corners on the axis count once
