"""The sizes of our own contrastive model."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.examples import TEXT_LENGTH, TEXT_VOCABULARY
from schemas.ranges import MOST_SIZE, Between, check_ranges

_SIZES = ("dimension", "image_layers", "image_width", "image_heads", "text_layers", "text_width", "text_heads")


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """The size of the network; what the vocabulary decides is not in it."""

    dimension: int = 512
    """Numbers of a vector, 1 or more."""
    image_size: int = 224
    """Side of the pictures in pixels, a multiple of --patch_size."""
    patch_size: int = 32
    """Side of a patch in pixels, 1 or more."""
    image_layers: int = 12
    """Layers of the pictures' tower, 1 or more."""
    image_width: int = 768
    """Channels of the pictures' tower, a multiple of --image_heads."""
    image_heads: int = 12
    """Heads of attention in the pictures' tower, 1 or more."""
    text_layers: int = 12
    """Layers of the texts' tower, 1 or more."""
    text_width: int = 512
    """Channels of the texts' tower, a multiple of --text_heads."""
    text_heads: int = 8
    """Heads of attention in the texts' tower, 1 or more."""
    text_length: int = 77
    """Positions of a text, its end among them, 2 to 257; longer captions are cut."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        sides = Between(1, 1 << 14)
        ranges = dict.fromkeys(_SIZES, Between(1, MOST_SIZE)) | {"image_size": sides, "patch_size": sides}
        check_ranges(self, ranges | {"text_length": Between(2, TEXT_LENGTH + 1)})
        for whole, part in (
            ("image_size", "patch_size"), ("image_width", "image_heads"), ("text_width", "text_heads"),
        ):  # fmt: skip
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"--{whole} {getattr(self, whole)}: expected a multiple of --{part}, {getattr(self, part)}"
                )


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(SizeOptions):
    """All sizes of the network; the defaults are those of CLIP's ViT-B/32."""

    vocab_size: int = TEXT_VOCABULARY + 1
    """Different tokens, the end of a text among them, 1 or more."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        super().__post_init__()
        check_ranges(self, {"vocab_size": Between(1, MOST_SIZE)})
