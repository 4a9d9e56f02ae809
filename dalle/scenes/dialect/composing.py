"""Which scenes the dialect has: one to three things that stand clearly left, right, above or below each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, MOST_THINGS, OPPOSITE, RADII, Relation
from dalle.scenes.layout import Scene, Thing, stream

_STREAM = 7
"""Of random numbers that only scenes of the dialect take."""
_NEAR, _FAR = 0.275, 0.725
_JITTER = 0.03
"""How far things are moved from their places, as a share of the picture's side."""
_PLACES: dict[Relation, tuple[tuple[float, float], ...]] = {
    "left": ((_NEAR, 0.5), (_FAR, _NEAR), (_FAR, _FAR)),
    "right": ((_FAR, 0.5), (_NEAR, _NEAR), (_NEAR, _FAR)),
    "above": ((0.5, _NEAR), (_NEAR, _FAR), (_FAR, _FAR)),
    "below": ((0.5, _FAR), (_NEAR, _NEAR), (_FAR, _NEAR)),
}
"""(x, y) of the first of three things and of the two others."""


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
        dx, dy = rng.uniform(-_JITTER, _JITTER, 2).tolist()
        things.append(
            Thing(
                shape=kind,
                colour=colour,
                size=size,
                centre=(x + dx, y + dy),
                radius=float(rng.uniform(*RADII[size])),
                tilt=float(rng.uniform(-5, 5)),
            )
        )
    scene = Scene(width=side, height=side, background=background, background_colour="", things=tuple(things), seed=seed)
    return DialectScene(scene=scene, relation=relation)


def _places(relation: Relation | None, count: int) -> tuple[tuple[float, float], ...]:
    if relation is None:
        return ((0.5, 0.5),)
    first, *others = _PLACES[relation]
    if count == 2:  # side by side, or one straight above the other
        x, y = others[0]
        return (first, (x, 0.5) if relation in ("left", "right") else (0.5, y))
    return (first, *others)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
