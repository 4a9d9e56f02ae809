"""Near-duplicate detectors: a picture to a unit vector, so that the cosine of two tells whether one is a copy.

`load_detector("builtin")` gives one of those that come with the package; anything with the members of `Embedder`
can be used in their place. Scores are cosines: at or above `threshold` a pair counts as a copy. The defaults are
where `benchmarks/near_duplicates.py` finds the most copies while at least nine in ten of the pairs found are copies.

    builtin                              small, made for the purpose, comes with the package (the default)
    open_clip:ViT-B-32/laion2b_s34b_b79k a CLIP model of open_clip by the name of its weights
    open_clip:ViT-B-32//data/vit.pt      … or by a file of weights
    torchscript:sscd_disc_mixup.torchscript.pt    SSCD's released files; a TorchScript file is a program: trust it
    phash                                the classic 64-bit hash; no weights
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from dalle.pictures.overlays import Pixels

DETECTORS = "builtin, open_clip:MODEL/PRETRAINED-or-path, torchscript:PATH or phash"


class Embedder(Protocol):
    """What a detector offers."""

    name: str
    """As it was asked for."""
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


def load_detector(name: str = "builtin") -> Embedder:
    """A detector by its name.

    Raises:
        ValueError: if there is none of that name, or its weights cannot be read.
    """
    kind, _, rest = name.partition(":")
    if kind == "builtin" and not rest:
        from dalle.detectors.builtin import Builtin

        return Builtin()
    if kind == "open_clip" and rest:
        from dalle.detectors.open_clip import OpenClip

        return OpenClip(rest)
    if kind == "torchscript" and rest:
        from dalle.detectors.torchscript import TorchScript

        return TorchScript(rest)
    if kind == "phash" and not rest:
        from dalle.detectors.phash import PHash

        return PHash()
    raise ValueError(f"there is no detector {name!r}; it is one of {DETECTORS}")


def embed_all(detector: Embedder, pictures: Iterable[Pixels]) -> np.ndarray:
    """[N, dimension] float32: the vectors of pictures, in their order."""
    vectors, waiting = [np.zeros((0, detector.dimension), np.float32)], []
    for pixels in pictures:
        waiting.append(detector.preprocess(pixels))
        if len(waiting) == detector.batch:
            vectors.append(detector.embed(np.stack(waiting)))
            waiting = []
    if waiting:
        padding = [waiting[0]] * (detector.batch - len(waiting))
        vectors.append(detector.embed(np.stack(waiting + padding))[: len(waiting)])
    return np.concatenate(vectors)
