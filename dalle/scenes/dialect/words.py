"""What can be said in the dialect, and what each word means: kinds, colours, sizes, relations, backgrounds.

A word of a caption means one thing only, so that a caption can be read as well as written.
"""

from __future__ import annotations

from typing import Literal

Relation = Literal["left", "right", "above", "below"]
"""Where the first thing of a scene is, seen from each of the others."""

KINDS: dict[str, tuple[str, ...]] = {
    "ball": ("ball", "circle"),
    "square": ("square",),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "ring": ("ring",),
    "moon": ("moon", "crescent moon"),
    "tree": ("tree",),
    "fish": ("fish",),
    "mushroom": ("mushroom",),
    "house": ("house", "cottage"),
    "boat": ("boat", "sailing boat"),
    "cup": ("cup", "mug"),
    "umbrella": ("umbrella",),
    "crown": ("crown",),
    "bell": ("bell",),
}
"""Kinds of things, keys of `dalle.scenes.layout.SHAPES`, and their nouns."""
COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
"""Keys of `dalle.scenes.layout.PALETTE`; each is its own word."""
SIZES: dict[str, tuple[str, ...]] = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
"""Sizes and their words."""
RADII: dict[str, float] = {"small": 0.12, "large": 0.2}
"""Radius of a thing's bounding circle, as a share of the picture's side, by size: four and six places of the grid."""
RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
"""Relations and their words."""
OPPOSITE: dict[Relation, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}
"""Where the second is, seen from the first."""
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "sand": ("on sand", "on the sand", "on a sandy beach", "on the beach"),
    "snow": ("in snow", "on the snow", "in the snow", "on fresh snow"),
    "grass": ("on grass", "on the grass", "in the green grass", "on a meadow"),
    "water": ("on water", "on the water", "on the blue sea", "on a lake"),
    "planks": ("on wood", "on a wooden floor", "on wooden planks", "on an old wooden table"),
    "night": ("at night", "in the night sky", "in a starry sky", "in front of a dark sky"),
}
"""Backgrounds, keys of `dalle.scenes.layout.BACKGROUNDS`, and how they are put into words."""
STARTS = ("a picture of", "a drawing of", "an image of", "there is", "you can see", "the picture shows")
VERBS = ("is", "is placed", "is seen")
ARTICLES = ("a", "an", "and")
"""Words that say nothing of the picture: how a caption may begin, what stands before a relation and before things."""
MOST_THINGS = 3
