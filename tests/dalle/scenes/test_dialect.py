"""The dialect: what its captions say is what its scenes are, and what is held out is never shown."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import numpy as np
import pytest

from dalle.scenes import draw
from dalle.scenes.dialect import compose_simple, read_caption, unknown_words, write_simple
from dalle.scenes.dialect.composing import GRID
from dalle.scenes.dialect.held_out import (
    HELD_OUT,
    KIND,
    OTHER_KIND,
    PAIRS,
    RELATION,
    SEEN,
    UNSEEN,
    pattern,
    seen_scenes,
    unseen_scenes,
)
from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, OPPOSITE, RELATIONS, SIZES
from dalle.scenes.layout import BACKGROUNDS as ALL_BACKGROUNDS
from dalle.scenes.layout import PALETTE, SHAPES

SEEDS = range(2_000)
SCENES = [compose_simple(seed, 64) for seed in SEEDS]


def test_a_caption_read_again_says_what_the_scene_is() -> None:
    for made in SCENES:
        looks = [(thing.shape, thing.colour) for thing in made.scene.things]
        for caption in write_simple(made, 4):
            said = read_caption(caption)
            assert Counter(said.things) == Counter(looks), caption
            assert said.background == made.scene.background, caption
            assert unknown_words(caption) == [], caption
            turned = made.relation is not None and said.things[0] != looks[0]
            assert said.relation == (OPPOSITE[made.relation] if turned and made.relation else made.relation), caption
            sizes = {look: thing.size for look, thing in zip(looks, made.scene.things, strict=True)}
            assert all(size in ("", sizes[look]) for look, size in zip(said.things, said.sizes, strict=True)), caption


def test_the_relation_holds_of_the_first_thing_and_every_other_by_a_wide_margin() -> None:
    for made in SCENES:
        first, *others = made.scene.things
        for other in others:
            dx, dy = first.centre[0] - other.centre[0], first.centre[1] - other.centre[1]
            along, across = (dx, dy) if made.relation in ("left", "right") else (dy, dx)
            assert (along < 0) == (made.relation in ("left", "above"))
            assert abs(along) > 0.35
            assert abs(across) <= 0.8 * abs(along) + 1e-9


def test_things_do_not_overlap_and_lie_inside() -> None:
    for made in SCENES:
        things = made.scene.things
        for thing in things:
            assert min(thing.centre) >= thing.radius
            assert max(thing.centre) <= 1 - thing.radius
            assert all((GRID * at - 0.5) == pytest.approx(round(GRID * at - 0.5)) for at in thing.centre)
        for a, b in product(things, things):
            if a is not b:
                apart = np.hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1])
                assert apart > a.radius + b.radius - 0.03  # circles around them; the things are smaller


def test_every_word_and_every_combination_occurs() -> None:
    looks = Counter((thing.shape, thing.colour) for made in SCENES for thing in made.scene.things)
    assert set(looks) == set(product(KINDS, COLOURS))
    assert {thing.size for made in SCENES for thing in made.scene.things} == set(SIZES)
    assert {made.relation for made in SCENES} == {None, *RELATIONS}
    assert {made.scene.background for made in SCENES} == set(BACKGROUNDS)
    assert len(KINDS) >= 16
    assert len(COLOURS) == 8
    assert len(RELATIONS) == 4
    assert len(BACKGROUNDS) == 6
    said = {word for made in SCENES for caption in write_simple(made, 4) for word in caption.replace(",", "").split()}
    tables = (KINDS, SIZES, RELATIONS, BACKGROUNDS)
    assert {
        word for table in tables for phrases in table.values() for phrase in phrases for word in phrase.split()
    } <= said


def test_words_are_drawn_things_and_mean_one_thing_each() -> None:
    assert set(KINDS) <= set(SHAPES)
    assert set(COLOURS) <= set(PALETTE)
    assert set(BACKGROUNDS) <= set(ALL_BACKGROUNDS)
    for table in (KINDS, SIZES, RELATIONS, BACKGROUNDS):
        phrases = [phrase for some in table.values() for phrase in some]
        assert len(phrases) == len(set(phrases))


def test_what_is_held_out_is_not_in_what_is_shown_and_in_all_that_asks_for_it() -> None:
    for seed in range(1_500):
        made = compose_simple(seed, 64, held_out=HELD_OUT)
        looks = {(thing.shape, thing.colour) for thing in made.scene.things}
        assert not looks & set(PAIRS)
        for caption in write_simple(made, 2):
            said = read_caption(caption)
            first, *others = (kind for kind, _ in said.things)
            assert not (first == KIND and said.relation == RELATION and OTHER_KIND in others), caption
            assert not (first == OTHER_KIND and said.relation == OPPOSITE[RELATION] and KIND in others), caption
    unseen, seen = list(unseen_scenes(0, 64)), list(seen_scenes(0, 64))
    assert all(HELD_OUT.has(made.scene, made.relation) for _, made in unseen)
    assert not any(HELD_OUT.has(made.scene, made.relation) for _, made in seen)
    assert Counter(what for what, _ in unseen) == UNSEEN
    assert Counter(what for what, _ in seen) == SEEN
    assert sum(UNSEEN.values()) == sum(SEEN.values()) == 500
    assert UNSEEN["two"] >= 150
    assert UNSEEN["three"] >= 150
    assert UNSEEN["relation"] >= 100
    counted = Counter(
        look for _, made in unseen for look in {(t.shape, t.colour) for t in made.scene.things} & set(PAIRS)
    )
    assert set(counted) == set(PAIRS)
    assert min(counted.values()) > 20
    assert len(set(PAIRS)) == 12
    assert {colour for _, colour in PAIRS} == set(COLOURS)


def test_a_seed_decides_scene_captions_and_picture() -> None:
    for seed in (0, 7, 2**40):
        a, b = compose_simple(seed, 64), compose_simple(seed, 64)
        assert a == b
        assert write_simple(a, 3) == write_simple(b, 3) == write_simple(b, 5)[:3]
        assert (draw(a.scene) == draw(b.scene)).all()


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("a red star", "names 0 backgrounds"),
        ("a red star on sand in snow", "names 2 backgrounds"),
        ("a star on sand", "names 0 things"),
        ("a red star a blue boat on sand", "has 0 relations between 2 things"),
        ("a red star above a blue boat under a green fish on sand", "has 2 relations"),
        ("", "names 0 backgrounds"),
    ],
)
def test_what_is_no_caption_of_the_dialect_is_said(caption: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_caption(caption)


def test_words_that_it_has_not_are_named_in_their_order() -> None:
    assert unknown_words("Two cats beside a red horse, on the sand: two!") == ["two", "cats", "beside", "horse"]


def test_the_pattern_finds_each_caption_with_what_is_held_out_and_no_other() -> None:
    """Said either way round, with any words; among scenes of which some have a pair, some the relation, most nothing."""
    held_out = re.compile(pattern(), re.IGNORECASE)
    asked = [made for _, made in unseen_scenes(5, 64)]
    found = []
    for made in SCENES + asked:
        has = HELD_OUT.has(made.scene, made.relation)
        for caption in write_simple(made, 4):
            assert bool(held_out.search(caption.upper())) == has, caption
        found.append(has)
    assert all(found[len(SCENES) :])
    assert 0.1 < np.mean(found[: len(SCENES)]) < 0.4
