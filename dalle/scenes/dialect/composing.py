"""Which scenes the dialect has: one to three things that stand clearly left, right, above or below each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, MOST_THINGS, OPPOSITE, RADII, Relation
from dalle.scenes.layout import Scene, Thing, stream

_STREAM = 7
"""Of random numbers that only scenes of the dialect take."""
GRID = 16
"""Places on a side: a thing has its middle in the middle of one, as a figure on squared paper."""
_NEAR, _MIDDLE, _FAR = 3, 7, 11
"""Places near the left or upper side, in the middle, and near the right or lower side; or the next one."""
_PLACES: dict[Relation, tuple[tuple[int, int], ...]] = {
    "left": ((_NEAR, _MIDDLE), (_FAR, _NEAR), (_FAR, _FAR)),
    "right": ((_FAR, _MIDDLE), (_NEAR, _NEAR), (_NEAR, _FAR)),
    "above": ((_MIDDLE, _NEAR), (_NEAR, _FAR), (_FAR, _FAR)),
    "below": ((_MIDDLE, _FAR), (_NEAR, _NEAR), (_FAR, _NEAR)),
}
"""(column, row) of the first of three things and of the two others."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What scenes may not have, so that a model that has never seen it can be asked for it."""

    pairs: Collection[tuple[str, str]] = field(default=())
    """(kind, colour)."""
    relations: Collection[tuple[str, Relation, str]] = field(default=())
    """(kind, relation, kind), which also stands for its opposite said the other way round."""

    def has(self, scene: Scene, relation: Relation | None) -> bool:
        """Whether a scene has any of it.

        Args:
            scene: of the dialect.
            relation: of its first thing to the others; None of one thing alone.
        """
        if any((thing.shape, thing.colour) in self.pairs for thing in scene.things):
            return True
        if relation is None:
            return False
        first, *others = scene.things
        return any(
            (first.shape, relation, other.shape) in self.relations
            or (other.shape, OPPOSITE[relation], first.shape) in self.relations
            for other in others
        )


@dataclass(frozen=True, kw_only=True)
class DialectScene:
    """A scene of the dialect."""

    scene: Scene
    """What is drawn."""
    relation: Relation | None
    """Where its first thing is, seen from each of the others; None of one thing alone."""


def compose_simple(seed: int, side: int, *, held_out: HeldOut | None = None, count: int | None = None) -> DialectScene:
    """A scene of the dialect; every kind, colour, size, relation and background is as likely as any other.

    Args:
        seed: 0 or more; decides everything.
        side: of the picture, pixels.
        held_out: what it may not have; scenes that have it are drawn anew.
        count: things in it, 1 to 3; one, two or three by the seed if left out, one half as often.
    """
    rng = stream(seed, _STREAM)
    while True:
        made = _one(rng, seed, side, count or int(rng.choice(MOST_THINGS, p=(0.2, 0.4, 0.4))) + 1)
        if held_out is None or not held_out.has(made.scene, made.relation):
            return made


def _one(rng: np.random.Generator, seed: int, side: int, count: int) -> DialectScene:
    looks: list[tuple[str, str]] = []
    while len(looks) < count:  # no two alike, so that kind and colour name a thing
        look = (_pick(rng, tuple(KINDS)), _pick(rng, COLOURS))
        if look not in looks:
            looks.append(look)
    relation: Relation | None = None
    if count > 1:
        relation = tuple(_PLACES)[int(rng.integers(len(_PLACES)))]
    return placed(rng, looks, relation, _pick(rng, tuple(BACKGROUNDS)), seed, side)


def placed(
    rng: np.random.Generator,
    looks: list[tuple[str, str]],
    relation: Relation | None,
    background: str,
    seed: int,
    side: int,
) -> DialectScene:
    """A scene of these things, (kind, colour) each, with sizes and places from the random stream."""
    things = []
    for (kind, colour), (x, y) in zip(looks, _places(relation, len(looks)), strict=True):
        size = _pick(rng, tuple(RADII))
        column, row = (place + int(rng.integers(2)) for place in (x, y))
        things.append(
            Thing(
                shape=kind,
                colour=colour,
                size=size,
                centre=((column + 0.5) / GRID, (row + 0.5) / GRID),
                radius=RADII[size],
            )
        )
    scene = Scene(width=side, height=side, background=background, background_colour="", things=tuple(things), seed=seed)
    return DialectScene(scene=scene, relation=relation)


def _places(relation: Relation | None, count: int) -> tuple[tuple[int, int], ...]:
    if relation is None:
        return ((_MIDDLE, _MIDDLE),)
    first, *others = _PLACES[relation]
    if count == 2:  # side by side, or one straight above the other
        x, y = others[0]
        return (first, (x, _MIDDLE) if relation in ("left", "right") else (_MIDDLE, y))
    return (first, *others)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
