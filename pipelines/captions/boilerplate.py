"""Words that say nothing of the picture: dates it was taken on, camera file names, "click to enlarge", "stock photo".

The paper drops captions that are "mainly boilerplate", such as "photographed on <date>" in several formats (Ramesh
et al. 2021, App. C), after Sharma et al. 2018, who crop boilerplate from the ends of a caption and drop what begins or
ends with some patterns. Neither publishes a list; this one was read off LAION-400M and Flickr titles.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.captions.characters import is_inside

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:1[89]|20)\d\d"
_TIME = r"(?:\s*(?:,|at|@|t)?\s*\d{1,2}[:.\-h]\d{2}(?:[:.\-]\d{2})?(?:\s*[ap]\.?m\.?)?)"
_DATE = (
    r"(?:" + rf"{_DAY}(?:\s+of)?[\s.\-/]+{_MONTH}[\s.,\-/]*(?:{_YEAR}|'?\d\d\b)?"
    rf"|{_MONTH}[\s.\-/]+{_DAY}(?:[\s.,\-/]+{_YEAR})?"
    rf"|{_MONTH}[\s.,\-/]+{_YEAR}"
    rf"|{_YEAR}[\-/.:_ ]\d{{1,2}}[\-/.:_ ]\d{{1,2}}"
    rf"|\d{{1,2}}[\-/.]\d{{1,2}}[\-/.](?:{_YEAR}|\d\d\b)"
    rf"|{_YEAR}[01]\d[0-3]\d"
    rf"|{_YEAR}" + r")"
)
_PICTURE = r"(?:photo(?:graph(?:y|ie)?|s|graphs)?|fotos?|pictures?|pics?|images?|snapshots?|shots?)"
_ART = (
    r"(?:photo(?:graph(?:s|y|ie)?|s)?|foto(?:s|grafie|grafi)?|images?|pictures?|illustrations?|vectors?|footage|videos?"
    r"|clip\s?arts?|art|bild(?:er)?)"
)

_FILE_ENDS = (
    *("jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "avif"),
    *("raw", "cr2", "nef", "dng", "svg"),
)
_END = rf"\.(?:{'|'.join(_FILE_ENDS)})"
_COPY = r"(?:\s+(?:copy|kopie)(?:\s*\(?\d+\)?)?)?"


@dataclass(frozen=True)
class _Family:
    """One kind of boilerplate."""

    needs: tuple[str, ...]
    """Of these lower-case words the text must hold one; most captions hold none and are not searched."""
    pattern: re.Pattern[str]


def _family(needs: tuple[str, ...], pattern: str) -> _Family:
    return _Family(needs, re.compile(pattern, re.IGNORECASE))


_FAMILIES = (
    _family(  # photographed on 3 May 2011
        ("photographed", "taken", "captured", "shot", "snapped", "pictured", "uploaded", "posted", "filmed", "date"),
        rf"(?:(?:this\s+)?\b{_PICTURE}\s+(?:was\s+|is\s+)?)?"
        r"\b(?:photographed|taken|captured|shot|snapped|pictured|uploaded|posted|filmed|date)(?:\s+(?:on|in|at))?"
        rf"\s*:?\s*(?:the\s+)?{_DATE}{_TIME}?",
    ),
    _family(  # photo from 14 March 2009
        ("photo", "pic", "image", "shot"),
        rf"\b{_PICTURE}\s+(?:from|of|dated|date:?)\s+{_DATE}{_TIME}?(?!\s*\w)",
    ),
    _family(  # 2013-01-28 10.55.50
        ("19", "20"),
        rf"(?<![\w/])(?:{_YEAR}[\-/.:_]\d{{1,2}}[\-/.:_]\d{{1,2}}|{_YEAR}[01]\d[0-3]\d)[\s_T]+\d{{1,2}}[.:\-h]?\d{{2}}"
        r"(?:[.:\-]?\d{2})?(?!\w)",
    ),
    _family(  # IMG_4894.JPG copy 2
        ("img", "dsc", "pic", "ima", "sdi", "gop", "pxl", "mvi", "cim", "hpi", "_mg", "dji", "scre", "qua"),
        r"(?<!\w)(?:_?(?:img|dsc[nf]?|dscn|dscf|pict|imag|image|sdim|gopr|pxl|mvi|cimg|hpim|_mg|dji|screenshot|qua)"
        rf"[\s_\-]?\d{{3,}}|pic[_\-]?\d{{4,}})(?:[_\-]\w+)*(?:\.[a-z]{{3,4}})?(?:\s+of\s+\d+)?{_COPY}(?!\w)",
    ),
    _family(  # P1030557
        ("mov", "kif", "wp", "sam", "ep", "scan", "vlc", "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"),
        r"(?<!\w)(?:(?:mov|kif|wp|sam|epl?|scan|vlcsnap)[_\-]?\d{4,}|p\d{6,8})(?:[_\-]\w+)*(?:\.[a-z]{3,4})?(?!\w)",
    ),
    _family(
        tuple(f".{end}" for end in _FILE_ENDS),  # a-b_3.jpg; of "Fox Hat.jpg" only the .jpg
        rf"(?<![\w/.])[\w\-.%()+~]*[\d_\-%+][\w\-.%()+~]*{_END}(?!\w){_COPY}|^\w+{_END}$|{_END}(?!\w){_COPY}",
    ),
    _family(("http", "www."), r"(?:https?://|www\.)\S+"),
    _family(
        ("click", "tap ", "press ", "hover", "view "),
        r"\b(?:(?:please\s+)?click|tap|press|hover)(?:\s+(?:here|on|the|this|image|picture|photo|thumbnail|it))*"
        r"\s+(?:to|for)(?:\s+(?:a|the))?\s+(?:enlarge|view|see|zoom|open|expand|full|larger|bigger|magnify|more|high)"
        rf"(?:[\s\-]+(?:the|this|a|in|full|larger?|bigger|sized?|version|view|details?|resolution|{_PICTURE}))*"
        rf"|\bview\s+(?:full|larger)[\s\-]*(?:size|{_PICTURE})?",
    ),
    _family(
        ("stock", "royalty", "vector image"),
        rf"(?:premium\s+|free\s+)?(?:royalty[\s\-]*free\s+)?(?<!in )\bstock[\s\-]*{_ART}\b(?:\s+of)?"
        rf"(?:\s*[,\-:]?\s*(?:#\s?)?\d{{4,}})?|\broyalty[\s\-]*free(?:\s+(?:stock|{_ART}))+(?:\s+of)?"
        r"|\bvetorial stock|\bstock vektorgrafik|\bvector image(?:\s+vector image)*(?!\s+of)|\bstock exclusive",
    ),
    _family(
        ("photo", "foto", "image", "picture", "illustration", "vector", "video", "bild", "artist:"),
        rf"\b{_ART}\s*(?:number|no\.?|nr\.?|#|id:?)\s*:?\s*\d+(?:\s+of\s+\d+)?|\b{_ART}\s+\d+(?:\s+of\s+\d+)?\s*(?::|$)"
        r"|\bartist:\s+[^,]+,\s+code:\s+[\d\-]+",
    ),
    _family(
        (
            "permalink",
            "profile",
            "avatar",
            "image may",
            "availab",
            "not found",
            "untitled",
            "thumbnail",
            "no ",
            "missing",
        ),
        r"\bembedded (?:image|video) permalink"
        r"|(?:^|(?<=[\-\u2013\u2014|:,] ))(?:user\s+)?(?:profile|avatar)\s+(?:photo|picture|image|pic)"
        r"(?:\s+(?:of|for)\b.*)?"
        r"|\bimage may contain:?|\b(?:no|missing) (?:image|photo|picture|caption|description)(?: available)?"
        r"|\bimage not (?:found|available)|\buntitled\b|\bthumbnail\b",
    ),
)

_LONGEST = 1000
"""Characters above which a caption is not searched: it is more than boilerplate, and patterns take the square."""

_DANGLING = re.compile(r"(?:(?:^|\s+)(?:and|or|of|for|with|in|on|the|a|an|from|by|to))+$", re.IGNORECASE)
"""Words that a crop leaves hanging at the end."""

_EDGE = " \t-\u2013\u2014|:;,/•·*~_=<>[](){}\"'#»«"
_CLOSING = ".!?"


def crop(text: str) -> str:
    """The caption without boilerplate at its ends; the very same if there is none."""
    patterns = _active(text)
    left = text
    while patterns:
        shorter = _crop_once(left, patterns)
        if shorter == left:
            break
        left = shorter
    return left


def is_mainly_boilerplate(text: str) -> bool:
    """Whether more than half of the words of a (cropped) caption are boilerplate, or it has no words left."""
    total = _words(text)
    inside = sum(_words(match.group()) for pattern in _active(text) for match in pattern.finditer(text))
    return not total or 2 * inside > total


@functools.lru_cache(16)  # `crop` and `is_mainly_boilerplate` ask for the same text
def _active(text: str) -> tuple[re.Pattern[str], ...]:
    if len(text) > _LONGEST:
        return ()
    low = text.lower()
    patterns = []
    for family in _FAMILIES:
        for word in family.needs:  # plain loops: a generator for each family costs more than the search
            if word in low:
                patterns.append(family.pattern)
                break
    return tuple(patterns)


def _crop_once(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    start = _without_edge(text)
    ends = [match.end() for pattern in patterns if (match := pattern.match(start))]
    head = max((end for end in ends if not is_inside(start, end)), default=0)
    if head:
        return _without_edge(start[head:])
    end = text.rstrip(_EDGE + _CLOSING)
    if is_inside(text, len(end)):
        return text
    tails = [f.start() for pattern in patterns for f in pattern.finditer(end) if f.end() == len(end) and f.group()]
    if tails:
        return _DANGLING.sub("", end[: min(tails)].rstrip(_EDGE)).rstrip(_EDGE)
    return text


def _without_edge(text: str) -> str:
    """The text without what stands at its beginning and says nothing; # and * may be part of a sign, as in a keycap."""
    left = text.lstrip(_EDGE + _CLOSING)
    return text[len(text) - len(left) - 1 :] if is_inside(text, len(text) - len(left)) else left


def _words(text: str) -> int:
    """Words with a letter in them: what is left of a file name is often just a number."""
    return sum(word[0].isalpha() or any(c.isalpha() for c in word) for word in text.split())
