"""The Inception Score: exp of the mean divergence of a picture's classes from those of all, over ten splits.

    exp(E KL(p(y|x) || p(y)))        of each split; their mean and standard deviation

It comes in forms that give other numbers, so each is named:

- **without bias** (Salimans et al. 2016, DM-GAN on COCO, torch-fidelity): softmax of `pool3` times the weights of the
  last layer alone, 1,008 classes;
- **with bias**: the network's own logits;
- **birds** (StackGAN, DM-GAN on CUB): 50 classes of a network that was fine-tuned, its background class left out.

The splits go by the order of the pictures: as they are given (DM-GAN on COCO), or shuffled, by numpy's legacy generator
with seed 2020 as torch-fidelity does it. Probabilities are in double precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

SHUFFLED = 2020
"""torch-fidelity's seed."""
_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class LastLayer:
    """What makes classes of features."""

    name: str
    """Of the form, such as "without bias"."""
    weight: np.ndarray
    """[C, D] float32."""
    bias: np.ndarray | None = None
    """[C] float32."""
    shuffle_seed: int | None = None
    """Of the order; None takes pictures as they are given."""
    whole_batches_of: int = 1
    """Pictures beyond the last whole batch are left out, as the code that is followed does."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[n, D] float32 to [n, C] float64."""
        logits = features @ self.weight.T
        return (logits if self.bias is None else logits + self.bias).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """Of some pictures."""

    mean: float
    """Over the splits."""
    std: float
    """Of the splits (divided by their number, not one less)."""
    splits: int
    pictures: int

    def to_json(self) -> dict[str, float | int]:
        """As `evaluation.json` has it."""
        return {"mean": self.mean, "std": self.std, "splits": self.splits, "pictures": self.pictures}


def inception_score(
    rows: Callable[[np.ndarray], np.ndarray], count: int, layer: LastLayer, splits: int = 10
) -> InceptionScore:
    """Of pictures whose features may be on disk; memory does not grow with them.

    Args:
        rows: gives for [n] numbers of pictures their features, [n, D] float32.
        count: of pictures.
        layer: makes classes of them.
        splits: how many.

    Raises:
        ValueError: if there are fewer pictures than splits.
    """
    order = np.arange(count)
    if layer.shuffle_seed is not None:
        order = np.random.RandomState(layer.shuffle_seed).permutation(count)
    order = order[: count // layer.whole_batches_of * layer.whole_batches_of]
    if len(order) < splits:
        raise ValueError(f"an Inception Score over {splits} splits needs as many pictures, found {len(order)}")
    edges = [i * len(order) // splits for i in range(splits + 1)]
    scores = [
        _score(layer.logits(rows(piece)) for piece in _pieces(order[first:last]))
        for first, last in itertools.pairwise(edges)
    ]
    return InceptionScore(mean=float(np.mean(scores)), std=float(np.std(scores)), splits=splits, pictures=len(order))


def _score(pieces: Iterator[np.ndarray]) -> float:
    """Of one split: mean of sum p log p, less that of the mean of p."""
    count, own, mean = 0, 0.0, np.zeros(1)
    for logits in pieces:
        shifted = logits - logits.max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        p = np.exp(log_p)
        own += float((p * log_p).sum())
        mean = mean + p.sum(0)
        count += len(p)
    mean = mean / count
    return float(np.exp(own / count - (mean * np.log(np.clip(mean, np.finfo(np.float64).tiny, None))).sum()))


def _pieces(order: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(order), _AT_ONCE):
        yield order[first : first + _AT_ONCE]
