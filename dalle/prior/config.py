"""The size of the transformer."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from schemas.examples import IMAGE_LENGTH, TEXT_LENGTH, TEXT_VOCABULARY
from schemas.ranges import MOST_SIZE


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """The size of the network; the defaults are the paper's (§2.2, App. B.1)."""

    vocab_size: int = TEXT_VOCABULARY
    """Entries of the vocabulary; a padding token for each position of the text comes after them."""
    image_vocab_size: int = 8192
    """Codes in the codebook."""
    text_length: int = TEXT_LENGTH
    """Positions of the text."""
    codes: int = IMAGE_LENGTH
    """Codes of a picture, a square number."""
    layers: int = 64
    """Layers of attention and two linear maps."""
    heads: int = 62
    """Heads of attention in a layer."""
    head_size: int = 64
    """Dimensions of a head."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 1 <= value <= MOST_SIZE:
                raise ValueError(f"{name} is {value}, expected 1 to {MOST_SIZE:,}")
        if self.side**2 != self.codes:
            raise ValueError(f"codes is {self.codes}, expected a square number, for they lie in a square")

    @property
    def width(self) -> int:
        """D."""
        return self.heads * self.head_size

    @property
    def side(self) -> int:
        """h."""
        return round(self.codes**0.5)

    @property
    def block_weights(self) -> int:
        """Weights in the matrices of all residual blocks, without biases and gains."""
        return 12 * self.width**2 * self.layers
