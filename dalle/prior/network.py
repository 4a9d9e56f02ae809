"""The transformer that models a caption and its picture as one sequence of tokens (Ramesh et al. 2021, §2.2, App. B).

    prior = Prior(PriorConfig(layers=2, heads=4, head_size=16))
    text_logits, image_logits = prior(text_tokens, image_codes)   # of each token, given all before it
    loss = weighted(*prior.losses(text_tokens, image_codes))      # an eighth of the text's, seven of the picture's

Each layer is attention by the plan of its place (`masks`) and an MLP, each a residual block (`resblock`).
What the paper leaves open is decided so:

| what | here | after |
|---|---|---|
| start of text | a learned vector without a position before the text; all see it | Figure 10 |
| start of image | none, the text's last position predicts the first code | all 1,280 tokens are predicted |
| padding | read but not predicted: the text's loss is that of captions | App. B.3: its own count |
| norms | before each branch, and one after the last layer | Child et al. 2019, GPT-2 |
| activation | GELU, exact, four times as wide | Child et al. 2019, GPT-2 (approximated) |
| scores | divided by sqrt(head size) | Child et al. 2019, GPT-2 |
| biases | in every linear map | GPT-2 |
| dropout | none: less than two epochs | App. B.4: no over-fitting seen |
| outputs | not tied to embeddings; text and codes apart; none for padding | |
| initial weights | normal, deviation 0.02, embeddings too; biases 0, gains 1 | GPT-2 |
| of those that add to the stream | deviation divided by sqrt(2 x layers) | Child et al. 2019, GPT-2 |
| edges of a convolution | neighbours by flattened offsets (see `masks`) | App. B.1: "similar to the row attention" |
| number formats | weights, stream, gradients of biases and logits 32 bits, branches as autocast says | App. D.3 |

Shapes: B examples, T positions of text, N = h h codes, L = T + N positions, V words, K codes, D = heads x head size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dalle.prior.config import PriorConfig
from dalle.prior.losses import nats
from dalle.prior.masks import Kind, kinds_of
from dalle.prior.resblock import Layer, Recompute, Resblock
from dalle.text.padding import is_text, vocab_size_with_padding

_OF_CODES = ("embeddings.code.weight", "to_codes.weight")


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
    """p(text, codes): logits of every token, given all before it.

    Args:
        config: its sizes.
        recompute: what of each residual block is not kept but computed again for the gradient (`resblock`).
        kinds: of each layer, to compare with other networks; the paper's if not given.
        code_vectors: [K, D] float32, added to the first embeddings of codes and to the first weights of their logits
            (`dalle.prior.codebook`); nothing if not given.
    """

    def __init__(
        self,
        config: PriorConfig,
        *,
        recompute: Recompute = "none",
        kinds: Sequence[Kind] | None = None,
        code_vectors: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self._code_vectors = code_vectors
        self.embeddings = Embeddings(config)
        kinds = kinds_of(config.layers) if kinds is None else kinds
        if len(kinds) != config.layers:
            raise ValueError(f"{len(kinds)} kinds were given, expected one for each of {config.layers} layers")
        self.layers = nn.ModuleList(Layer(config, kind, recompute=recompute) for kind in kinds)
        self.norm = nn.LayerNorm(config.width)
        self.to_text = nn.Linear(config.width, config.vocab_size)
        self.to_codes = nn.Linear(config.width, config.image_vocab_size)
        self._begin()

    def _begin(self) -> None:
        """Draw the weights; see the table above."""
        for name, value in self.named_parameters():
            self.draw(name, value)

    def draw(self, name: str, value: Tensor) -> bool:
        """Draw the first weights of a name into a tensor of their shape; gains of norms stay: whether it was done."""
        if name.endswith(".bias"):
            nn.init.zeros_(value)
        elif "norm" in name:
            return False
        else:
            added = name.endswith(".inner.output.weight")
            nn.init.normal_(value, std=0.02 * ((2 * self.config.layers) ** -0.5 if added else 1))
        if self._code_vectors is not None and name in _OF_CODES:
            with torch.no_grad():
                value.add_(self._code_vectors.to(value))
            if name == _OF_CODES[-1] and not value.is_meta:
                self._code_vectors = None  # of the paper's width they are 130 MB
        return True

    def resblocks(self) -> dict[str, Resblock]:
        """All residual blocks by name, `layers.0.attention`, `layers.0.mlp`, ..., from first to last."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Resblock)}

    def forward(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the text, [B, T, V] float32, and of the codes, [B, N, K] float32.

        Args:
            text_tokens: [B, T] int64; position i after a text holds V + i.
            image_codes: [B, N] int64.

        Raises:
            ValueError: if they have other lengths than the network.
        """
        text, codes = self._features(text_tokens, image_codes)
        with torch.autocast(text.device.type, enabled=False):
            return self.to_text(text.float()), self.to_codes(codes.float())

    def losses(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean nats of a text token and of a code, each over its own number in the batch (App. B.3).

        Padding tokens are not counted; without any text the first is 0. Arguments and errors are those of `forward`.
        """
        text, codes = self._features(text_tokens, image_codes)
        in_text = is_text(text_tokens, self.config.vocab_size)
        of_text = nats(self.to_text, text[in_text], text_tokens[in_text])
        return of_text / in_text.sum().clamp(min=1), nats(self.to_codes, codes, image_codes) / image_codes.numel()

    def embed(self, text_tokens: Tensor, image_codes: Tensor) -> Tensor:
        """[B, L, D]: what enters the first layer; arguments and errors are those of `forward`."""
        expected = (self.config.text_length, self.config.codes)
        if (text_tokens.shape[1], image_codes.shape[1]) != expected:
            raise ValueError(
                f"text and codes have {text_tokens.shape[1]} and {image_codes.shape[1]} positions, the network "
                f"{expected[0]} and {expected[1]}"
            )
        return self.embeddings(text_tokens, image_codes)

    def transform(self, x: Tensor) -> Tensor:
        """[B, L, D] through all layers: what each position's next token is predicted from."""
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def attention_entropy(self, text_tokens: Tensor, image_codes: Tensor) -> dict[Kind, float]:
        """See the function of this name."""
        entropies: dict[Kind, list[float]] = {}
        x = self.embed(text_tokens, image_codes)
        for layer in self.layers:
            assert isinstance(layer, Layer)
            entropies.setdefault(layer.kind, []).append(float(layer.attention_entropy(x).mean()))
            x = layer(x)
        return {kind: sum(some) / len(some) for kind, some in entropies.items()}

    def _features(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """What the text, [B, T, D], and the codes, [B, N, D], are predicted from."""
        features = self.transform(self.embed(text_tokens, image_codes))
        text, codes = features.split((self.config.text_length, self.config.codes), dim=1)
        return text, codes


@torch.no_grad()
def attention_entropy(prior: Prior, text_tokens: Tensor, image_codes: Tensor) -> dict[Kind, float]:
    """Nats of a code's attention over all that it sees, by the kind of the layer: the mean of layers, heads and codes.

    It takes a forward pass and keeps no probabilities. Arguments and errors are those of `Prior.forward`.
    """
    return prior.attention_entropy(text_tokens, image_codes)
