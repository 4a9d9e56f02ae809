"""Write the page of what was drawn: one file of at most 60 MB, the same bytes for the same samples.

Numbers of all samples are on it, small pictures of those that were kept, and links to the pictures themselves, which
lie beside it. What does not fit is left out in a fixed order, and the page says so: ends of long captions, then the
last captions, then pictures that are never the best of the first N, then pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from dalle.drawing.best_of import mean_scores, pictures_to_show, stops
from dalle.drawing.drawn import Drawn, DrawnCaption, Named, Settings
from dalle.pages.frame import Frame, base64_text, bytes_in, measured, page_json
from dalle.pages.texts import shown
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.thumbnails import side_for, thumbnail
from schemas.folder import Folder

PAGE = "index.html"
MOST_BYTES = 60_000_000
"""Of the whole page."""
MOST_PICTURES = 20_000
MOST_SAMPLES = 500_000

_MOST_BYTES_OF_A_PICTURE = 16_000
_MOST_CHARACTERS = (3_000, 1_000, 300, 100)
"""Of a caption; the next if facts would fill more than half of the page."""
_BYTES_OF_A_SIZE = 8
"""Characters at most by which the page says how long one picture's data is."""
_FRAME = Frame("dalle.drawing", ("samples.js", "curve.js", "tiles.js", "page.js"))


@dataclass(frozen=True)
class _Fitting:
    """What of all there is has a place on the page."""

    captions: Sequence[DrawnCaption]
    facts: Markup
    numbers: dict[str, str]
    """Seeds, log-likelihoods and scores of all samples, little-endian, in base64."""

    @property
    def size(self) -> int:
        return len(self.facts) + sum(map(len, self.numbers.values()))


def write_page(folder: Folder, drawn: Drawn) -> None:
    """Write the page into the folder of the pictures; one of them is in memory at a time.

    Args:
        folder: `drawn.captions` name their pictures as they lie in it.
        drawn: all samples.

    Raises:
        ValueError: if a picture cannot be decoded, or only some of the captions have scores.
    """
    unscored = [caption.scores is None for caption in drawn.captions]
    if any(unscored) and not all(unscored):
        first = drawn.captions[unscored.index(True)].id
        raise ValueError(f"caption {first}: has no scores, others have; score all captions, or none")
    fitting = _fitting(drawn)
    sizes_of_all = stops(max((len(caption.files) for caption in fitting.captions), default=1))
    with_picture = pictures_to_show(fitting.captions, sizes_of_all, MOST_PICTURES)
    count = max(1, len(with_picture))
    kept = sum(file is not None for caption in fitting.captions for file in caption.files)
    rest = MOST_BYTES - fitting.size - _FRAME.size - _BYTES_OF_A_SIZE * max(1, kept)
    most = min(_MOST_BYTES_OF_A_PICTURE, bytes_in(rest // count))
    sizes: list[int] = []
    _FRAME.write(
        folder,
        PAGE,
        pictures=measured(_encoded(drawn, fitting.captions, with_picture, most), sizes),
        sizes=sizes,  # filled as `pictures`, which stands before it, is written
        facts=fitting.facts,
        numbers=fitting.numbers,
        side=side_for(most),
    )


def _fitting(drawn: Drawn) -> _Fitting:
    """As much of the captions as fills no more than half of the page."""
    samples = np.cumsum([len(caption.files) for caption in drawn.captions])
    count = int(np.searchsorted(samples, MOST_SAMPLES, side="right"))
    count = max(count, min(1, len(drawn.captions)))
    for most in _MOST_CHARACTERS:
        fitting = _of_captions(drawn, drawn.captions[:count], most)
        if fitting.size <= MOST_BYTES // 2:
            return fitting
    while fitting.size > MOST_BYTES // 2 and count > 1:
        count //= 2
        fitting = _of_captions(drawn, drawn.captions[:count], most)
    return fitting


def _of_captions(drawn: Drawn, captions: Sequence[DrawnCaption], most: int) -> _Fitting:
    counts = [len(caption.files) for caption in captions]
    sizes = stops(max(counts, default=1))
    kept = [
        [number, sample, file]
        for number, caption in enumerate(captions)
        for sample, file in enumerate(caption.files)
        if file is not None
    ]
    facts = {
        "captions": [shown(caption.text, most) for caption in captions],
        "names": [shown(caption.id, _MOST_CHARACTERS[-1]) for caption in captions],
        "counts": counts,
        "kept": kept,
        "stops": sizes,
        "means": mean_scores(drawn.captions, sizes),
        "all_captions": len(drawn.captions),
        "all_samples": sum(len(caption.files) for caption in drawn.captions),
        "cut": sum(len(caption.text) > most for caption in captions),
        "settings": _settings(drawn.settings),
    }
    numbers = {
        "seeds": _packed([caption.seeds for caption in captions], "<u8"),
        "likelihoods": _packed([caption.log_likelihood for caption in captions], "<f8"),
        "scores": _packed([caption.scores for caption in captions if caption.scores is not None], "<f4"),
    }
    return _Fitting(captions, page_json(facts), numbers)


def _packed(columns: Sequence[np.ndarray], kind: str) -> str:
    return base64_text(np.concatenate([np.asarray(one, kind) for one in columns] or [np.empty(0, kind)]).tobytes())


def _settings(settings: Settings) -> list[list[str]]:
    """What it is called, what it is, and its fingerprint if it has one."""

    def named(what: str, one: Named) -> list[str]:
        return [what, shown(one.name, _MOST_CHARACTERS[-1]), shown(one.fingerprint, _MOST_CHARACTERS[-1])]

    said = [named("prior", settings.prior), named("dVAE", settings.dvae)]
    said.append(named("re-ranker", settings.reranker) if settings.reranker else ["re-ranker", "none", ""])
    said.append(["temperature", f"{settings.temperature:g}", ""])
    said.append(["top k", "all codes" if settings.top_k is None else f"{settings.top_k:,}", ""])
    said.append(["top p", "1" if settings.top_p is None else f"{settings.top_p:g}", ""])
    most = _MOST_CHARACTERS[-1]
    return said + [[shown(name, most), shown(value, most), ""] for name, value in settings.more.items()]


def _encoded(
    drawn: Drawn, captions: Sequence[DrawnCaption], with_picture: set[tuple[int, int]], most: int
) -> Iterator[str]:
    """Of each sample that was kept its small picture in base64, or nothing if it has none here."""
    for number, caption in enumerate(captions):
        for sample, file in enumerate(caption.files):
            if file is not None:
                yield base64_text(_small(drawn, file, most)) if (number, sample) in with_picture else ""


def _small(drawn: Drawn, file: str, most: int) -> bytes:
    try:
        return thumbnail(drawn.picture(file), most)
    except UndecodableImage as error:
        raise ValueError(f"{file}: cannot be decoded any more ({error}); draw it again") from None
