"""The transformer that models a caption and its picture as one row of tokens (Ramesh et al. 2021, §2.2 and App. B).

    prior = Prior(PriorConfig(layers=2, heads=4, head_size=16))
    text_logits, image_logits = prior(text_tokens, image_codes)   # of each token, given all before it
    loss = weighted(*prior.losses(text_tokens, image_codes))      # an eighth of the text's, seven of the picture's

A first version: every layer attends to all that came before. The paper's row, column and convolutional masks are not
here yet, nor are its number formats and its sharding, without which 12 billion weights do not train.

What the paper leaves open is decided so:
- One learned vector stands before the text ("start of text"); the last place of the text predicts the first code, so
  there is no start of image. Of the 1,280 tokens all but the last are read, and all are predicted.
- Padding tokens, one of its own for every place, are read but not predicted: the loss of the text is that of captions.
- Pre-norm blocks with GELU; text and codes have embeddings and output layers of their own, not tied to each other.

Shapes: B examples, T = 256 places of text, N = h h codes, L = T + N places, V words, K codes, D = heads x head size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from schemas.examples import IMAGE_LENGTH, TEXT_LENGTH, TEXT_VOCABULARY

ROWS = 256
"""Logits that are held at a time."""


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """The size of the network; the defaults are the paper's (§2.2, App. B.1)."""

    vocab_size: int = TEXT_VOCABULARY
    """Entries of the vocabulary; a padding token for each place of the text comes after them."""
    image_vocab_size: int = 8192
    """Codes."""
    text_length: int = TEXT_LENGTH
    """Places of the text."""
    codes: int = IMAGE_LENGTH
    """Codes of a picture, a square number."""
    layers: int = 64
    """Blocks of attention and two linear layers."""
    heads: int = 62
    """Heads of attention."""
    head_size: int = 64
    """Numbers of a head."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
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


class Attention(nn.Module):
    """Each place looks at itself and those before it."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        batch, length, width = x.shape
        rows = self.query_key_value(x).view(batch, length, 3, self.heads, -1)
        query, key, value = rows.permute(2, 0, 3, 1, 4)  # [B, heads, L, head size] each
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(found.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """x + attention, then x + two linear layers; each sees x normalised."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width), nn.GELU(), nn.Linear(4 * config.width, config.width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Embeddings(nn.Module):
    """Tokens to vectors: what they are plus where they stand."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(config.width))
        self.text = nn.Embedding(config.vocab_size + config.text_length, config.width)
        self.text_place = nn.Embedding(config.text_length, config.width)
        self.code = nn.Embedding(config.image_vocab_size, config.width)
        self.row = nn.Embedding(config.side, config.width)
        self.column = nn.Embedding(config.side, config.width)

    def forward(self, text_tokens: Tensor, image_codes: Tensor) -> Tensor:
        """[B, T] and [B, N] to [B, L, D]: the start, the text, all codes but the last."""
        text = self.text(text_tokens) + self.text_place.weight
        grid = self.row.weight[:, None] + self.column.weight[None]  # [h, h, D]
        codes = self.code(image_codes) + grid.flatten(0, 1)
        start = self.start.expand(len(text), 1, -1)
        return torch.cat([start, text, codes[:, :-1]], dim=1)


class Prior(nn.Module):
    """p(text, codes): logits of every token, given all before it."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.to_text = nn.Linear(config.width, config.vocab_size)
        self.to_codes = nn.Linear(config.width, config.image_vocab_size)
        self._begin()

    def _begin(self) -> None:
        """Weights as GPT-2 draws them; what is added to the row is scaled down by the number of additions."""
        for name, value in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(value)
            elif "norm" not in name:
                nn.init.normal_(value, std=0.02)
        for block in self.blocks:
            for name in ("attention.output.weight", "mlp.2.weight"):
                block.get_parameter(name).data.mul_((2 * self.config.layers) ** -0.5)

    def forward(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the text, [B, T, V], and of the codes, [B, N, K].

        Args:
            text_tokens: [B, T] int64; place i after a text holds V + i.
            image_codes: [B, N] int64.

        Raises:
            ValueError: if they have other lengths than the network.
        """
        text, codes = self._features(text_tokens, image_codes)
        return self.to_text(text), self.to_codes(codes)

    def losses(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean nats of a text token and of a code, each over its own number in the batch (App. B.3).

        Padding tokens are not counted; without any text the first is 0. Arguments and errors are those of `forward`.
        """
        text, codes = self._features(text_tokens, image_codes)
        is_text = text_tokens < self.config.vocab_size
        of_text = nats(self.to_text, text[is_text], text_tokens[is_text])
        return of_text / is_text.sum().clamp(min=1), nats(self.to_codes, codes, image_codes) / image_codes.numel()

    def _features(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """What the text, [B, T, D], and the codes, [B, N, D], are predicted from."""
        expected = (self.config.text_length, self.config.codes)
        if (text_tokens.shape[1], image_codes.shape[1]) != expected:
            raise ValueError(
                f"text and codes have {text_tokens.shape[1]} and {image_codes.shape[1]} places, the network "
                f"{expected[0]} and {expected[1]}"
            )
        x = self.embeddings(text_tokens, image_codes)
        for block in self.blocks:
            x = block(x)
        text, codes = self.norm(x).split(expected, dim=1)
        return text, codes


def nats(layer: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of what a layer makes of some rows.

    A few rows at a time, whose logits are made anew for the gradient: all at once they are most of a step's memory,
    and on a processor the fresh pages alone take as long as the products.

    Args:
        layer: [..., D] to [..., K] logits.
        x: [..., D].
        targets: [...] int64, below K.
    """
    parts = zip(x.reshape(-1, x.shape[-1]).split(ROWS), targets.reshape(-1).split(ROWS), strict=True)
    return torch.stack([checkpoint(_nats, layer, rows, some, use_reentrant=False) for rows, some in parts]).sum()


def _nats(layer: nn.Module, rows: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(layer(rows).float(), targets, reduction="sum")


def weighted(text: Tensor, image: Tensor) -> Tensor:
    """The loss: an eighth for the text and seven for the picture, which the paper is after (App. B.3)."""
    return text / 8 + 7 / 8 * image
