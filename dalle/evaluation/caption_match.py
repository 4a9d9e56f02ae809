"""How well pictures match their captions: the mean score of both, and how often the right caption is found among 100.

A score is the cosine of the vectors that a contrastive model makes of picture and caption. For the recall each picture
is compared with its own caption and 99 others, drawn anew for each picture by the seed among the captions of the other
pictures: all that differ from its own and from each other, but for case and white space, each text once. It counts if
its own caption has the highest score; where t captions share that, as 1 / t. Fewer than 100 such texts are all taken.

Vectors of pictures are kept by the sha256 of the picture and those of captions by that of the text, so that both are
computed once (`dalle.evaluation.store`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dalle.contrastive.reranker import PICTURES, Reranker
from dalle.evaluation.store import PIECE, Store
from dalle.pictures.pixels import Pixels
from schemas.folder import Folder

AMONG = 100
"""Captions among which the right one is to be found, as AttnGAN's R-precision has it (Xu et al. 2018)."""
DEFINITION = (
    "score: mean cosine of picture, not blurred, and caption; recall: share of pictures whose own caption has the "
    "highest score among itself and 99 other texts, drawn by the seed for each picture from the captions of all "
    "pictures of its side (equal texts, case and white space aside, are one); t captions that share the highest score "
    "count as 1 / t"
)

Rows = Callable[[np.ndarray], np.ndarray]


class PictureVectors:
    """A contrastive model as something that makes features of pictures (`dalle.evaluation.features.Extractor`)."""

    batch = 4 * PICTURES

    def __init__(self, reranker: Reranker) -> None:
        self.name, self.dimension = f"contrastive model {reranker.name}", reranker.dimension
        self.fingerprint = f"picture-{reranker.fingerprint}"
        self._reranker = reranker

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[3, S, S] float32."""
        return self._reranker.prepare(pixels).numpy()

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[batch, 3, S, S] to [batch, dimension]."""
        return self._reranker.embed_prepared(torch.from_numpy(prepared))


@dataclass(frozen=True)
class _OfCaptions:
    """What a store of captions' vectors is called by."""

    fingerprint: str
    dimension: int


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Of one number for each picture."""

    value: float
    standard_error: float
    """From picture to picture; 0 of a single one."""

    @classmethod
    def of(cls, values: np.ndarray) -> Mean:
        """Of [n]."""
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return cls(value=float(values.mean()), standard_error=spread / len(values) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class CaptionMatch:
    """Of one side's pictures."""

    side: str
    """`samples` or `reference`."""
    pictures: int
    without_caption: int
    """Pictures more, of which nobody says what they are of."""
    score: Mean
    recall: Mean
    among: int
    """Captions that each picture was compared with, its own included."""

    def to_json(self) -> dict[str, Any]:
        """As `evaluation.json` has it."""
        return {
            "side": self.side,
            "pictures": self.pictures,
            "without_caption": self.without_caption,
            "score": vars(self.score),
            "recall": {**vars(self.recall), "among": self.among},
        }


def caption_match(
    pictures: Rows, captions: Sequence[str | None], vectors: Captions, *, side: str, seed: int = 0
) -> CaptionMatch:
    """Of pictures whose vectors may be on disk.

    Args:
        pictures: gives for [n] numbers of pictures their vectors, [n, D] of unit length.
        captions: of each picture; None or nothing but white space where there is none.
        vectors: of captions.
        side: that they are of.
        seed: of the captions that a picture's own is told from.

    Raises:
        ValueError: if no picture has a caption.
    """
    known = [(number, text) for number, text in enumerate(captions) if text is not None and text.strip()]
    if not known:
        raise ValueError(f"{side}: not one of its {len(captions):,} pictures has a caption, so none can match")
    texts = {text: number for number, text in enumerate(dict.fromkeys(text for _, text in known))}
    firsts: dict[str, int] = {}  # of what is compared of a text, the first that is written so
    for text, number in texts.items():
        firsts.setdefault(_compared(text), number)
    places, pool = {key: place for place, key in enumerate(firsts)}, np.array(list(firsts.values()))
    rows, among = vectors.rows(list(texts)), min(AMONG, len(pool))
    scores, found = np.empty(len(known)), np.empty(len(known))
    for place, (number, text) in enumerate(known):
        others = np.random.default_rng([seed, number]).choice(len(pool) - 1, among - 1, replace=False)
        others += others >= places[_compared(text)]
        cosines = (rows(np.append(texts[text], pool[others])) * pictures(np.array([number]))).sum(1)
        scores[place] = cosines[0]
        found[place] = (cosines[0] == cosines.max()) / (cosines == cosines.max()).sum()
    return CaptionMatch(
        side=side,
        pictures=len(known),
        without_caption=len(captions) - len(known),
        score=Mean.of(scores),
        recall=Mean.of(found),
        among=among,
    )


class Captions:
    """Vectors of captions, computed when they are asked for first.

    Args:
        reranker: makes them.
        folder: of all features, where they are kept.
    """

    def __init__(self, reranker: Reranker, folder: Folder) -> None:
        self._reranker = reranker
        self._store = Store(folder, _OfCaptions(f"caption-{reranker.fingerprint}", reranker.dimension), 0.0)

    def rows(self, texts: Sequence[str]) -> Rows:
        """What gives for [n] numbers of texts their vectors, [n, D] of unit length.

        Raises:
            ValueError: naming a text that has no tokens.
        """
        digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        for piece in _pieces([number for number, digest in enumerate(digests) if digest not in self._store]):
            vectors = self._reranker.embed_captions([texts[number] for number in piece])
            self._store.add([digests[number] for number in piece], vectors)
        return lambda numbers: self._store.rows([digests[number] for number in numbers])


def _pieces(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(numbers), PIECE):
        yield numbers[first : first + PIECE]


def _compared(text: str) -> str:
    return " ".join(text.casefold().split())
