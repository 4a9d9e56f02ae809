"""What holds in a scene: which things belong together, where they are, and where seen from one another.

Every claim is clear of its border by a margin, so that nobody who looks at the picture would say otherwise.
"""

from itertools import pairwise
from typing import NamedTuple

from dalle.scenes.layout import Scene, Thing


class Group(NamedTuple):
    """All things of one shape and one colour."""

    shape: str
    colour: str
    size: str
    """Empty where they differ in it."""
    pattern: str
    """Empty where they differ in it."""
    things: tuple[Thing, ...]
    alone: bool
    """Whether no other group has this shape."""

    @property
    def plural(self) -> int:
        """0 for one thing, 1 for more: an index into (singular, plural)."""
        return int(len(self.things) > 1)


def groups(scene: Scene) -> list[Group]:
    """The things of a scene, grouped, in the order of their first."""
    members: dict[tuple[str, str], list[Thing]] = {}
    for thing in scene.things:
        members.setdefault((thing.shape, thing.colour), []).append(thing)
    shapes = [shape for shape, _ in members]
    return [
        Group(
            shape,
            colour,
            things[0].size if len({thing.size for thing in things}) == 1 else "",
            things[0].pattern if len({thing.pattern for thing in things}) == 1 else "",
            tuple(things),
            shapes.count(shape) == 1,
        )
        for (shape, colour), things in members.items()
    ]


def side(scene: Scene, a: Thing, b: Thing) -> str:
    """Where `a` is, seen from `b`: left, right, above, below, above-left, ...; empty if that is not clear."""
    dx, dy = (a.centre[0] - b.centre[0]) * scene.width, (a.centre[1] - b.centre[1]) * scene.height
    across, down = abs(dx), abs(dy)
    column, row = "left" if dx < 0 else "right", "above" if dy < 0 else "below"
    if across > 2 * down:
        return column
    if down > 2 * across:
        return row
    return f"{row}-{column}" if 0.6 * across < down and 0.6 * down < across else ""


def group_side(scene: Scene, a: Group, b: Group) -> str:
    """Where all of `a` are, seen from all of `b`."""
    sides = {side(scene, p, q) for p in a.things for q in b.things}
    return sides.pop() if len(sides) == 1 else ""


def near(scene: Scene, a: Thing, b: Thing) -> bool:
    """Whether two things side by side are close to each other."""
    gap = abs(a.centre[0] - b.centre[0]) * scene.width / min(scene.width, scene.height) - a.radius - b.radius
    return gap < 0.25


def part(group: Group) -> str:
    """In which part of the picture all of a group is: top, top-left, ..., centre; empty if unclear."""
    parts = {_part(thing) for thing in group.things}
    return parts.pop() if len(parts) == 1 else ""


def _part(thing: Thing) -> str:
    x, y = thing.centre
    column = "left" if x < 0.34 else "right" if x > 0.66 else "centre" if 0.4 < x < 0.6 else ""
    row = "top" if y < 0.34 else "bottom" if y > 0.66 else "centre" if 0.4 < y < 0.6 else ""
    if column in ("left", "right"):
        return f"{row}-{column}" if row in ("top", "bottom") else column
    return row if row in ("top", "bottom") or column == row else ""


def larger(a: Group, b: Group) -> float:
    """How many times larger the smallest of `a` is than the largest of `b`."""
    return min(thing.radius for thing in a.things) / max(thing.radius for thing in b.things)


def between(scene: Scene, a: Group, b: Group, c: Group) -> bool:
    """Whether `a` is between `b`, on its left, and `c`, on its right."""
    return group_side(scene, a, b) == "right" and group_side(scene, a, c) == "left"


def in_row(scene: Scene, group: Group) -> bool:
    """Whether three or more things stand side by side."""
    ordered = sorted(group.things, key=lambda thing: thing.centre[0])
    return len(ordered) > 2 and all(side(scene, p, q) == "left" and near(scene, p, q) for p, q in pairwise(ordered))
