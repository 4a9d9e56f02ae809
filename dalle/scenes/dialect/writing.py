"""Captions of the dialect: what its scenes show, in varied English, all of it true.

A caption names kind and colour of every thing, the relation of the first to the others, and the background; sizes
sometimes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from dalle.scenes.dialect.composing import DialectScene
from dalle.scenes.dialect.words import BACKGROUNDS, KINDS, OPPOSITE, RELATIONS, SIZES, STARTS, VERBS
from dalle.scenes.layout import Thing, stream

T = TypeVar("T")

_STREAM = 8
_SAYS_SIZE = 0.6


def write_simple(made: DialectScene, count: int = 1) -> list[str]:
    """`count` captions of a scene of the dialect; the first of many are the same as the few. Some may be alike."""
    rng = stream(made.scene.seed, _STREAM)
    return [_caption(rng, made) for _ in range(count)]


def _caption(rng: np.random.Generator, made: DialectScene) -> str:
    first, *others = (_noun(rng, thing) for thing in made.scene.things)
    setting = _pick(rng, BACKGROUNDS[made.scene.background])
    if made.relation is None:
        return _framed(rng, first, setting)
    if rng.random() < 0.5:
        others.reverse()
    rest = " and ".join(others)
    if len(others) == 1 and rng.random() < 0.5:  # said from the other's side
        first, rest, relation = rest, first, OPPOSITE[made.relation]
    else:
        relation = made.relation
    words = _pick(rng, RELATIONS[relation])
    if rng.random() < 0.25:
        return _framed_sentence(rng, f"{first} {_pick(rng, VERBS)} {words} {rest}", setting)
    return _framed(rng, f"{first} {words} {rest}", setting)


def _framed(rng: np.random.Generator, what: str, setting: str) -> str:
    style = rng.random()
    if style < 0.5:
        return f"{what} {setting}"
    if style < 0.8:
        return f"{_pick(rng, STARTS)} {what} {setting}"
    return f"{setting}, {what}" if style < 0.9 else f"{setting} there is {what}"


def _framed_sentence(rng: np.random.Generator, what: str, setting: str) -> str:
    return f"{what} {setting}" if rng.random() < 0.7 else f"{setting}, {what}"


def _noun(rng: np.random.Generator, thing: Thing) -> str:
    words = [thing.colour, _pick(rng, KINDS[thing.shape])]
    if rng.random() < _SAYS_SIZE:
        words.insert(0, _pick(rng, SIZES[thing.size]))
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join((article, *words))


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
