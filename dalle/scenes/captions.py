"""English captions for drawn pictures, in varied grammar, all of them true.

A caption is one of some twenty sentence frames, filled in for groups of equal things. A frame that has
nothing true to say of the scene says nothing, and another one is tried; `claims` decides what can be said.
"""

import re
from collections.abc import Callable

from dalle.scenes import claims
from dalle.scenes.layout import Scene
from dalle.scenes.phrases import COLOURS, PARTS, Phrases, be, number, plural

WORDS = (4, 25)
"""Fewest and most words of a caption."""

_PICTURES = ("picture", "drawing", "illustration", "image", "digital painting", "simple drawing")
_SHOWS = ("the picture shows", "this picture shows", "you can see", "we can see", "here you see")
_SEEN = ("is shown", "is seen", "is drawn", "is painted", "is pictured", "is placed", "can be seen", "can be found")
_ASKS = ("can you see", "can you find", "do you see")

_ENGLISH = frozenset(("the", "of", "and", "there", "are", "with", "that", "which", "you", "than"))
"""Words by which language identifiers know English; short captions without were taken for Norwegian or Italian."""

_VOWEL = re.compile(r"\ba (?=[aeiou])")


def describe(scene: Scene, count: int = 1) -> list[str]:
    """`count` captions of a scene, no two alike; the first of many are the same as the few.

    Each has 4 to 25 words. Some begin with a capital or end with a full stop, some do not, as on the web.

    Raises:
        ValueError: if the scene is empty, or too simple for so many captions.
    """
    if not scene.things:
        raise ValueError(f"the scene of seed {scene.seed} holds no things, expected at least one to describe")
    say = Phrases(scene)
    captions: dict[str, str] = {}
    for _ in range(20 * (count + 5)):
        if len(captions) == count:
            return list(captions.values())
        if caption := _caption(say):
            captions.setdefault(caption, _styled(say, caption))
    raise ValueError(f"the scene of seed {scene.seed} gives {len(captions)} captions, expected {count}; ask for fewer")


def _caption(say: Phrases) -> str:
    """A caption in lower case without a full stop; empty if the frame tried has nothing to say."""
    text = _VOWEL.sub("an ", say.pick(_FRAMES)(say))
    words = text.split(" ")
    vague = len(words) < 11 and sum(word in _ENGLISH for word in words) < (2 if len(words) < 8 else 1)
    return "" if vague or not WORDS[0] <= len(words) <= WORDS[1] else text


def _styled(say: Phrases, text: str) -> str:
    """With or without a capital and a full stop."""
    style = next(say.numbers)
    if style < 0.6:
        text = text[0].upper() + text[1:]
    return f"{text}." if (style < 0.4 or style > 0.92) and text[-1] != "?" else text


def _lists(say: Phrases) -> str:
    groups = say.sample(1, 2, 2, 3, 4)
    return f"{say.nouns(groups)} {say.setting() if len(groups) > 1 else say.position(groups[0])}"


def _is_picture(say: Phrases) -> str:
    start = f"{say.pick(('a', 'a', 'the', 'this'))} {say.pick(_PICTURES)} of"
    return f"{start} {say.nouns(say.sample(1, 2, 3))} {say.setting()}"


def _shows(say: Phrases) -> str:
    return f"{say.pick(_SHOWS)} {say.nouns(say.sample(1, 2, 3))} {say.setting()}"


def _there_is(say: Phrases) -> str:
    groups = say.sample(1, 2)
    where = say.position(groups[0]) if len(groups) == 1 else say.setting()
    return f"there {be(groups[0])} {say.nouns(groups)} {where}"


def _stands(say: Phrases) -> str:
    group = say.pick(say.groups)
    return f"{say.noun(group)} {say.verb(group)} {say.position(group)}"


def _is_seen(say: Phrases) -> str:
    group = say.pick(say.groups)
    seen = say.pick(_SEEN)
    seen = seen.replace("is ", "are ") if group.plural else seen
    return f"{say.noun(group, say.pick(('a', 'the')))} {seen} {say.position(group)}"


def _relates(say: Phrases) -> str:
    a, b = say.pair()
    if not (words := say.seen_from(a, b)):
        return ""
    article = say.pick(("a", "a", "the"))
    verb = say.verb(a) if say.chance(0.7) else be(a)
    return f"{say.noun(a, article)} {verb} {words} {say.noun(b, article)}"


def _relates_here(say: Phrases) -> str:
    if not (text := _relates(say)):
        return ""
    return f"{text} {say.setting()}" if say.chance(0.5) else f"{say.setting()}, {text}"


def _relating(say: Phrases) -> str:
    a, b = say.pair()
    if not (words := say.seen_from(a, b)):
        return ""
    text = f"{say.noun(a)} {say.participle(a)} {words} {say.noun(b)}"
    return f"{text} {say.setting()}" if say.chance(0.6) else text


def _relates_in_clause(say: Phrases) -> str:
    a, b = say.pair()
    if not (words := say.seen_from(a, b)):
        return ""
    clause = f"{say.pick(('that', 'which'))} {say.verb(a)} {words} {say.noun(b)}"
    start = say.pick((f"there {be(a)}", f"a {say.pick(_PICTURES)} of", say.pick(_SHOWS)))
    return f"{start} {say.noun(a, tail=False)} {clause}"


def _relates_turned(say: Phrases) -> str:
    a, b = say.pair()
    words = say.seen_from(a, b)
    if not words or words.endswith("than"):
        return ""
    verb = say.pick((say.verb(a), f"there {be(a)}", "you can see"))
    return f"{words} {say.noun(b, say.pick(('a', 'the')))} {verb} {say.noun(a)}"


def _setting_first(say: Phrases) -> str:
    groups = say.sample(1, 2)
    return f"{say.setting()} there {be(groups[0])} {say.nouns(groups)}"


def _with_background(say: Phrases) -> str:
    groups = say.sample(1, 2, 3)
    if "against" not in say.background.prepositions:  # it lies below the things, not behind them
        return f"{say.backdrop()} with {say.nouns(groups)}"
    if say.chance(0.5):
        return f"{say.nouns(groups)} with {say.backdrop()} in the background"
    them = "them" if groups[1:] or groups[0].plural else "it"
    return f"{say.nouns(groups)} and {say.backdrop()} behind {them}"


def _contrasts(say: Phrases) -> str:
    parts = [(group, part) for group in say.sample(4) if (part := claims.part(group))][:2]
    if len(parts) < 2:
        return ""
    (a, here), (b, there) = parts
    link = say.pick((" and", ",", f" and there {be(b)}"))
    return f"{say.noun(a)} {say.pick(PARTS[here])}{link} {say.noun(b)} {say.pick(PARTS[there])}"


def _compares(say: Phrases) -> str:
    a, b = say.pair()
    times = claims.larger(a, b)
    if times < 1.3 or a.plural:
        return ""
    much = "much " if times > 1.8 and say.chance(0.5) else ""
    bigger = say.pick(("bigger", "larger"))
    if say.chance(0.4):
        return f"{say.noun(b, 'the')} {be(b)} {much}smaller than {say.noun(a, 'the')}"
    if say.chance(0.5):
        return f"{say.noun(a, 'the')} is {much}{bigger} than {say.noun(b, 'the')}"
    return f"{say.noun(a, tail=False)} that is {much}{bigger} than {say.noun(b)} {say.setting()}"


def _is_between(say: Phrases) -> str:
    a, b, c = (say.sample(3) * 3)[:3]
    if not claims.between(say.scene, a, b, c):
        return ""
    verb = say.pick((say.verb(a), say.participle(a), f"{be(a)} in"))
    return f"{say.noun(a)} {verb} between {say.noun(b)} and {say.noun(c)}"


def _in_row(say: Phrases) -> str:
    group = say.pick(say.groups)
    if not claims.in_row(say.scene, group):
        return ""
    start, end = say.pick((("", " in a row"), ("a row of ", ""), ("", " side by side")))
    return f"{start}{say.noun(group, tail=False)}{end} {say.setting()}"


def _one_each(say: Phrases) -> str:
    shape = say.pick(say.groups).shape
    same = [group for group in say.groups if group.shape == shape]
    if not 2 <= len(same) <= 3 or any(group.plural for group in same):
        return ""
    *most, last = [f"one {say.pick(COLOURS.get(group.colour, (group.colour,)))}" for group in same]
    return f"{number(len(same))} {plural(shape)} {say.setting()}, {', '.join(most)} and {last}"


def _counts(say: Phrases) -> str:
    count = len(say.scene.things)
    if len(say.groups) == 1 or count < 3:
        return ""
    text = f"{number(count)} {say.pick(('things', 'objects', 'items'))} {say.setting()}"
    if say.chance(0.5):
        return f"{text}, {say.pick(('among them', 'including'))} {say.nouns(say.sample(1))}"
    return f"{text}: {say.nouns(say.sample(len(say.groups)))}"


def _only(say: Phrases) -> str:
    group = say.groups[0]
    if len(say.groups) > 1:
        return ""
    start = say.pick(("nothing but", f"there {be(group)} only", "just"))
    return f"{start} {say.noun(group)} {say.position(group)}"


def _asks(say: Phrases) -> str:
    group = say.pick(say.groups)
    if say.chance(0.2):
        return f"{say.pick(('who has put', 'who left'))} {say.noun(group)} {say.setting()}?"
    return f"{say.pick(_ASKS)} {say.noun(group)} {say.position(group)}?"


_FRAMES: tuple[Callable[[Phrases], str], ...] = (
    *(_lists, _lists, _lists, _is_picture, _shows, _there_is),
    *(_stands, _is_seen, _setting_first, _with_background, _contrasts),
    *(_relates, _relates, _relates_here, _relating, _relating),
    *(_relates_in_clause, _relates_turned, _compares, _is_between),
    *(_in_row, _one_each, _counts, _only, _asks),
)
"""Named more often: tried more often."""
