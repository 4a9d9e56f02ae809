"""Features of any number of pictures: computed once, kept on disk (`dalle.evaluation.store`), in flat memory.

A run that was killed goes on after the last piece; a picture that was seen before, under whatever name, is not computed
again. Batches always have one size, so features do not depend on what else was computed in one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from dalle.evaluation.blur import blurred
from dalle.evaluation.decoding import decode_as_tools_do
from dalle.evaluation.pictures import Source
from dalle.evaluation.store import PIECE, Store
from dalle.pictures.pixels import Pixels
from schemas.manifest import fingerprint


class Extractor(Protocol):
    """What makes features of pictures; detectors (`dalle.detectors.Embedder`) are some."""

    name: str
    fingerprint: str
    """Changes when features would."""
    dimension: int
    batch: int

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[H, W, 3] uint8 to an array of the same shape for every picture."""
        ...

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[batch, ...] to [batch, dimension] float32."""
        ...


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Features of a source's pictures, on disk."""

    ids: Sequence[str]
    digests: Sequence[bytes]
    """sha256 of each picture."""
    unreadable: Sequence[tuple[str, str]]
    """Id of each picture that has no features, and why."""
    store: Store

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """Of ids and pictures, whatever features are made of them."""
        return fingerprint([[one, digest.hex()] for one, digest in zip(self.ids, self.digests, strict=True)])

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """[n, D] float32: of the pictures of these numbers."""
        return self.store.rows([self.digests[number] for number in numbers])


def features_of(
    source: Source, extractor: Extractor, store: Store, radius: float, tell: Callable[[int], None]
) -> FeatureSet:
    """Features of all pictures of a source that can be read.

    Args:
        source: of the pictures.
        extractor: makes their features.
        store: of this extractor and radius, where they are kept.
        radius: of the blur.
        tell: is told after each how many pictures there have been.
    """
    ids: list[str] = []
    digests: list[bytes] = []
    asked: set[bytes] = set()

    def new() -> Iterator[tuple[bytes, bytes | np.ndarray]]:
        for name, data in source.pictures():
            digest = _digest(data)
            ids.append(name)
            digests.append(digest)
            if digest not in store and digest not in asked:
                asked.add(digest)
                yield digest, data
            tell(len(ids))

    why: dict[bytes, str] = {}
    waiting: list[tuple[bytes, np.ndarray]] = []
    piece: list[tuple[bytes, np.ndarray]] = []
    for digest, pixels in _decoded(new()):
        if isinstance(pixels, str):
            why[digest] = pixels
            continue
        waiting.append((digest, extractor.preprocess(blurred(pixels, radius))))
        if len(waiting) == extractor.batch:
            piece += _computed(extractor, waiting)
            waiting = []
            if len(piece) >= PIECE:
                _keep(store, piece)
                piece = []
    if waiting:
        piece += _computed(extractor, waiting)
    if piece:
        _keep(store, piece)
    unreadable = [(name, why[digest]) for name, digest in zip(ids, digests, strict=True) if digest in why]
    kept = [number for number, digest in enumerate(digests) if digest not in why]
    return FeatureSet(
        ids=[ids[number] for number in kept],
        digests=[digests[number] for number in kept],
        unreadable=unreadable,
        store=store,
    )


def _decoded(items: Iterator[tuple[bytes, bytes | np.ndarray]]) -> Iterator[tuple[bytes, Pixels | str]]:
    """Of a source that has files, their pixels; those of one that has pixels are passed on."""
    first = next(items, None)
    if first is None:
        return
    everything = itertools.chain([first], items)
    if isinstance(first[1], np.ndarray):
        yield from cast(Iterator[tuple[bytes, Pixels]], everything)
    else:
        yield from decode_as_tools_do(cast(Iterator[tuple[bytes, bytes]], everything))


def _digest(data: bytes | np.ndarray) -> bytes:
    if isinstance(data, bytes):
        return hashlib.sha256(data).digest()
    return hashlib.sha256(json.dumps(data.shape).encode() + np.ascontiguousarray(data).tobytes()).digest()


def _computed(extractor: Extractor, some: Sequence[tuple[bytes, np.ndarray]]) -> list[tuple[bytes, np.ndarray]]:
    """Of at most a batch; what fills it up is the first once more."""
    prepared = [each for _, each in some]
    features = extractor.embed(np.stack(prepared + [prepared[0]] * (extractor.batch - len(prepared))))[: len(some)]
    if features.shape != (len(some), extractor.dimension) or not np.isfinite(features).all():
        raise ValueError(
            f"{extractor.name} gave features of shape {features.shape} or some that are not finite, expected "
            f"{extractor.dimension} finite numbers of each picture; check its weights"
        )
    return [(digest, row) for (digest, _), row in zip(some, features, strict=True)]


def _keep(store: Store, piece: Sequence[tuple[bytes, np.ndarray]]) -> None:
    store.add([digest for digest, _ in piece], np.stack([row for _, row in piece]))
