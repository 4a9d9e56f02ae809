"""Drawn pictures: the same for everybody, different from one another, and truly described."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import cv2
import numpy as np
import py3langid
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalle.scenes import Scene, Thing, compose, describe, draw
from dalle.scenes.layout import BACKGROUNDS, PALETTE, PATTERNS, RADII, SHAPES

seeds = st.integers(0, 2**64)


def scene_of(*things: Thing, side: int = 200, background: str = "plain", colour: str = "grey") -> Scene:
    colour = colour if BACKGROUNDS[background].colours else ""
    return Scene(width=side, height=side, background=background, background_colour=colour, things=things, seed=1)


def thing_of(shape: str = "ball", colour: str = "red", radius: float = 0.3, **more: object) -> Thing:
    return Thing(**{"shape": shape, "colour": colour, "size": "large", "centre": (0.5, 0.5), "radius": radius} | more)


# The same for everybody


PROGRAM = """
import sys
from hashlib import sha256
import cv2
cv2.setNumThreads(1)
from dalle.scenes import compose, describe, draw
for seed in range(24):
    scene = compose(seed, 96 + seed, 128)
    print(sha256(draw(scene).tobytes()).hexdigest(), sha256(repr((scene, describe(scene, 3))).encode()).hexdigest())
assert "torch" not in sys.modules and "apache_beam" not in sys.modules
"""


@pytest.mark.parametrize("hash_seed", ["0", "1234"])
def test_other_processes_make_the_same_bytes(hash_seed):
    """Neither hash seed nor thread count shows in scene, picture or captions; torch is not loaded for it."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    scenes = [compose(seed, 96 + seed, 128) for seed in range(24)]
    here = [
        f"{sha256(draw(s).tobytes()).hexdigest()} {sha256(repr((s, describe(s, 3))).encode()).hexdigest()}"
        for s in scenes
    ]
    assert here == run.stdout.splitlines()


@given(seeds, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_few_captions_begin_many(seed, count):
    """Asking for more captions changes none of those one had."""
    scene = compose(seed)
    assert describe(scene, 7)[:count] == describe(scene, count)


# Different from one another


def test_pictures_of_different_seeds_are_not_alike():
    """Even the two most alike of 300 small pictures differ clearly in what they show."""
    small = np.stack(
        [cv2.resize(draw(compose(s, 192, 192)), (24, 24), interpolation=cv2.INTER_AREA) for s in range(300)]
    )
    flat = small.reshape(len(small), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    alike = flat @ flat.T - 2 * np.eye(len(flat))
    assert alike.max() < 0.96


def test_captions_of_different_seeds_differ():
    """At least 95 of 100 first captions are had by one scene only."""
    captions = [describe(compose(seed))[0].lower().rstrip(".") for seed in range(2000)]
    assert len(set(captions)) >= 0.95 * len(captions)


# What is in a scene


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_scenes_keep_their_promises(seed):
    """Sides 256..1024, aspect at most 2, one to seven things inside the picture, none on another, none hard to see."""
    scene = compose(seed)
    short, long = sorted((scene.width, scene.height))
    assert 256 <= short <= long <= min(1024, 2 * short)
    assert 1 <= len(scene.things) <= 7
    circles = [(t.centre[0] * scene.width, t.centre[1] * scene.height, t.radius * short) for t in scene.things]
    for number, (x, y, r) in enumerate(circles):
        assert r <= x <= scene.width - r
        assert r <= y <= scene.height - r
        assert all(np.hypot(x - u, y - v) > r + q for u, v, q in circles[:number])
    for thing in scene.things:
        assert RADII[thing.size][0] <= thing.radius
        assert not {thing.shape, thing.colour} & {*BACKGROUNDS[scene.background].clashes, scene.background_colour}


@given(seeds, st.integers(16, 2000), st.integers(16, 2000))
@settings(max_examples=40, deadline=None)
def test_given_sides_are_kept(seed, width, height):
    """A side that is given is taken as it is; one that is not is in 256..1024."""
    assert (width, height) == (compose(seed, width, height).width, compose(seed, width, height).height)
    assert width == compose(seed, width=width).width
    assert height == compose(seed, height=height).height
    assert 256 <= compose(seed, width=width).height <= 1024


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("size", [(16, 16), (300, 40), (33, 257)])
def test_all_backgrounds_fill_pictures_of_all_sizes(background, size):
    """[H, W, 3] uint8, and nowhere flat."""
    width, height = size
    scene = replace(scene_of(background=background), width=width, height=height)
    picture = draw(scene)
    assert (height, width, 3) == picture.shape
    assert np.uint8 == picture.dtype
    assert picture.flags.writeable
    assert picture.std(axis=(0, 1)).min() > 1


def test_tables_speak_of_what_there_is():
    """Colours and clashes of backgrounds, and poses of shapes, are all known elsewhere."""
    for background in BACKGROUNDS.values():
        assert set(background.colours) <= set(PALETTE)
        assert set(background.clashes) <= {*PALETTE, *SHAPES}
        assert all(("{}" in name) == bool(background.colours) for name in background.names)
    assert set(PALETTE) == set(BACKGROUNDS["plain"].colours)
    assert {"stand", "float", "lie"} == {shape.pose for shape in SHAPES.values()}


# What is drawn is what the scene says


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_is_drawn_where_it_is(shape):
    """The picture changes inside the thing's circle (its shadow a little outside) and nowhere else."""
    for pattern, centre in zip(PATTERNS, [(0.4, 0.6), (0.6, 0.4), (0.5, 0.5), (0.35, 0.35)], strict=True):
        thing = thing_of(shape, "green", 0.25, centre=centre, pattern=pattern, tilt=SHAPES[shape].tilt)
        with_it, without = draw(scene_of(thing)), draw(scene_of())
        changed = np.abs(with_it.astype(int) - without).max(axis=2)
        y, x = np.mgrid[0:200, 0:200]
        away = np.hypot(x - 200 * centre[0], y - 200 * centre[1]) / 50
        assert changed[away > 1.45].max() == 0
        rows, columns = np.nonzero(changed > 40)
        assert np.hypot(np.median(columns) - 200 * centre[0], np.median(rows) - 200 * centre[1]) < 30
        assert 0.1 < (changed > 40).sum() / (np.pi * 50**2) < 1.2


@pytest.mark.parametrize("colour", PALETTE)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_thing_has_the_colour_it_is_called_by(colour, pattern):
    """Most of a thing is nearer to its own colour name than to any other."""
    names = list(PALETTE)
    palette = lab(np.array(list(PALETTE.values()), dtype=np.uint8))
    for seed in range(8):
        scene = replace(scene_of(thing_of("square", colour, 0.35, pattern=pattern)), seed=seed)
        pixels = lab(draw(scene)[60:140, 60:140].reshape(-1, 3))
        nearest = np.linalg.norm(pixels[:, None] - palette, axis=2).argmin(axis=1)
        assert colour == names[np.bincount(nearest, minlength=len(names)).argmax()]


def lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]


# Captions: English


def test_captions_are_english():
    """A language identifier that knows a hundred languages takes all captions for English."""
    captions = [caption for seed in range(1000) for caption in describe(compose(seed), 2)]
    assert {"en"} == {py3langid.classify(caption)[0] for caption in captions}


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_captions_are_well_formed(seed):
    """4 to 25 words, no doubles, no leftovers of the frames, the right article."""
    captions = describe(compose(seed), 6)
    assert len({caption.lower().rstrip(".") for caption in captions}) == 6
    for caption in captions:
        assert 4 <= len(caption.split()) <= 25
        assert re.fullmatch(r"[A-Za-z]+(,? [a-z]+|: [a-z]+)*[.?]?", caption)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\b(\w+) \1\b", caption.lower())


def test_dozens_are_told_in_digits():
    """A scene made by hand may hold more equal things than there are words for."""
    scene = scene_of(*(thing_of(centre=(0.08 * k, 0.5), radius=0.03, size="medium") for k in range(1, 12)))
    assert any("11 " in caption for caption in describe(scene, 5))


def test_impossible_wishes_are_refused():
    """In one sentence that says what was found and what was expected."""
    with pytest.raises(ValueError, match=r"^seed is -1, expected 0 or more$"):
        compose(-1)
    with pytest.raises(ValueError, match=r"^height is 8 pixels, expected at least 16$"):
        compose(1, height=8)
    with pytest.raises(ValueError, match=r"holds no things, expected at least one"):
        describe(scene_of())
    with pytest.raises(ValueError, match=r"captions, expected 3000; ask for fewer$"):
        describe(scene_of(thing_of("square", size="medium", centre=(0.37, 0.37)), background="sky"), 3000)


# Captions: true. Read back by a grammar of its own, then compared with the coordinates.


def either(words):
    return f"(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})"


NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
SIZES = {"small": "small", "little": "small", "tiny": "small", "large": "large", "big": "large"}
COLOURS = {name: name for name in PALETTE} | {"gray": "grey", "teal": "turquoise"}
STRIPED = ("striped", "with stripes", "covered in stripes")
DOTTED = ("dotted", "spotted", "with dots", "with spots on it", "covered in dots")
CHECKED = ("checked", "chequered", "checkered", "with a checked pattern")
LOOKS = dict.fromkeys(STRIPED, "striped") | dict.fromkeys(DOTTED, "dotted") | dict.fromkeys(CHECKED, "checked")
QUALITIES = {
    **{word: ("size", size) for word, size in SIZES.items()},
    **{word: ("colour", colour) for word, colour in COLOURS.items()},
    **{word: ("pattern", pattern) for word, pattern in LOOKS.items()},
}
ONE = {noun: shape for shape, kind in SHAPES.items() for noun in (shape, *kind.also)}
IRREGULAR = {"fish": "fish", "leaf": "leaves", "butterfly": "butterflies", "cross": "crosses"}
MANY = {IRREGULAR.get(noun, f"{noun}s"): shape for noun, shape in ONE.items()}

NOUN_PHRASE = re.compile(
    rf"\b(?:a |the )?(?P<number>{either(NUMBERS)} )?(?P<before>(?:{either(QUALITIES)} )*)"
    rf"(?P<noun>{either(ONE | MANY)})\b"
    rf"(?P<after> that (?:is|are) {either(COLOURS)}\b| {either(words for words in LOOKS if ' ' in words)}\b)?"
)
VERB = r"\b(?:is|are|placed|lying|sitting|lies?|sits?|(?:stand|float|hang|hover|rest)(?:s|ing)?)\b"
THERE = rf"(?:there (?:is|are)|you can see|{VERB})"
SIDES = {  # what must hold of (dx, dy) of the first, seen from the second, in pixels
    r"(?:to the |on the )?left of": lambda dx, dy: dx < -1.9 * abs(dy),
    r"(?:to the |on the )?right of": lambda dx, dy: dx > 1.9 * abs(dy),
    r"(?:above|over|higher up than)": lambda dx, dy: dy < -1.9 * abs(dx),
    r"(?:below|under|beneath|underneath)": lambda dx, dy: dy > 1.9 * abs(dx),
    r"above and to the left of": lambda dx, dy: max(dx, dy) < 0,
    r"above and to the right of": lambda dx, dy: dy < 0 < dx,
    r"below and to the left of": lambda dx, dy: dx < 0 < dy,
    r"below and to the right of": lambda dx, dy: min(dx, dy) > 0,
    r"(?:next to|right beside|beside|close to)": lambda dx, dy: abs(dx) > 1.9 * abs(dy),
}
PARTS = {  # what must hold of (x, y), 0..1
    r"(?:in the top left corner|at the top left|in the upper left corner)": lambda x, y: max(x, y) < 0.35,
    r"(?:in the top right corner|at the top right|in the upper right corner)": lambda x, y: x > 0.65 and y < 0.35,
    r"(?:in the bottom left corner|at the bottom left|in the lower left corner)": lambda x, y: x < 0.35 and y > 0.65,
    r"(?:in the bottom right corner|at the bottom right|in the lower right corner)": lambda x, y: min(x, y) > 0.65,
    r"(?:at the top|near the top of the picture|in the upper part of the picture)": lambda x, y: y < 0.35,
    r"(?:at the bottom|near the bottom of the picture|in the lower part of the picture)": lambda x, y: y > 0.65,
    r"on the left(?: side| of the picture)?": lambda x, y: x < 0.35,
    r"on the right(?: side| of the picture)?": lambda x, y: x > 0.65,
    r"in the (?:middle|centre|center)(?: of the picture)?": lambda x, y: max(abs(x - 0.5), abs(y - 0.5)) < 0.11,
}
CLAIMS_NOTHING = {
    *("a", "the", "this", "that", "which", "it", "them", "we", "you", "here", "there", "who", "and", "with"),
    *("of", "in", "on", "among", "including", "behind", "background"),
    *("is", "are", "be", "can", "do", "has", "see", "seen", "find", "found", "put", "left", "placed"),
    *("shows", "shown", "drawn", "painted", "pictured"),
    *("picture", "drawing", "illustration", "image", "digital", "painting", "simple"),
}


class Reader:
    """Takes a caption apart: what is understood is compared with the scene and taken away."""

    def __init__(self, scene: Scene, caption: str) -> None:
        self.scene = scene
        self.groups: list[list[Thing]] = []
        self.text = re.sub(r"\ban ", "a ", caption.lower().rstrip(".?"))
        background = BACKGROUNDS[scene.background]
        colours = [word for word, name in COLOURS.items() if name == scene.background_colour] or [""]
        names = either(name.format(colour).replace("an ", "a ") for name in background.names for colour in colours)
        self.text = re.sub(rf"(?:\b{either(background.prepositions)} |\b){names}\b", "#", self.text, count=1)
        self.text = NOUN_PHRASE.sub(self.read_things, self.text)

    def read_things(self, match: re.Match[str]) -> str:
        """The things a noun phrase speaks of: all that fit, and as many as it says."""
        things = [t for t in self.scene.things if t.shape == (ONE | MANY)[match["noun"]]]
        for word in re.findall(either(QUALITIES), match["before"] + (match["after"] or "")):
            name, value = QUALITIES[word]
            things = [t for t in things if getattr(t, name) == value]
        assert len(things) == NUMBERS[(match["number"] or "one").strip()], match[0]
        assert match["noun"] in (MANY if match["number"] else ONE), match[0]
        self.groups.append(things)
        return f"<{len(self.groups) - 1}>"

    def take(self, pattern: str, holds) -> None:
        """Check and take away each match of a pattern in which `@` stands for things; the things stay."""

        def check(match: re.Match[str]) -> str:
            assert holds(*(self.groups[int(number)] for number in match.groups())), match[0]
            return " ".join(f"<{number}>" for number in match.groups())

        self.text = re.sub(pattern.replace("@", r"<(\d+)>"), check, self.text)

    def offsets(self, a: list[Thing], b: list[Thing]) -> list[tuple[float, float]]:
        """(dx, dy) in pixels of each of `a`, seen from each of `b`."""
        width, height = self.scene.width, self.scene.height
        return [((p.centre[0] - q.centre[0]) * width, (p.centre[1] - q.centre[1]) * height) for p in a for q in b]


def check_true(scene: Scene, caption: str) -> None:
    """Every claim of the caption holds in the scene, and no word is left that could claim more."""
    told = Reader(scene, caption)

    def all_of(holds):
        return lambda a, b: all(holds(*offset) for offset in told.offsets(a, b))

    def larger(a, b):
        return min(t.radius for t in a) > 1.25 * max(t.radius for t in b)

    def between(a, b, c):
        return all(dx > 0 for dx, _ in told.offsets(a, b)) and all(dx < 0 for dx, _ in told.offsets(a, c))

    def row(a):
        steps = [told.offsets([q], [p])[0] for p, q in pairwise(sorted(a, key=lambda t: t.centre))]
        return len(a) > 2 and all(dx > 1.9 * abs(dy) for dx, dy in steps)

    told.take(rf"@(?: that)? {VERB} (?:much )?(?:bigger|larger) than @", larger)
    told.take(rf"@ {VERB} (?:much )?smaller than @", lambda a, b: larger(b, a))
    told.take(rf"@ {VERB}(?: in)? between @ and @", between)
    for pattern in (r"a row of @", r"@ in a row", r"@ side by side"):
        told.take(pattern, row)
    for pattern in (r"nothing but @", r"there (?:is|are) only @", r"just @"):
        told.take(pattern, lambda a: len(a) == len(scene.things))
    for words, holds in reversed(SIDES.items()):
        told.take(rf"@(?: that| which)? {VERB} {words} @", all_of(holds))
        told.take(rf"^{words} @ {THERE} @", lambda b, a, holds=holds: all_of(holds)(a, b))
    for words, holds in PARTS.items():
        told.take(
            rf"@ (?:(?:{VERB}|can be) (?:\w+ )?)?{words}", lambda a, holds=holds: all(holds(*t.centre) for t in a)
        )
    if each := re.findall(r"\bone (\w+)", told.text):
        assert sorted(COLOURS[colour] for colour in each) == sorted(t.colour for t in told.groups[0])
        told.text = re.sub(r"\bone \w+", "", told.text)
    if total := re.search(r"(\w+) (?:things|objects|items)", told.text):
        assert NUMBERS[total[1]] == len(scene.things)
        told.text = told.text.replace(total[0], "")
    rest = set(re.findall(r"[a-z]+", re.sub(VERB, "", told.text)))
    assert rest <= CLAIMS_NOTHING, (caption, told.text)


@given(seeds)
@settings(max_examples=400, deadline=None)
def test_captions_are_true(seed):
    """Number, colour, pattern, size, place and relation, as read by somebody who only has the coordinates."""
    scene = compose(seed)
    for caption in describe(scene, 6):
        check_true(scene, caption)


def test_the_reader_of_captions_notices_lies():
    """Told of the mirrored scene, left and right are wrong; of a scene in other colours, colours are."""
    lies = 0
    for seed in range(150):
        scene = compose(seed)
        turned = dict(pairwise([*PALETTE, "red"]))
        mirrored = [replace(t, centre=(1 - t.centre[0], t.centre[1])) for t in scene.things]
        painted = [replace(t, colour=turned[t.colour]) for t in scene.things]
        for caption in describe(scene, 6):
            words = re.sub("who left", "", caption.lower())
            if re.search(r"\b(?:left|right)\b(?! beside)", words):
                lies += 1
                with pytest.raises(AssertionError):
                    check_true(replace(scene, things=tuple(mirrored)), caption)
            if re.search(rf"\b{either(COLOURS)} {either(ONE | MANY)}\b", words):
                lies += 1
                with pytest.raises(AssertionError):
                    check_true(replace(scene, things=tuple(painted)), caption)
    assert lies > 500
