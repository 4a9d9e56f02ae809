"""Near-duplicate detectors: a picture to a unit vector, so that the cosine of two tells whether one is a copy.

>>> import numpy as np
>>> from dalle import scenes
>>> from dalle.pictures import edits
>>> picture, other = (scenes.draw(scenes.compose(seed, 256, 256)) for seed in (1, 2))
>>> edited = edits.jpeg(edits.crop(picture, 0.9, np.random.default_rng(0)), 30, np.random.default_rng(0))
>>> detector = load_detector("builtin")
>>> vectors = embed_all(detector, [picture, edited, other])  # [3, 256] float32, of unit length
>>> vectors[0] @ vectors.T >= detector.threshold
array([ True,  True, False])

Anything with the members of `Embedder` can be used in place of one from here; a new one is a module beside this one
and an entry in `DETECTORS`. Scores are cosines: at or above `threshold` a pair counts as a copy. The defaults are
where `benchmarks/near_duplicates.py` finds the most copies while at least nine in ten of the pairs found are copies.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from dalle.pictures.pixels import Pixels
from schemas.embeddings import check_vectors


class Embedder(Protocol):
    """What a detector offers."""

    name: str
    """As `load_detector` takes it."""
    fingerprint: str
    """Changes when vectors would: of weights, preprocessing, precision."""
    dimension: int
    """Length of a vector."""
    threshold: float
    """The cosine from which a pair counts as a copy, unless the user says otherwise."""
    least_side: int
    """A JPEG may be decoded smaller as long as its short side stays this long."""
    views: tuple[str, ...]
    """What of a reference is looked at, by the names of `dalle.detectors.views`; the most alike counts."""
    batch: int
    """Pictures in a batch; always so many, so that vectors do not depend on how pictures are grouped."""

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[H, W, 3] uint8 RGB to an array of the same shape for every picture."""
        ...

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[batch, ...] prepared pictures to [batch, dimension] float32 of unit length."""
        ...


@dataclass(frozen=True, kw_only=True)
class DetectorKind:
    """One kind of detector, and where its class is; the module is imported when one is asked for."""

    module: str
    """A module of this package."""
    class_name: str
    """An `Embedder` in it, made of its argument if it takes one."""
    argument: str = ""
    """What stands after the colon of its name, for help texts; empty if it takes nothing."""


DETECTORS: Mapping[str, DetectorKind] = MappingProxyType(
    {
        # small, made for the purpose, comes with the package (the default)
        "builtin": DetectorKind(module="builtin", class_name="Builtin"),
        # a CLIP model of open_clip with weights by their name (ViT-B-32/laion2b_s34b_b79k) or by a file of them
        # (ViT-B-32//data/vit.pt)
        "open_clip": DetectorKind(module="open_clip", class_name="OpenClip", argument="MODEL/PRETRAINED-or-path"),
        # SSCD's released files (sscd_disc_mixup.torchscript.pt); a TorchScript file is a program: trust it
        "torchscript": DetectorKind(module="torchscript", class_name="TorchScript", argument="PATH"),
        # the classic 64-bit hash; no weights
        "phash": DetectorKind(module="phash", class_name="PHash"),
    }
)
"""All kinds by the first part of their name."""


def detector_names() -> str:
    """What a detector may be called, for help texts and errors.

    >>> detector_names()
    'builtin, open_clip:MODEL/PRETRAINED-or-path, torchscript:PATH or phash'
    """
    *names, last = (f"{name}:{kind.argument}" if kind.argument else name for name, kind in DETECTORS.items())
    return f"{', '.join(names)} or {last}"


def load_detector(name: str = "builtin") -> Embedder:
    """A detector by its name.

    Raises:
        ValueError: if there is none of that name, or its weights cannot be read.
    """
    first, _, argument = name.partition(":")
    kind = DETECTORS.get(first)
    if kind is None or bool(argument) != bool(kind.argument):
        raise ValueError(f"there is no detector {name!r}; it is one of {detector_names()}")
    detector_class = getattr(importlib.import_module(f"{__name__}.{kind.module}"), kind.class_name)
    return detector_class(argument) if argument else detector_class()


def embed_all(
    detector: Embedder, pictures: Iterable[Pixels], where: Callable[[int], str] = "picture {}".format
) -> np.ndarray:
    """[N, dimension] float32 of unit length: the vectors of pictures, in their order.

    Args:
        detector: what makes them.
        pictures: N pictures.
        where: gives for the number of one, from 0, what it is called in errors.

    Raises:
        ValueError: naming detector and picture, if the detector gives something else than a unit vector.
    """
    vectors, waiting = [np.zeros((0, detector.dimension), np.float32)], []
    for pixels in pictures:
        waiting.append(detector.preprocess(pixels))
        if len(waiting) == detector.batch:
            vectors.append(_embed(detector, waiting, sum(map(len, vectors)), where))
            waiting = []
    if waiting:
        vectors.append(_embed(detector, waiting, sum(map(len, vectors)), where))
    return np.concatenate(vectors)


def _embed(detector: Embedder, some: list[np.ndarray], first: int, where: Callable[[int], str]) -> np.ndarray:
    """The vectors of at most a batch of prepared pictures; those that fill it up are the first once more."""
    batch = np.stack(some + [some[0]] * (detector.batch - len(some)))
    vectors = detector.embed(batch)
    if vectors.shape != (detector.batch, detector.dimension):
        raise ValueError(
            f"the detector {detector.fingerprint} gave vectors of shape {vectors.shape}, expected "
            f"{(detector.batch, detector.dimension)}"
        )
    advice = f"take the picture out, or use another detector than {detector.fingerprint}"
    check_vectors(vectors[: len(some)], lambda number: where(first + number), advice)
    return vectors[: len(some)]
