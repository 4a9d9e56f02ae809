"""What a caption of the dialect says: the other way round from `writing`.

>>> said = read_caption("a large red star above a blue boat on sand")
>>> said.things
(('star', 'red'), ('boat', 'blue'))
>>> said.relation, said.background
('above', 'sand')
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dalle.scenes.dialect.words import (
    ARTICLES,
    BACKGROUNDS,
    COLOURS,
    KINDS,
    MOST_THINGS,
    RELATIONS,
    SIZES,
    STARTS,
    VERBS,
    Relation,
)


@dataclass(frozen=True)
class Said:
    """What a caption says of a picture."""

    things: tuple[tuple[str, str], ...]
    """(kind, colour) of each thing; the first is the one that the relation is of."""
    sizes: tuple[str, ...]
    """Of each thing; empty where it is not said."""
    relation: Relation | None
    """Where the first thing is, seen from each of the others; None of one thing alone."""
    background: str
    """A key of `dalle.scenes.dialect.words.BACKGROUNDS`."""


def _words(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """What each word stands for, longer ones first."""
    meanings = {word: name for name, words in table.items() for word in words}
    return {word: meanings[word] for word in sorted(meanings, key=len, reverse=True)}


def _one_of(words: dict[str, str]) -> str:
    return "|".join(map(re.escape, words))


_NOUNS, _SIZE_WORDS, _SETTINGS = _words(KINDS), _words(SIZES), _words(BACKGROUNDS)
_RELATION_WORDS = _words({str(name): words for name, words in RELATIONS.items()})
_THING = re.compile(rf"\ban? (?:({_one_of(_SIZE_WORDS)}) )?({'|'.join(COLOURS)}) ({_one_of(_NOUNS)})\b", re.IGNORECASE)
_SETTING = re.compile(rf"\b({_one_of(_SETTINGS)})\b", re.IGNORECASE)
_BETWEEN = re.compile(rf"\b({_one_of(_RELATION_WORDS)}) an? ", re.IGNORECASE)


def read_caption(caption: str) -> Said:
    """What a caption says.

    Raises:
        ValueError: naming what is missing or one too many; the caption is not of the dialect.
    """
    text = " ".join(caption.split())
    settings = _SETTING.findall(text)
    if len(settings) != 1:
        raise ValueError(f"{caption!r}: names {len(settings)} backgrounds, expected one of {', '.join(BACKGROUNDS)}")
    text = _SETTING.sub("", text)
    things = _THING.findall(text)
    if not 1 <= len(things) <= MOST_THINGS:
        raise ValueError(f"{caption!r}: names {len(things)} things with a colour, expected 1 to {MOST_THINGS}")
    relations = _BETWEEN.findall(text)
    if len(relations) != (1 if len(things) > 1 else 0):
        raise ValueError(
            f"{caption!r}: has {len(relations)} relations between {len(things)} things, expected one of "
            f"{', '.join(RELATIONS)} for more things than one"
        )
    relation: Relation | None = None
    if relations:
        name = _RELATION_WORDS[relations[0].lower()]
        relation = next(each for each in RELATIONS if each == name)
    return Said(
        things=tuple((_NOUNS[noun.lower()], colour.lower()) for _, colour, noun in things),
        sizes=tuple(_SIZE_WORDS.get(size.lower(), "") for size, _, _ in things),
        relation=relation,
        background=_SETTINGS[settings[0].lower()],
    )


def unknown_words(caption: str) -> list[str]:
    """Words of a caption that no caption of the dialect has, in their order."""
    return [word for word in dict.fromkeys(re.findall(r"\w+", caption.lower())) if word not in _VOCABULARY]


_VOCABULARY = frozenset(
    word
    for words in (_NOUNS, _SIZE_WORDS, _SETTINGS, _RELATION_WORDS, COLOURS, STARTS, VERBS, ARTICLES)
    for phrase in words
    for word in phrase.split()
)
