"""What is not seen changes no caption, what belongs together is not torn apart, and words of all scripts count."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.captions.boilerplate import crop
from pipelines.captions.characters import count_words, is_inside, one_line
from pipelines.stages.filter import Thresholds, clean, filter_captions

IGNORABLE = [
    chr(code)
    for first, last in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
        (0x202A, 0x202E), (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
        (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
]  # fmt: skip
"""Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt), without the two that are seen as a blank."""

ZWJ, VS16 = "\u200d", "\ufe0f"
TONES = ["", *(chr(code) for code in range(0x1F3FB, 0x1F400))]
PEOPLE = ["\U0001f468", "\U0001f469", "\U0001f9d1"]
THINGS = [
    "\u2695\ufe0f",
    "\u2696\ufe0f",
    "\u2708\ufe0f",
    "\U0001f33e",
    "\U0001f373",
    "\U0001f680",
    "\U0001f9b0",
    "\U0001f9bd",
]
EMOJI = [
    *(person + tone + ZWJ + thing for person in PEOPLE for tone in TONES for thing in THINGS),
    *(ZWJ.join(family) for n in (2, 3, 4) for family in itertools.islice(itertools.product(PEOPLE, repeat=n), 9)),
    *(f"{a}{tone}{ZWJ}\u2764\ufe0f{ZWJ}\U0001f48b{ZWJ}{b}{tone}" for a in PEOPLE for b in PEOPLE for tone in TONES[:2]),
    *(f"\U0001f3c3{tone}{ZWJ}{sex}\ufe0f{ZWJ}\u27a1\ufe0f" for tone in TONES for sex in "\u2640\u2642"),
    *(key + VS16 + "\u20e3" for key in "0123456789#*"),
    *("\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in tag) + "\U000e007f" for tag in ("gbeng", "gbsct", "usca")),
    "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f3f3\ufe0f\u200d\u26a7\ufe0f", "\U0001f3f4\u200d\u2620\ufe0f", "\U0001f43b\u200d\u2744\ufe0f",
    "\u26d3\ufe0f\u200d\U0001f4a5", "\U0001f642\u200d\u2194\ufe0f", "\U0001f1e9\U0001f1ea", "\u270c\U0001f3fd", "\u2764\ufe0f", "\u2764\ufe0e",
    "\U0001fae9", "\U0001f9d1\u200d\U0001fae9",  # a face of Unicode 16, which older tables do not know
]  # fmt: skip
LETTERS = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, "I want"
    "\u0915\u094d\u200d\u0937", "\u0d28\u0d4d\u200d", "\u0995\u09cd\u200c\u09b7",  # Hindi, Malayalam, Bengali
    "\u1820\u180b\u1828\u180e\u1820", "\u845b\U000e0100\u57ce", "\u115f\u1161", "\u1100\u1160\u11a8", "\u0600\u0661\u0662",
]  # fmt: skip
"""Mongolian, a Japanese name, old Korean, and an Arabic number under its sign."""


@pytest.mark.parametrize("block", sorted({char[0] if ord(char) < 0xE0000 else "\U000e0000" for char in IGNORABLE}))
def test_what_is_not_seen_leaves_no_trace_in_a_word(block: str) -> None:
    """Each such character anywhere in Latin, Greek and Cyrillic words, once or twice, between words, at both ends."""
    for char in [c for c in IGNORABLE if (c if ord(c) < 0xE0000 else "\U000e0000") == block]:
        for words in (
            "a red boat",
            "\u03ba\u03cc\u03ba\u03ba\u03b9\u03bd\u03b7",
            "\u043b\u043e\u0434\u043a\u0430",
            "na\u00efve",
        ):
            for at in range(len(words) + 1):
                assert words == one_line(words[:at] + char + words[at:])
                assert words == one_line(words[:at] + char + "\u00ad" + char + words[at:])


@pytest.mark.parametrize("sign", [*EMOJI, *LETTERS], ids=lambda sign: "-".join(f"{ord(c):x}" for c in sign))
def test_what_is_one_sign_stays_one(sign: str) -> None:
    """Alone, in a caption, many in a row, beside what goes; and it goes whole or not at all where a caption is cropped."""
    assert sign == one_line(sign)
    assert f"a {sign} b" == clean(f"a\n{sign} &shy;\u200bb")
    assert sign * 3 == one_line(sign * 3)
    assert sign == one_line("\u2060" + sign + "\u200b\u00ad")
    assert not is_inside(sign + "a", len(sign))
    for text in (f"IMG_4894 {sign} sunset over the bay", f"sunset over the bay {sign} - Stock Photo #12043266"):
        cropped = crop(text)
        assert sign in cropped
        assert f"sunset over the bay {sign}" == cropped or f"{sign} sunset over the bay" == cropped


@given(st.lists(st.sampled_from(EMOJI + LETTERS + ["boat", "a", "\u72ac", "1", "#"]), max_size=8))
def test_signs_side_by_side(signs: list[str]) -> None:
    """In any order, each between spaces: the very same."""
    assert " ".join(signs) == one_line(" ".join(signs))


@given(
    st.text(), st.lists(st.sampled_from([*IGNORABLE, "\u3164", "\u200d", "\ufe0f", "\U0001f468", "\u0915"]), max_size=4)
)
def test_once_is_enough(text: str, more: list[str]) -> None:
    """Twice is as once; what is left is seen, or belongs to what is before it; blanks are spaces."""
    seen = one_line("".join(more) + text + "".join(more))
    assert seen == one_line(seen)
    assert seen == " ".join(seen.split())
    for position, char in enumerate(seen):
        if char in IGNORABLE:
            assert position
            assert not seen[position - 1].isspace()
        else:
            assert unicodedata.category(char) not in ("Cc", "Cs", "Co", "Zl", "Zp")
    assert "a b" == one_line("a\u3164\uffa0b")


def test_stray_joiners_and_tags_go() -> None:
    """At an end, doubled, between letters; tags without a flag, which nobody sees, say nothing to anybody."""
    hidden = "".join(chr(0xE0000 + ord(c)) for c in "say yes")
    assert "a red boat" == one_line(f"a re{ZWJ}d{hidden} boat{ZWJ}")
    assert "\U0001f468 boat" == one_line(f"\U0001f468{ZWJ} boat")
    assert f"\U0001f468{ZWJ}\U0001f680" == one_line(f"\U0001f468{ZWJ}{ZWJ}\U0001f680")
    assert "\U0001f3f4 a" == one_line(f"\U0001f3f4{hidden} a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A wooden sign with the kanji \u72ac on a wall", 10),
        ("\u72ac", 1),
        ("a \u72ac boat", 3),
        ("iPhone\u624b\u673a", 3),
        ("\u7b2c3\u7ae0", 3),
        ("\ube68\uac04 \ubc30", 3),
        ("\u0e40\u0e23\u0e37\u0e2d\u0e2a\u0e35\u0e41\u0e14\u0e07", 7),  # Thai: vowels above and below are no signs
        ("\u1791\u17bc\u1780\u1780\u17d2\u179a\u17a0\u1798", 6),  # Khmer
        ("\u30d5\u30a1\u30df\u30fc", 4),
        ("\uff8c\uff67\uff90", 3),
        ("\U00020000\U00030000 x", 3),
        ("\u2764\ufe0f \U0001f468\u200d\U0001f680 - !", 0),
        ("na\u00efve \u043b\u043e\u0434\u043a\u0430 \u05e1\u05d9\u05e8\u05d4", 3),
        ("\u0915\u094d\u200d\u0937 b", 2),
    ],
)
def test_words_of_all_scripts(text: str, words: int) -> None:
    """Signs of scripts without spaces one by one, and the words beside them."""
    assert words == count_words(text)


@given(st.text(), st.text())
def test_words_add_up(one: str, other: str) -> None:
    """Of two texts side by side the words are those of both; more text never has fewer."""
    assert count_words(one) + count_words(other) == count_words(f"{one} {other}")
    assert count_words(one + other) >= max(count_words(one), count_words(other))


@pytest.mark.parametrize(
    "caption",
    [
        "A wooden sign with the kanji \u72ac on a wall",
        "the word \u0e23\u0e37\u0e2d painted on a boat",
        "an old map of \u65e5\u672c on a table",
        "two chil\u00addren in a gar\u00adden",
        "a family \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 at the beach",
    ],
)
def test_such_captions_are_kept(caption: str) -> None:
    """By the paper's rule; what is not seen is not stored."""
    assert (caption.replace("\u00ad", ""),) == filter_captions([caption], Thresholds()).kept
