"""What a study asks, and what only its key says: whose picture is on which side, and which pairs check the worker.

A check is a pair with a known answer: on one side the picture of the caption, on the other that of a caption with
hardly a word in common, both by the same hand. Everything is drawn by the seed, which no page holds; pairs are called
by hashes, and checks look like all others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from schemas.manifest import fingerprint
from schemas.ranges import MOST_SEED, Between, check_ranges

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
RESERVED = frozenset(("neither", "tie"))
"""What no model can be called."""
_TRIED = 50
"""Captions among which that of a check's wrong picture is chosen."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How a study is put together."""

    captions_per_page: int = 50
    """What one worker answers at a time, 1 to 100."""
    checks_per_page: int = 5
    """Pairs more, whose answer is known, 0 to 20."""
    seed: int = 0
    """Of sides, order and checks, 0 to 18,446,744,073,709,551,615; who guesses it knows the key, so give a long one."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        ranges = {"captions_per_page": Between(1, 100), "checks_per_page": Between(0, 20)}
        check_ranges(self, {**ranges, "seed": Between(0, MOST_SEED)})


@dataclass(frozen=True)
class Contestant:
    """A model whose pictures are judged."""

    name: str
    picture: Callable[[str], bytes]
    """The bytes of its picture of a caption, by the caption's id."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """All that is to be judged."""

    captions: Mapping[str, str]
    """By id, in their order."""
    models: tuple[Contestant, Contestant]
    known: Callable[[str], bytes] | None = None
    """A picture that is known to fit a caption, such as the photograph it was written for; checks are made of these,
    or, where there are none, of the models' own."""

    def __post_init__(self) -> None:
        """What cannot be a study fails here."""
        if not self.captions:
            raise ValueError("the study has no captions; give one or more")
        first, second = (model.name for model in self.models)
        if first == second or RESERVED & {first, second}:
            raise ValueError(f"the models are called '{first}' and '{second}'; give them names of their own")


@dataclass(frozen=True)
class Shown:
    """A picture on a page: whose, and of which caption. Model 2 are the pictures that are known to fit."""

    model: int
    caption: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A pair on a page."""

    id: str
    """A hash."""
    caption: str
    """Its id."""
    left: Shown
    right: Shown
    right_answer: Side | None
    """Which side matches the caption; None if that is what is asked."""

    def to_json(self) -> dict[str, Any]:
        """As the key has it."""
        said: dict[str, Any] = {"id": self.id, "caption": self.caption}
        if self.right_answer is not None:
            return {**said, "check": self.right_answer}
        return {**said, "left": self.left.model, "right": self.right.model}


def pages(study: Study, options: StudyOptions) -> list[list[Asked]]:
    """The pairs of each page; captions stand in their order, checks at places that the seed draws."""
    rng = np.random.default_rng(options.seed)
    ids = list(study.captions)
    # as often left as right, to one, in an order that nobody guesses
    swapped = rng.permutation(np.arange(len(ids)) % 2).astype(bool)
    found = []
    for number, first in enumerate(range(0, len(ids), options.captions_per_page)):
        here = ids[first : first + options.captions_per_page]
        page = [
            _pair(caption, bool(swapped[first + n]), _hashed(options.seed, "pair", caption))
            for n, caption in enumerate(here)
        ]
        elsewhere = [*ids[:first], *ids[first + len(here) :]] or ids  # a caption seen twice would tell a check
        for n in range(options.checks_per_page):
            name = _hashed(options.seed, "check", f"{number} {n}")
            check = _check(study, rng, n, name, elsewhere[int(rng.integers(len(elsewhere)))])
            page.insert(int(rng.integers(len(page) + 1)), check)
        found.append(page)
    return found


def fingerprint_of(study: Study, options: StudyOptions) -> str:
    """What tells answers to one study from those to another."""
    names = [model.name for model in study.models]
    return fingerprint(["study", list(study.captions.items()), names, vars(options)])


def _pair(caption: str, is_swapped: bool, name: str) -> Asked:
    left, right = (1, 0) if is_swapped else (0, 1)
    return Asked(id=name, caption=caption, left=Shown(left, caption), right=Shown(right, caption), right_answer=None)


def _check(study: Study, rng: np.random.Generator, number: int, name: str, caption: str) -> Asked:
    """A picture of its caption beside one of a caption with as few words in common as can be found quickly."""
    ids = list(study.captions)
    model = 2 if study.known is not None else number % 2
    tried = [ids[int(n)] for n in rng.integers(len(ids), size=_TRIED)]
    others = [one for one in (*tried, *ids[:_TRIED]) if study.captions[one] != study.captions[caption]]
    other = min(others, key=lambda one: _in_common(study.captions[one], study.captions[caption]), default=None)
    if other is None:
        raise ValueError("a check needs captions that differ, and the study has none; give it others, or no checks")
    side: Side = SIDES[int(rng.integers(2))]
    fitting, foreign = Shown(model, caption), Shown(model, other)
    left, right = (fitting, foreign) if side == "left" else (foreign, fitting)
    return Asked(id=name, caption=caption, left=left, right=right, right_answer=side)


def _in_common(one: str, other: str) -> float:
    """Share of the shorter caption's words that the other has."""
    words = [set(text.casefold().split()) for text in (one, other)]
    return len(words[0] & words[1]) / max(1, min(map(len, words)))


def _hashed(seed: int, *words: str) -> str:
    return hashlib.sha256("\n".join((str(seed), *words)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def all_pictures(asked: Sequence[Asked]) -> list[Shown]:
    """The pictures of a page in the order in which it carries them: of each pair the left, then the right."""
    return [side for one in asked for side in (one.left, one.right)]
