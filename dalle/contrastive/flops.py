"""What the two towers of a contrastive model compute: products of weights, and everybody sees everybody."""

from __future__ import annotations

from dalle.contrastive.config import SizeOptions

TRAINING = 3
"""Forward passes that a training step costs: gradients of inputs and of weights are one each."""


def image_flops(size: SizeOptions) -> float:
    """FLOP of one picture, two for each product and sum.

    >>> round(image_flops(SizeOptions()) / 1e9, 2)      # of ViT-B/32
    8.82
    """
    patches = (size.image_size // size.patch_size) ** 2
    first = 2.0 * patches * 3 * size.patch_size**2 * size.image_width
    return first + _blocks(size.image_layers, size.image_width, patches + 1) + 2.0 * size.image_width * size.dimension


def text_flops(size: SizeOptions) -> float:
    """FLOP of one text of any length, for its empty positions are computed as well."""
    return _blocks(size.text_layers, size.text_width, size.text_length) + 2.0 * size.text_width * size.dimension


def _blocks(layers: int, width: int, positions: int) -> float:
    """Of all residual blocks: twelve squares of weights, and scores and sums of all pairs of positions."""
    return 2.0 * layers * (12 * width**2 * positions + 2 * width * positions**2)
