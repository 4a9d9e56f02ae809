"""Captions and shapes that are kept, and why others are not."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.captions.boilerplate import crop, is_mainly_boilerplate
from pipelines.captions.language import identify
from pipelines.stages.filter import FilterOptions, Thresholds, clean, count_words, filter_captions, image_problem
from schemas.reasons import REASONS

PAPER = Thresholds()
LENGTH_ONLY = Thresholds(language="any", drop_boilerplate=False)


def reason(caption: str, limits: Thresholds = PAPER) -> str | None:
    filtered = filter_captions([caption], limits)
    return filtered.problem.reason if filtered.problem else None


@pytest.mark.parametrize(
    ("captions", "kept", "reason"),
    [
        (["a red boat"], ("a red boat",), None),
        (["  a\tred \n boat\u00a0here "], ("a red boat here",), None),
        (["salt &amp; pepper on a table"], ("salt & pepper on a table",), None),
        (["a boat"], (), "too-short"),
        (["- - a boat -"], (), "too-short"),
        (["a b c"], (), "too-short"),
        ([""], (), "no-caption"),
        (["\u200b \n"], (), "no-caption"),
        ([], (), "no-caption"),
        (["boat", "a red boat", "b", "two red boats"], ("a red boat", "two red boats"), None),
        (["boat", ""], (), "too-short"),
    ],
)
def test_lengths(captions: list[str], kept: tuple[str, ...], reason: str | None) -> None:
    """At least three words and six characters; of several captions the good ones are kept."""
    filtered = filter_captions(captions, LENGTH_ONLY)
    assert kept == filtered.kept
    assert reason == (filtered.problem.reason if filtered.problem else None)


@pytest.mark.parametrize(
    ("text", "words"),
    [("a red boat", 3), ("- a -", 1), ("", 0), ("红色的船", 4), ("1 2 3", 3), ("…", 0), ("the kanji 犬", 3)],
)
def test_words(text: str, words: int) -> None:
    """Punctuation is no word; a sign of a script without spaces is one."""
    assert words == count_words(text)


def test_none_keeps_everything() -> None:
    """Without a caption, short, in any language, of any shape."""
    none = FilterOptions(filters="none").thresholds()
    for captions in ([], [""], ["x"], ["IMG_4894.JPG"], ["Ein rotes Boot"], ["stock photo"]):
        assert filter_captions(captions, none).problem is None
    assert image_problem(1, 3000, none) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (FilterOptions(), Thresholds()),
        (FilterOptions(filters="datacomp-basic"), Thresholds(drop_boilerplate=False, min_image_size=200, max_aspect_ratio=3.0)),
        (FilterOptions(filters="none", min_words=2), Thresholds(
            min_words=2, min_characters=0, language="any", drop_boilerplate=False, max_aspect_ratio=0.0)),
        (FilterOptions(max_aspect_ratio=0.0, language="de"), Thresholds(max_aspect_ratio=0.0, language="de")),
    ],
)  # fmt: skip
def test_a_threshold_given_counts_above_the_preset(options: FilterOptions, expected: Thresholds) -> None:
    """Every threshold is an option."""
    assert expected == options.thresholds()


BOILERPLATE = [
    "photographed on 3 May 2011", "Photographed on May 3rd, 2011", "photo taken on 03/05/2011 at 14:33", "taken 2011-05-03",
    "Picture was taken in March 2009", "Photo from 14.03.2009", "captured on the 3rd of May 2011", "Shot on 2011:05:03 10:11:12",
    "Uploaded on Sept. 12, 2014", "posted 12 Dec '09", "2013-01-28 10.55.50", "20140518_110240", "IMG_4894", "IMG_4894.JPG copy 2",
    "DSC02922", "_DSC5541.jpg", "P1030557", "WP_20150703_22_37_13_Rich", "DSCN0825 - DSCN0827", "SDIM3499", "GOPR0123.JPG",
    "click to enlarge", "Click here to enlarge the picture", "Please click on image to view full size", "view larger image",
    "stock photo", "Stock photo - image number 20394412", "Royalty Free Stock Photography", "royalty-free vector", "Stock Illustration",
    "my-holiday-picture_17.jpg", "photo.png", "https://photos.example/gallery/2011/picture_17.jpg", "www.example.com",
    "embedded image permalink", "profile photo of the user", "image 001 of 250", "Photo 15:", "Untitled", "image not available",
]  # fmt: skip


@pytest.mark.parametrize("caption", BOILERPLATE)
def test_boilerplate_is_refused(caption: str) -> None:
    """Dates in many formats, file names, invitations to click, stock photos, addresses."""
    assert "boilerplate" == reason(caption)


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("Branch of a Christmas tree with cones — Stock Photo #12043266", "Branch of a Christmas tree with cones"),
        ("Royalty-Free Stock Photo: Beautiful young woman shouting", "Beautiful young woman shouting"),
        ("A red boat on the lake, photographed on 3 May 2011", "A red boat on the lake"),
        ("Stock Photo of a fisherman in a boat - click to enlarge", "a fisherman in a boat"),
        ("IMG_4894 sunset over the bay", "sunset over the bay"),
        ("sunset over the bay.jpg", "sunset over the bay"),
        ("sunset over the bay http://example.com/a.jpg", "sunset over the bay"),
        ("gray and white seamless pattern vector image vector image", "gray and white seamless pattern"),
    ],
)
def test_boilerplate_at_the_ends_is_cropped(caption: str, text: str) -> None:
    """What is left is judged and kept."""
    assert (text,) == filter_captions([caption], PAPER).kept


@pytest.mark.parametrize(
    "caption",
    [
        "A man takes a photo of his stock of apples", "the shot was taken by a tall player", "three girls posing for a profile picture",
        "Crete in October 2011 with its mountains", "a click beetle on a green leaf", "S&P 500 monthly chart on a screen",
        "view of the mountains from the lake", "an image of two dogs in the snow", "The year 2020 written on a wall",
        "a 1943 lottery ticket on a table", "people press against the fence to see the parade",
    ],
)  # fmt: skip
def test_captions_that_only_sound_like_it_are_kept_whole(caption: str) -> None:
    """Words of boilerplate that say something of the picture."""
    assert (caption,) == filter_captions([caption], PAPER).kept


def test_real_captions_survive(data: Path) -> None:
    """Of 25,014 COCO captions hardly one is touched."""
    captions = [
        a["caption"].strip() for a in json.loads((data / "text/captions_val2017.json").read_text())["annotations"]
    ]
    touched = [c for c in captions if crop(clean(c)) != clean(c) or is_mainly_boilerplate(clean(c))]
    assert len(touched) <= 5, touched


@given(st.text(st.sampled_from("ab.0123-_/ :jpgIMGDSC#stock photo"), max_size=300))
def test_cropping_ends_and_only_takes_away(text: str) -> None:
    """Cropping twice is cropping once, and nothing is added."""
    cropped = crop(text)
    assert cropped == crop(cropped)
    assert cropped in text


def test_hostile_captions_take_no_time() -> None:
    """A megabyte made to make patterns work is judged at once."""
    begun = time.process_time()
    for piece in ("a.jp", "stock ", "photo 1", "click here ", "http", "2011-", "IMG_", "(", "\u0000", "&amp;"):
        filter_captions([piece * (1 << 17)], PAPER)
        filter_captions([piece * 200], PAPER)
    assert time.process_time() - begun < 10


@pytest.fixture(scope="module")
def coco(data: Path) -> list[str]:
    captions = [
        a["caption"].strip() for a in json.loads((data / "text/captions_val2017.json").read_text())["annotations"]
    ]
    return random.Random(0).sample(captions, 2000)


@pytest.fixture(scope="module")
def foreign(data: Path) -> list[str]:
    lines = [line.split("\t", 1) for line in (data / "text/language_id/sentences.tsv").read_text().splitlines()]
    return random.Random(0).sample([text for code, text in lines if code != "en"], 2000)


def test_english_is_kept_and_other_languages_are_not(coco: list[str], foreign: list[str]) -> None:
    """Bars: at least 99.5 % of 2,000 COCO captions kept, at most 0.5 % of 2,000 foreign sentences."""
    assert 0.995 <= sum(reason(c) is None for c in coco) / len(coco)
    assert 0.005 >= sum(reason(c) is None for c in foreign) / len(foreign)


def test_cld3_is_there_for_fidelity(coco: list[str]) -> None:
    """The paper's model, with its confident mistakes."""
    assert ("ha", True) == (identify("a dog", "cld3").code, identify("a dog", "cld3").probability > 0.99)
    kept = sum(reason(c, Thresholds(language_model="cld3")) is None for c in coco) / len(coco)
    assert 0.90 < kept < 0.97


def test_names_do_not_make_it_another_language(data: Path) -> None:
    """In doubt a caption is in the language that is wanted: all of CUB's birds are kept; without it some are not."""
    rows = map(json.loads, (data / "cub/captions.jsonl").open())
    birds = {f"a photo of a {row['captions'][0]}" for row in rows}
    assert {None} == {reason(bird) for bird in birds}
    assert "not-english" in {reason(bird, Thresholds(language_ratio=1)) for bird in birds}


def test_language_is_stored_whatever_the_verdict() -> None:
    """Code and probability of kept and of refused captions."""
    kept = filter_captions(["a red boat on the water"], PAPER)
    refused = filter_captions(["Ein rotes Boot schwimmt auf dem Wasser"], PAPER)
    assert ("en", "de", "not-english") == (kept.language.code, refused.language.code, refused.problem.reason)
    assert 0.5 < refused.language.probability <= 1
    german = Thresholds(language="de")
    assert filter_captions(["Ein rotes Boot schwimmt auf dem Wasser"], german).problem is None
    assert "other-language" == reason("a red boat on the water", german)
    assert filter_captions(["photographed on 3 May 2011"], PAPER).language is not None


@given(st.text())
def test_clean_is_one_line_and_stays_so(caption: str) -> None:
    """No line break or control character is left, and there are no double spaces; of what is not printable only what
    joins two signs to one, and signs that these tables do not know yet."""
    text = clean(caption)
    assert all(unicodedata.category(c) in ("Cf", "Cn") for c in text if not c.isprintable())
    assert text == " ".join(text.split())


@given(st.lists(st.text()), st.sampled_from([PAPER, LENGTH_ONLY, FilterOptions(filters="datacomp-basic").thresholds()]))
def test_kept_or_refused(captions: list[str], limits: Thresholds) -> None:
    """A row either keeps a caption or has a reason of the stage `caption`."""
    filtered = filter_captions(captions, limits)
    assert bool(filtered.kept) != bool(filtered.problem)
    assert not filtered.problem or "caption" == REASONS[filtered.problem.reason].stage


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((100, 100), PAPER, None), ((200, 100), PAPER, None), ((100, 200), PAPER, None), ((201, 100), PAPER, "aspect-ratio"),
        ((1, 3), PAPER, "aspect-ratio"), ((199, 300), Thresholds(min_image_size=200), "too-small"), ((200, 300), Thresholds(min_image_size=200), None),
        ((1000, 1001), Thresholds(max_image_area=1e6), "too-big"), ((1000, 1000), Thresholds(max_image_area=1e6), None),
    ],
)  # fmt: skip
def test_shapes(size: tuple[int, int], limits: Thresholds, expected: str | None) -> None:
    """[1/2, 2] with both ends, least side, most pixels."""
    problem = image_problem(*size, limits)
    assert expected == (problem and problem.reason)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"min_words": -1}, "--min_words -1: expected 0 or more"),
        ({"max_aspect_ratio": 0.5}, "--max_aspect_ratio 0.5: expected 1 or more, or 0"),
        ({"language": "English"}, "--language English: expected a code such as en, or any"),
    ],
)
def test_bad_thresholds(changed: dict, message: str) -> None:
    """One sentence with the flag's name."""
    with pytest.raises(ValueError, match=message):
        FilterOptions(**changed)
