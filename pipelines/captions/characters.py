"""The characters of a caption: which are seen, which are not and yet belong to one that is, and what is a word.

Some characters are not seen (Unicode's default-ignorable code points). Most say where a line may break or which way
text runs, which is nothing in a caption: a soft hyphen is no border between two words. Some make one sign of several:
joiners in emoji and in Indic and Arabic letters, variation selectors, the tags of a flag. Those stay where they do
that, and go where they do not.
"""

from __future__ import annotations

import re
import unicodedata

_ZWNJ, _ZWJ, _KEYCAP, _END_OF_TAGS = "\u200c", "\u200d", "\u20e3", "\U000e007f"
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point, but for `_BLANK`."""
_BLANK = "\u3164\uffa0"
"""Two fillers that are seen as a blank."""
_is_ignorable = re.compile(f"[{_IGNORABLE}]").match
_find_unseen = re.compile(f"[{_IGNORABLE}{_BLANK}]").search
_is_selector = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]").match
_is_tag = re.compile(f"[\U000e0020-{_END_OF_TAGS}]").match
_tags_up_to_their_end = re.compile(f"[\U000e0020-\U000e007e]*{_END_OF_TAGS}").match
_is_pictograph = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030"
    "\u303d\u3297\u3299\U0001f000-\U0001faff]"
).match
"""Assigned or not: a caption may be younger than the tables of this Python."""
_is_joining = re.compile(
    "[\u0600-\u0d7f\u0d81-\u0dff\u0f00-\u109f\u1700-\u18af\u1a00-\u1cff\ua800-\uabff\U00010a00-\U00011fff"
    "\U0001e900-\U0001e95f]"
).match
"""Of a script whose letters join or stand upon each other."""
_is_seen_all_the_same = re.compile(
    "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001345f]"
).match
"""Format characters such as the sign under which an Arabic number stands."""
_sign = re.compile(
    "[\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ec0-\u0ec6\u0edc-\u0edf\u1000-\u102a\u103f\u1780-\u17b3"
    "\u3005\u3007\u3021-\u3029\u3041-\u3096\u309d-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d\U00016fe4\U0001b000-\U0001b16f\U00020000-\U0003fffd]"
)
"""Of scripts that do not divide words by spaces (Thai, Lao, Burmese, Khmer, Chinese, Japanese), and Korean's."""


def one_line(text: str) -> str:
    """What is seen of a text, and what belongs to that, with single spaces; what is not seen leaves no trace."""
    if not text.isprintable() or (not text.isascii() and _find_unseen(text)):
        text = _seen(text)
    return " ".join(text.split())


def count_words(text: str) -> int:
    """Words with a letter or digit in them; where words are not divided by spaces, each sign counts as one.

    Words and signs of several scripts all count: "the kanji 犬" are three.
    """
    signs = 0 if text.isascii() else len(_sign.findall(text))
    words = (_sign.sub(" ", text) if signs else text).split()
    return signs + sum(word[0].isalnum() or any(c.isalnum() for c in word) for word in words)


def is_inside(text: str, position: int) -> bool:
    """Whether a cut before this character would tear a sign apart: it belongs to the one before it, or is joined to
    it."""
    if not 0 < position < len(text) or (text[position].isascii() and text[position - 1].isascii()):
        return False
    own, before = text[position], text[position - 1]
    if before.isspace():
        return False
    belongs = unicodedata.category(own).startswith("M") or _is_ignorable(own) or "\U0001f3fb" <= own <= "\U0001f3ff"
    return bool(belongs or (before == _ZWJ and (_is_pictograph(own) or _is_joining(own))))


def _seen(text: str) -> str:
    kept: list[str] = []
    for position, char in enumerate(text):
        if _is_ignorable(char):
            if _belongs(text, position, kept[-1] if kept else " "):
                kept.append(char)
        elif char in _BLANK or not (char.isprintable() or _is_seen_all_the_same(char) or _is_pictograph(char)):
            kept.append(" ")
        else:
            kept.append(char)
    return "".join(kept)


def _belongs(text: str, position: int, before: str) -> bool:
    """Whether a character that is not seen makes another sign of the one before it, or one with that after it."""
    char, after = text[position], text[position + 1 : position + 2]
    if char == _ZWJ:
        ends_emoji = _is_pictograph(before) or _is_selector(before) or before in (_KEYCAP, _END_OF_TAGS)
        return bool((ends_emoji and _is_pictograph(after)) or _is_joining(before))
    if char == _ZWNJ:
        return bool(_is_joining(before) and _is_joining(after))
    if _is_selector(char):  # not behind letters that have no variants
        return not (before.isspace() or _is_ignorable(before) or (before < "\u0530" and before.isalpha()))
    if _is_tag(char):
        begins = _is_pictograph(before) or _is_selector(before) or _is_tag(before)
        return bool(begins and _tags_up_to_their_end(text, position))
    if "\u180b" <= char <= "\u180f":
        return "\u1820" <= before <= "\u18aa"
    if char == "\u115f":
        return "\u1160" <= after <= "\u11a7" or "\ud7b0" <= after <= "\ud7c6"
    return char == "\u1160" and ("\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c")
