"""What stands where: a scene is things, with colours, sizes and places, on a background."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalle.scenes.figures import FIGURES
from dalle.scenes.living import LIVING
from dalle.scenes.made import MADE
from dalle.scenes.outdoors import OUTDOORS
from dalle.scenes.surfaces import SURFACES

SHAPES = FIGURES | LIVING | MADE
"""All kinds of things by name."""
BACKGROUNDS = OUTDOORS | SURFACES
"""All backgrounds by name."""
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (212, 38, 38),
    "orange": (242, 130, 26),
    "yellow": (248, 212, 44),
    "green": (48, 150, 62),
    "blue": (40, 92, 206),
    "purple": (128, 58, 166),
    "pink": (246, 138, 178),
    "brown": (128, 78, 44),
    "white": (244, 243, 238),
    "black": (40, 40, 44),
    "grey": (134, 137, 142),
    "turquoise": (40, 186, 182),
}
"""RGB of each colour name; a picture varies them by little enough that the name stays right."""
PATTERNS = ("plain", "striped", "dotted", "checked")
RADII = {"small": (0.075, 0.105), "medium": (0.14, 0.185), "large": (0.22, 0.3)}
"""Radius of a thing's bounding circle as a share of the picture's shorter side, by size word."""
LONE_RADIUS = (0.24, 0.4)
"""The same for the only thing in a picture, which is large."""
SIDES = (256, 1024)
"""Smallest and largest side in pixels of a picture whose size is drawn."""
MOST_THINGS = 7


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing in a scene."""

    shape: str
    """A key of `SHAPES`."""
    colour: str
    """A key of `PALETTE`."""
    size: str
    """A key of `RADII`."""
    pattern: str = "plain"
    """One of `PATTERNS`."""
    centre: tuple[float, float]
    """(x, y) as shares of width and height, 0..1, from the top left corner."""
    radius: float
    """Radius of the bounding circle as a share of the shorter side."""
    tilt: float = 0.0
    """Degrees, clockwise."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a picture shows."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    background: str
    """A key of `BACKGROUNDS`."""
    background_colour: str
    """A key of `PALETTE` for backgrounds that come in colours, else empty."""
    things: tuple[Thing, ...]
    """Equal things stand one after another."""
    seed: int
    """Decides textures, proportions and the wording of captions."""


@dataclass(frozen=True)
class _Group:
    """Equal things that have no position yet."""

    shape: str
    colour: str
    size: str
    pattern: str
    count: int


Circle = tuple[float, float, float]
"""x, y, radius in pixels."""


def stream(*key: int) -> np.random.Generator:
    """Random numbers that depend on the key alone, in every process."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def compose(seed: int, width: int | None = None, height: int | None = None) -> Scene:
    """A scene of one to seven things that do not overlap.

    Args:
        seed: 0 or more; decides everything.
        width, height: pixels; one that is not given is drawn from 256..1024, so that no side is more than
            twice the other where the given one allows it.

    Raises:
        ValueError: if the seed is negative or a given side is below 16 pixels.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    for name, side in (("width", width), ("height", height)):
        if side is not None and side < 16:
            raise ValueError(f"{name} is {side} pixels, expected at least 16")
    rng = stream(seed, 0)
    first = width or height or int(rng.integers(SIDES[0], SIDES[1] + 1))
    second = _second_side(rng, first)
    width, height = (width or second, height or first) if height else (width or first, second)
    background = _pick(rng, tuple(BACKGROUNDS))
    colours = BACKGROUNDS[background].colours
    background_colour = _pick(rng, colours) if colours else ""
    groups = _choose(rng, (*BACKGROUNDS[background].clashes, background_colour))
    return Scene(
        width=width,
        height=height,
        background=background,
        background_colour=background_colour,
        things=_arrange(rng, groups, width, height),
        seed=seed,
    )


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _second_side(rng: np.random.Generator, first: int) -> int:
    low, high = min(SIDES[1], max(SIDES[0], -(-first // 2))), max(SIDES[0], min(SIDES[1], 2 * first))
    return int(rng.integers(low, high + 1))


def _choose(rng: np.random.Generator, clashes: Sequence[str]) -> list[_Group]:
    """Groups of which no two share both shape and colour, so that those name a group."""
    shapes = tuple(name for name in SHAPES if name not in clashes)
    colours = tuple(name for name in PALETTE if name not in clashes)
    groups: dict[tuple[str, str], _Group] = {}
    wanted = int(rng.choice(5, p=(0.08, 0.22, 0.3, 0.26, 0.14))) + 1
    for _ in range(wanted):
        shape, colour = _pick(rng, shapes), _pick(rng, colours)
        if groups and rng.random() < 0.12:
            shape = next(iter(groups))[0]  # sometimes the same kind again, in another colour
        count = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
        count = min(count, MOST_THINGS - sum(group.count for group in groups.values()))
        if not count:
            break
        sizes = ("large",) if wanted == count == 1 else tuple(RADII) if count == 1 else ("small", "medium")
        pattern = "plain" if rng.random() < 0.6 else _pick(rng, PATTERNS[1:])
        groups.setdefault((shape, colour), _Group(shape, colour, _pick(rng, sizes), pattern, count))
    return list(groups.values())


def _arrange(rng: np.random.Generator, groups: list[_Group], width: int, height: int) -> tuple[Thing, ...]:
    """Positions for all, largest first, where there is room; what finds none is left out of the scene."""
    short = min(width, height)
    arranged: dict[int, list[Thing]] = {}
    circles: list[Circle] = []
    lone = len(groups) == groups[0].count == 1
    for number in sorted(range(len(groups)), key=lambda k: (-RADII[groups[k].size][1], k)):
        group = groups[number]
        radius = float(rng.uniform(*(LONE_RADIUS if lone else RADII[group.size])))
        spots = _spots(rng, circles, group.count, radius * short, (width, height))
        circles += [(x, y, radius * short) for x, y in spots]
        tilts = rng.uniform(-SHAPES[group.shape].tilt, SHAPES[group.shape].tilt, len(spots)).tolist()
        arranged[number] = [
            Thing(
                shape=group.shape,
                colour=group.colour,
                size=group.size,
                pattern=group.pattern,
                centre=(x / width, y / height),
                radius=radius,
                tilt=tilt,
            )
            for (x, y), tilt in zip(spots, tilts, strict=True)
        ]
    return tuple(thing for number in range(len(groups)) for thing in arranged[number])


def _spots(
    rng: np.random.Generator, circles: list[Circle], count: int, radius: float, size: tuple[int, int]
) -> list[tuple[float, float]]:
    """Up to `count` centres in pixels for circles of this radius, clear of one another and of these."""
    width, height = size
    margin, clear = 1.08 * radius, 1.06 * radius
    if count > 1 and rng.random() < 0.5:  # in a row
        gap = 2.2 * radius
        room = width - 2 * margin - gap * (count - 1)
        for _ in range(12 if room > 0 else 0):
            x, y = margin + room * rng.random(), rng.uniform(1.2 * radius, height - 1.2 * radius)
            row = [(x + k * gap, y + rng.uniform(-0.12, 0.12) * radius) for k in range(count)]
            if all(_room(spot, circles) > clear for spot in row):
                return row
    spots: list[tuple[float, float]] = []
    for _ in range(count):
        taken = [*circles, *((x, y, radius) for x, y in spots)]
        tries = rng.uniform((margin, margin), (width - margin, height - margin), (10, 2)).tolist()
        x, y = max(tries, key=lambda spot: min(_room(spot, taken), 3 * radius))
        if _room((x, y), taken) > clear:
            spots.append((x, y))
    return spots


def _room(spot: Sequence[float], circles: list[Circle]) -> float:
    """Radius of the largest circle around a spot that touches none of these."""
    return min((math.hypot(spot[0] - x, spot[1] - y) - r for x, y, r in circles), default=math.inf)
