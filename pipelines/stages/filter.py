"""Keep the pairs the paper keeps (Ramesh et al. 2021, App. C): captions before anything is downloaded, pictures by
the shape their header tells, before anything is decoded.

The paper drops captions that are too short, not English, or mainly boilerplate, and pictures whose aspect ratio lies
outside [1/2, 2], because a square crop would cut off what the caption mentions. It gives no least length; ours is
DataComp's (more than 2 words and more than 5 characters), which is also the least that the determiner, noun and
preposition of Sharma et al. 2018 need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from pipelines.captions.boilerplate import crop, is_mainly_boilerplate
from pipelines.captions.characters import count_words, one_line
from pipelines.captions.language import Language, LanguageModel, identify, languages
from pipelines.lists.values import unescaped
from schemas.ranges import Above, Between, check_ranges
from schemas.reasons import NotKept

Filters = Literal["paper", "datacomp-basic", "none"]
ANY = "any"
_NUMBER = Between(0, 2**63 - 1)
_RANGES = {
    "min_words": _NUMBER,
    "min_characters": _NUMBER,
    "language_ratio": Above(0, 1),
    "min_image_size": _NUMBER,
    "max_image_area": _NUMBER,
    "max_aspect_ratio": _NUMBER,
}
_JUDGED = 1000
"""Characters of a caption from which its language is identified."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What a pair must meet to be kept; 0 is no limit. The defaults are the paper's."""

    min_words: int = 3
    min_characters: int = 6
    language: str = "en"
    language_model: LanguageModel = "py3langid"
    language_ratio: float = 0.4
    drop_boilerplate: bool = True
    min_image_size: int = 0
    max_image_area: float = 0.0
    max_aspect_ratio: float = 2.0


_PRESETS: dict[Filters, Thresholds] = {
    "paper": Thresholds(),
    "datacomp-basic": Thresholds(drop_boilerplate=False, min_image_size=200, max_aspect_ratio=3.0),
    "none": Thresholds(min_words=0, min_characters=0, language=ANY, drop_boilerplate=False, max_aspect_ratio=0.0),
}


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Which pairs are kept. A threshold that is not set is that of --filters."""

    filters: Filters = "paper"
    """Which rule decides what is kept. paper asks for 3 words, 6 characters, English, not mainly boilerplate, and an
    aspect ratio of at most 2; datacomp-basic for 3 words, 6 characters, English, a short side of 200 pixels and an
    aspect ratio of at most 3; none keeps every row with a picture that can be decoded, also without a caption."""
    min_words: int | None = None
    """Words that a caption must have after cleaning, 0 or more; 0 keeps rows without a caption as well. By default 3,
    or 0 with --filters none."""
    min_characters: int | None = None
    """Characters that a caption must have after cleaning, 0 or more. By default 6, or 0 with --filters none."""
    language: str | None = None
    """ISO 639-1 code of the language that a caption must be in, or any. By default en, or any with --filters none."""
    language_model: LanguageModel = "py3langid"
    """Model that identifies the language. cld3 is the paper's, and wrong on much short English."""
    language_ratio: float | None = None
    """Ratio of the probability of --language to that of the likeliest language from which a caption counts as in
    --language, above 0 and at most 1; 1: only if it is the likeliest. By default 0.4."""
    drop_boilerplate: bool | None = None
    """Refuse captions that are mainly boilerplate, and crop boilerplate from the ends of others. By default only with
    --filters paper."""
    min_image_size: int | None = None
    """Pixels that the short side of a picture must have, 0 or more. By default 0, or 200 with --filters
    datacomp-basic."""
    max_image_area: float | None = None
    """Pixels that a picture may have, width times height, 0 or more; 0, the default, is no limit."""
    max_aspect_ratio: float | None = None
    """Greatest ratio of a picture's longer to its shorter side that is kept, 1 or more; 0 is no limit. By default 2, or
    3 with --filters datacomp-basic, or 0 with --filters none."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
        if self.max_aspect_ratio is not None and 0 < self.max_aspect_ratio < 1:
            raise ValueError(f"--max_aspect_ratio {self.max_aspect_ratio}: expected 1 or more, or 0 for no limit")
        code = self.language
        if code is not None and code != ANY and not (code.isalpha() and code.islower() and len(code) in (2, 3)):
            raise ValueError(f"--language {code}: expected a code such as en, or {ANY}")
        if self.language_model == "cld3":
            identify("is it installed", "cld3")
        elif code not in (None, ANY, "en") and code not in languages():
            raise ValueError(f"--language {code}: py3langid knows {', '.join(sorted(languages()))}; or {ANY}")

    def thresholds(self) -> Thresholds:
        """All thresholds: those of `filters`, and in their place those that are set."""
        overrides = {f.name: getattr(self, f.name) for f in fields(Thresholds) if getattr(self, f.name) is not None}
        return replace(_PRESETS[self.filters], **overrides)


@dataclass(frozen=True)
class FilteredCaptions:
    """What is left of a row's captions, or why nothing is."""

    kept: tuple[str, ...] = ()
    """Cleaned, in the row's order."""
    language: Language | None = None
    """Of the first one kept, or of the first one refused."""
    problem: NotKept | None = None


def load_models(limits: Thresholds) -> None:
    """Load what `filter_captions` needs, which it would do at its first caption: a third of a second."""
    filter_captions(["a first caption"], limits)


def filter_captions(captions: Sequence[str], limits: Thresholds) -> FilteredCaptions:
    """The captions of one picture that are kept, cleaned; a row is refused when none is left.

    Where all are refused the first one's reason is given.
    """
    judged = [_judge(caption, limits) for caption in captions]
    kept = [(text, language) for text, language, problem in judged if not problem and text]
    if kept:
        return FilteredCaptions(tuple(text for text, _ in kept), kept[0][1])
    if not limits.min_words and all(not problem for _, _, problem in judged):
        return FilteredCaptions()
    if not judged:
        return FilteredCaptions(problem=NotKept("no-caption"))
    _, language, problem = judged[0]
    return FilteredCaptions((), language, problem)


def clean(caption: str) -> str:
    """One line of what is seen of a caption, with single spaces; HTML entities become what they stand for."""
    return one_line(unescaped(caption) if "&" in caption else caption)


def image_problem(width: int, height: int, limits: Thresholds) -> NotKept | None:
    """Why a picture of this size is refused, if it is."""
    if limits.max_aspect_ratio and max(width, height) > limits.max_aspect_ratio * min(width, height):
        return NotKept("aspect-ratio", f"{width} x {height}, expected at most {limits.max_aspect_ratio:g} : 1")
    if min(width, height) < limits.min_image_size:
        return NotKept("too-small", f"{width} x {height}, expected a short side of {limits.min_image_size} or more")
    if limits.max_image_area and width * height > limits.max_image_area:
        return NotKept("too-big", f"{width} x {height}, expected at most {limits.max_image_area:.0f} pixels")
    return None


def _judge(caption: str, limits: Thresholds) -> tuple[str, Language | None, NotKept | None]:
    """A caption's text, its language, and why it is refused, if it is."""
    text = clean(caption)
    cropped = crop(text) if limits.drop_boilerplate else text
    judged = cropped or text
    language = _identify(judged[:_JUDGED], limits) if judged else None
    if limits.drop_boilerplate and text and is_mainly_boilerplate(cropped):
        return text, language, NotKept("boilerplate", f"'{text[:80]}' says nothing of the picture")
    return cropped, language, _caption_problem(cropped, language, limits)


def _identify(text: str, limits: Thresholds) -> Language:
    wanted = "" if limits.language == ANY else limits.language
    return identify(text, limits.language_model, wanted, limits.language_ratio)


def _caption_problem(text: str, language: Language | None, limits: Thresholds) -> NotKept | None:
    if not text and limits.min_words:
        return NotKept("no-caption")
    words = count_words(text)
    if words < limits.min_words:
        return NotKept("too-short", f"{words} words, expected {limits.min_words} or more")
    if len(text) < limits.min_characters:
        return NotKept("too-short", f"{len(text)} characters, expected {limits.min_characters} or more")
    if limits.language != ANY and language and language.code != limits.language:
        identified = f"{language.code} with probability {language.probability:.2f}"
        return NotKept("not-english" if limits.language == "en" else "other-language", identified)
    return None
