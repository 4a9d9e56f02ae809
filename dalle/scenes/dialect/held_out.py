"""What the scenes of the zero-shot trial never show, and the captions that ask for it.

Twelve of the 128 pairs of a kind and a colour, and one relation of one pair of kinds. Each of the kinds and colours
occurs in other pairs, and either kind of the relation above, below and beside other things.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from dalle.scenes.dialect.composing import DialectScene, HeldOut, compose_simple, placed
from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, OPPOSITE, RELATIONS, VERBS, Relation
from dalle.scenes.layout import stream

PAIRS = (
    ("square", "blue"),
    ("star", "yellow"),
    ("heart", "purple"),
    ("moon", "green"),
    ("tree", "pink"),
    ("fish", "orange"),
    ("house", "white"),
    ("boat", "yellow"),
    ("cup", "purple"),
    ("umbrella", "red"),
    ("crown", "green"),
    ("bell", "pink"),
)
"""(kind, colour) that never occur."""
KIND, OTHER_KIND = "fish", "boat"
RELATION: Relation = "above"
"""The relation that never occurs, whichever way it is said."""
HELD_OUT = HeldOut(pairs=PAIRS, relations=((KIND, RELATION, OTHER_KIND),))

What = Literal["one", "two", "three", "relation"]
UNSEEN: dict[What, int] = {"one": 100, "two": 150, "three": 150, "relation": 100}
"""How many captions ask for a held-out pair among one, two or three things, and how many for the relation."""
SEEN: dict[What, int] = {"one": 100, "two": 200, "three": 200}
"""How many captions ask for what occurs, by the number of things."""

_STREAM = 9
_THINGS: dict[What, int] = {"one": 1, "two": 2, "three": 3}


def unseen_scenes(first_seed: int, side: int) -> Iterator[tuple[What, DialectScene]]:
    """Scenes each of which has a held-out pair, or the held-out relation and no held-out pair.

    Args:
        first_seed: of the first; each takes the next one.
        side: of the pictures, pixels.
    """
    seed = first_seed
    for what, count in UNSEEN.items():
        for _ in range(count):
            yield what, _with_relation(seed, side) if what == "relation" else _with_pair(seed, side, _THINGS[what])
            seed += 1


def seen_scenes(first_seed: int, side: int) -> Iterator[tuple[What, DialectScene]]:
    """Scenes that have nothing of what is held out; arguments as of `unseen_scenes`."""
    seed = first_seed
    for what, count in SEEN.items():
        for _ in range(count):
            yield what, compose_simple(seed, side, held_out=HELD_OUT, count=_THINGS[what])
            seed += 1


def _with_pair(seed: int, side: int, count: int) -> DialectScene:
    """One of its things is a held-out pair, at any place among them; the pairs take turns."""
    rng = stream(seed, _STREAM)
    pair, relation = PAIRS[seed % len(PAIRS)], HELD_OUT.relations
    while True:
        made = compose_simple(int(rng.integers(1 << 62)), side, held_out=HeldOut(relations=relation), count=count)
        looks = [(thing.shape, thing.colour) for thing in made.scene.things]
        looks[int(rng.integers(count))] = pair
        made = placed(rng, looks, made.relation, made.scene.background, seed, side)
        if len(set(looks)) == count and not HeldOut(relations=relation).has(made.scene, made.relation):
            return made


def _with_relation(seed: int, side: int) -> DialectScene:
    """Two things in the held-out relation, in colours that both have been seen in."""
    rng = stream(seed, _STREAM)
    looks = []
    for kind in (KIND, OTHER_KIND):
        colours = [colour for colour in COLOURS if (kind, colour) not in PAIRS]
        looks.append((kind, colours[int(rng.integers(len(colours)))]))
    background = tuple(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    return placed(rng, looks, RELATION, background, seed, side)


def pattern() -> str:
    """A regular expression that finds each caption of the dialect that says anything of this, and no other.

    For letters of either case; of the syntax that Python, RE2 and so pyarrow and SQL engines share.
    """
    pairs = "|".join(f"{colour} {_nouns(kind)}" for kind, colour in PAIRS)
    verbs = f"(?: (?:{'|'.join(VERBS)}))?"
    above, below = ("|".join(RELATIONS[name]) for name in (RELATION, OPPOSITE[RELATION]))
    first = f"{_nouns(KIND)}{verbs} (?:{above}) .*{_nouns(OTHER_KIND)}"
    second = f"{_nouns(OTHER_KIND)}{verbs} (?:{below}) .*{_nouns(KIND)}"
    return rf"\b(?:{pairs}|{first}|{second})\b"


def _nouns(kind: str) -> str:
    nouns = KINDS[kind]
    return nouns[0] if len(nouns) == 1 else f"(?:{'|'.join(nouns)})"
