"""Words and phrases for what is in a drawn picture: nouns, places, relations, and what lies behind."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from dalle.scenes import claims
from dalle.scenes.claims import Group
from dalle.scenes.layout import BACKGROUNDS, SHAPES, Scene, stream

T = TypeVar("T")

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLURALS = {"fish": "fish", "leaf": "leaves", "butterfly": "butterflies", "cross": "crosses"}
_SIZES = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
COLOURS = {"grey": ("grey", "gray"), "turquoise": ("turquoise", "teal")}
_PATTERNS = {  # before the noun, after it
    "striped": (("striped",), ("with stripes", "covered in stripes")),
    "dotted": (("dotted", "spotted"), ("with dots", "with spots on it", "covered in dots")),
    "checked": (("checked", "chequered", "checkered"), ("with a checked pattern",)),
}
_VERBS = {  # singular, plural, participle
    "stand": (("stands", "stand", "standing"), ("is", "are", "placed")),
    "float": (("floats", "float", "floating"), ("hangs", "hang", "hanging"), ("hovers", "hover", "hovering")),
    "lie": (("lies", "lie", "lying"), ("rests", "rest", "resting"), ("sits", "sit", "sitting")),
}
_SIDES = {
    "left": ("to the left of", "on the left of", "left of"),
    "right": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "higher up than"),
    "below": ("below", "under", "beneath", "underneath"),
    "above-left": ("above and to the left of",),
    "above-right": ("above and to the right of",),
    "below-left": ("below and to the left of",),
    "below-right": ("below and to the right of",),
}
_NEAR = ("next to", "beside", "close to", "right beside")
PARTS = {
    "top-left": ("in the top left corner", "at the top left", "in the upper left corner"),
    "top-right": ("in the top right corner", "at the top right", "in the upper right corner"),
    "bottom-left": ("in the bottom left corner", "at the bottom left", "in the lower left corner"),
    "bottom-right": ("in the bottom right corner", "at the bottom right", "in the lower right corner"),
    "top": ("at the top", "near the top of the picture", "in the upper part of the picture"),
    "bottom": ("at the bottom", "near the bottom of the picture", "in the lower part of the picture"),
    "left": ("on the left", "on the left side", "on the left of the picture"),
    "right": ("on the right", "on the right side", "on the right of the picture"),
    "centre": ("in the middle", "in the centre", "in the center of the picture", "in the middle of the picture"),
}


class Phrases:
    """The words for one scene, drawn anew each time they are asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.background = BACKGROUNDS[scene.background]
        self.groups = claims.groups(scene)
        self.numbers = self._numbers()

    def _numbers(self) -> Iterator[float]:
        rng = stream(self.scene.seed, 3)
        while True:
            yield from rng.random(64).tolist()  # one call for many: a call costs as much as 64 numbers

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return next(self.numbers) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[int(next(self.numbers) * len(options))]

    def sample(self, *counts: int) -> list[Group]:
        """Different groups in any order, as many as one of these counts says, or all."""
        left = list(self.groups)
        count = min(self.pick(counts), len(left))
        return [left.pop(int(next(self.numbers) * len(left))) for _ in range(count)]

    def noun(self, group: Group, article: str = "a", tail: bool = True) -> str:
        """`a small red star`, `the two striped balls`; with a tail also `a heart that is pink`."""
        before, after = [], ""
        if group.pattern in _PATTERNS:
            adjectives, tails = _PATTERNS[group.pattern]
            if self.chance(0.65):
                before.append(self.pick(adjectives))
            elif tail and not group.plural and self.chance(0.5):
                after = f" {self.pick(tails)}"
        if not group.alone or self.chance(0.92):
            colour = self.pick(COLOURS.get(group.colour, (group.colour,)))
            if tail and not after and self.chance(0.06):
                after = f" that {be(group)} {colour}"
            else:
                before.insert(self.pick((0, len(before))), colour)
        if group.size in _SIZES and self.chance(0.6):
            before.insert(0, self.pick(_SIZES[group.size]))
        name = self.pick((group.shape, *SHAPES[group.shape].also))
        if group.plural:
            before.insert(0, number(len(group.things)))
            name = plural(name)
        if article == "the" or not group.plural:
            before.insert(0, article)
        return f"{' '.join(before)} {name}{after}"

    def nouns(self, groups: Sequence[Group]) -> str:
        """`a, b and c`."""
        *most, last = [self.noun(group) for group in groups]
        comma = "," if len(most) > 1 and self.chance(0.4) else ""
        return f"{', '.join(most)}{comma} and {last}" if most else last

    def backdrop(self) -> str:
        """`a red brick wall`, `the night sky`."""
        colour = self.scene.background_colour
        name = self.pick(self.background.names)
        return name.format(self.pick(COLOURS.get(colour, (colour,)))) if colour else name

    def setting(self) -> str:
        """`on a wooden floor`, `in front of a red brick wall`."""
        return f"{self.pick(self.background.prepositions)} {self.backdrop()}"

    def position(self, group: Group) -> str:
        """The part of the picture a group is in, or what it is set against, or both."""
        part = claims.part(group)
        if not part or self.chance(0.4):
            return self.setting()
        words = self.pick(PARTS[part])
        return f"{words} {self.setting()}" if self.chance(0.4) else words

    def seen_from(self, a: Group, b: Group) -> str:
        """Words for where `a` is, seen from `b`; empty if that is not clear."""
        side = claims.group_side(self.scene, a, b)
        if side in ("left", "right") and not a.plural and not b.plural and self.chance(0.5):
            return self.pick(_NEAR if claims.near(self.scene, a.things[0], b.things[0]) else _SIDES[side])
        return self.pick(_SIDES[side]) if side else ""

    def verb(self, group: Group) -> str:
        """`stands`, or for more than one `stand`, as suits the kind of thing."""
        return self.pick(_VERBS[SHAPES[group.shape].pose])[group.plural]

    def participle(self, group: Group) -> str:
        """`standing`, as suits the kind of thing."""
        return self.pick(_VERBS[SHAPES[group.shape].pose])[2]

    def pair(self) -> tuple[Group, Group]:
        """Two different groups, or where there is only one that one twice, of which no relation holds."""
        a, b = (self.sample(2) * 2)[:2]
        return a, b


def be(group: Group) -> str:
    """`is` or `are`."""
    return ("is", "are")[group.plural]


def number(count: int) -> str:
    """`three`, and from eleven on `11`."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def plural(noun: str) -> str:
    """`trees`, `leaves`."""
    return _PLURALS.get(noun, f"{noun}s")
