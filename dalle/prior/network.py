"""The transformer that models a caption and its picture as one sequence of tokens (Ramesh et al. 2021, §2.2, App. B).

    prior = Prior(PriorConfig(layers=2, heads=4, head_size=16))
    text_logits, image_logits = prior(text_tokens, image_codes)   # of each token, given all before it
    loss = weighted(*prior.losses(text_tokens, image_codes))      # an eighth of the text's, seven of the picture's

A first version: every layer attends to all that came before. The paper's row, column and convolutional masks are not
here yet, nor are its number formats and its sharding, without which 12 billion weights do not train.

What the paper leaves open is decided so:
- One learned vector stands before the text ("start of text"); the last position of the text predicts the first code, so
  there is no start of image. Of the 1,280 tokens all but the last are read, and all are predicted.
- Padding tokens, one of its own for every position, are read but not predicted: the loss of the text is that of
  captions.
- Pre-norm blocks with GELU; text and codes have embeddings and output layers of their own, not tied to each other.

Shapes: B examples, T = 256 positions of text, N = h h codes, L = T + N positions, V words, K codes, D = heads x head
size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dalle.prior.config import PriorConfig
from dalle.prior.losses import nats
from dalle.prior.resblock import Resblock
from dalle.text.padding import is_text, vocab_size_with_padding


class Embeddings(nn.Module):
    """Tokens to vectors: what they are plus where they stand."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(config.width))
        self.text = nn.Embedding(vocab_size_with_padding(config.vocab_size, config.text_length), config.width)
        self.text_position = nn.Embedding(config.text_length, config.width)
        self.code = nn.Embedding(config.image_vocab_size, config.width)
        self.row = nn.Embedding(config.side, config.width)
        self.column = nn.Embedding(config.side, config.width)

    def forward(self, text_tokens: Tensor, image_codes: Tensor) -> Tensor:
        """[B, T] and [B, N] to [B, L, D]: the start, the text, all codes but the last."""
        text = self.text(text_tokens) + self.text_position.weight
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
        self.blocks = nn.ModuleList(Resblock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.to_text = nn.Linear(config.width, config.vocab_size)
        self.to_codes = nn.Linear(config.width, config.image_vocab_size)
        self._begin()

    def _begin(self) -> None:
        """Weights as GPT-2 draws them; what is added to the stream is scaled down by the number of additions."""
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
            text_tokens: [B, T] int64; position i after a text holds V + i.
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
        in_text = is_text(text_tokens, self.config.vocab_size)
        of_text = nats(self.to_text, text[in_text], text_tokens[in_text])
        return of_text / in_text.sum().clamp(min=1), nats(self.to_codes, codes, image_codes) / image_codes.numel()

    def _features(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """What the text, [B, T, D], and the codes, [B, N, D], are predicted from."""
        expected = (self.config.text_length, self.config.codes)
        if (text_tokens.shape[1], image_codes.shape[1]) != expected:
            raise ValueError(
                f"text and codes have {text_tokens.shape[1]} and {image_codes.shape[1]} positions, the network "
                f"{expected[0]} and {expected[1]}"
            )
        x = self.embeddings(text_tokens, image_codes)
        for block in self.blocks:
            x = block(x)
        text, codes = self.norm(x).split(expected, dim=1)
        return text, codes
