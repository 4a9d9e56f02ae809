"""Whether a picture shows what its caption says."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from dalle.scene_judge.seeing import Seen
from dalle.scenes.dialect import Said
from dalle.scenes.dialect.words import Relation

_CLEAR = 0.8
"""A relation holds if things are apart along its axis by more than this share of what they are apart across it."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What of a caption is right in a picture."""

    number: bool
    """As many things as it names."""
    kinds: bool
    """Of these kinds, in whatever colours."""
    colours: bool
    """In these colours, of whatever kinds."""
    pairs: bool
    """Each kind in its colour."""
    relation: bool
    """The first thing is where the caption says, seen from each of the others; also if it says nothing of that."""
    background: bool

    @property
    def all(self) -> bool:
        """Whether everything is right: kind and colour of each thing, relation, background."""
        return all(asdict(self).values())


def agreement(seen: Seen, said: Said) -> Agreement:
    """What of a caption is right in what was seen of a picture."""
    shown = [(thing.kind, thing.colour) for thing in seen.things]
    pairs = Counter(shown) == Counter(said.things)
    return Agreement(
        number=len(shown) == len(said.things),
        kinds=Counter(kind for kind, _ in shown) == Counter(kind for kind, _ in said.things),
        colours=Counter(colour for _, colour in shown) == Counter(colour for _, colour in said.things),
        pairs=pairs,
        relation=said.relation is None or (pairs and _holds(seen, said, said.relation)),
        background=seen.background == said.background,
    )


def _holds(seen: Seen, said: Said, relation: Relation) -> bool:
    places = {(thing.kind, thing.colour): thing.centre for thing in seen.things}
    first, *others = (places[thing] for thing in said.things)
    return all(is_at(first, relation, other) for other in others)


def is_at(one: tuple[float, float], relation: Relation, other: tuple[float, float]) -> bool:
    """Whether a place is clearly to the left of another one, to the right, above or below."""
    dx, dy = one[0] - other[0], one[1] - other[1]
    along, across = (dx, dy) if relation in ("left", "right") else (dy, dx)
    return (along < 0) == (relation in ("left", "above")) and abs(along) > _CLEAR * abs(across)
