"""Which language a caption is in, and how sure that is.

The paper filters with cld3. On short English that is wrong with great confidence ("a dog" is Hausa with p = 0.999) and
loses 6 % of COCO's captions, so the default here is py3langid; `cld3` gives the paper's rule for fidelity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

LanguageModel = Literal["py3langid", "cld3"]


class Language(NamedTuple):
    """A language and how sure the model is of it."""

    code: str
    """ISO 639-1."""
    probability: float
    """0 to 1."""


def identify(text: str, model: LanguageModel, wanted: str = "", ratio: float = 1.0) -> Language:
    """The language of a caption.

    Args:
        text: the caption.
        model: what identifies the language.
        wanted: ISO 639-1 code that is given in place of the likeliest language's when its probability is at least
            `ratio` times that one's. Names confuse models of language ("a photo of a Magnolia Warbler" is Nigerian
            Pidgin with p = 0.11, English with 0.09). cld3 gives no second choice, so this does not apply to it.
        ratio: above 0 and at most 1; 1 gives the likeliest language always.

    Raises:
        ValueError: if the model is not installed.
    """
    return _MODELS[model]()(text, wanted, ratio)


def languages() -> frozenset[str]:
    """The codes that py3langid can give."""
    return frozenset(_identifier().nb_classes)


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@functools.cache
def _py3langid() -> Callable[[str, str, float], Language]:
    identifier = _identifier()
    codes = list(identifier.nb_classes)
    index_of = {code: codes.index(code) for code in codes}  # the first of two of one name: there the sum of both stands

    def classify(text: str, wanted: str, ratio: float) -> Language:
        scores = identifier._decide(text)  # what its classify and rank both begin with; asking both costs it twice
        best = int(scores.argmax())
        doubtful = codes[best] != wanted and ratio < 1 and wanted in index_of
        if doubtful and scores[index_of[wanted]] >= ratio * scores[best]:
            best = index_of[wanted]
        return Language(codes[best], round(float(scores[best]), 4))  # no last bits that depend on the processor

    return classify


@functools.cache
def _cld3() -> Callable[[str, str, float], Language]:
    """As DataComp's reproduction of LAION's filter calls it: any length, at most 1,000 bytes."""
    try:
        import gcld3
    except ImportError:
        raise ValueError(
            "--language_model cld3: not installed here; pip install 'dalle-pipelines[cld3]', or use py3langid"
        ) from None
    identifier = gcld3.NNetLanguageIdentifier(0, 1000)

    def classify(text: str, _wanted: str, _ratio: float) -> Language:
        result = identifier.FindLanguage(text)
        return Language(result.language, round(float(result.probability), 4))

    return classify


_MODELS: dict[str, Callable[[], Callable[[str, str, float], Language]]] = {"py3langid": _py3langid, "cld3": _cld3}
