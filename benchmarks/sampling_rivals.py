"""Others that draw codes with a cache, of the size of ours, for benchmarks/sampling.py: one step at a cache's length.

`HuggingFace` is GPT-2 over text and codes as one vocabulary, with transformers' own cache, which grows. `DallePytorch`
is as released (see `prior_rivals` for where it is installed): at its default `cond_scale` its `generate_images` loses
the cache it is told to use, so that every step is a whole forward pass; repaired, the cache is handed to the network.
Both choose as they do themselves, or by the whole distribution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from prior_rivals import CODEBOOK, CODES, TEXT, VOCABULARY, dalle_pytorch
from torch import Tensor

from dalle.prior.config import PriorConfig


class Rival(Protocol):
    """A network with a cache."""

    def fill(self, batch: int, length: int) -> None:
        """Be where so many positions have been read, of text and codes."""

    def step(self) -> None:
        """Draw one more code for each of the batch."""

    def clear(self) -> None:
        """Forget what has been read: several caches of 64 samples do not fit into memory."""


class HuggingFace:
    """GPT-2 of transformers, `scaled_dot_product_attention`, in bfloat16."""

    def __init__(self, config: PriorConfig) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        sizes = {"n_embd": config.width, "n_layer": config.layers, "n_head": config.heads}
        vocabulary = VOCABULARY + TEXT + CODEBOOK
        self._config = GPT2Config(
            vocab_size=vocabulary, n_positions=TEXT + CODES + 1, bos_token_id=None, eos_token_id=None, **sizes
        )
        self._network = GPT2LMHeadModel(self._config).bfloat16().eval()
        self._cache: Any = None
        self._tokens = torch.zeros(0)

    def fill(self, batch: int, length: int) -> None:
        from transformers import DynamicCache

        self._cache = DynamicCache(config=self._config)
        size = self._config.n_embd // self._config.n_head
        for layer in range(self._config.n_layer):
            keys_values = torch.randn(2, batch, self._config.n_head, length, size, dtype=torch.bfloat16)
            self._cache.update(*keys_values, layer)
        self._tokens = torch.full((batch, 1), VOCABULARY + TEXT)

    def step(self) -> None:
        logits = self._network(self._tokens, past_key_values=self._cache, use_cache=True).logits[:, -1]
        probabilities = logits[:, VOCABULARY + TEXT :].float().softmax(1)
        self._tokens = torch.multinomial(probabilities, 1) + VOCABULARY + TEXT

    def clear(self) -> None:
        self._cache = None


class DallePytorch:
    """DALLE-pytorch, dense attention as it comes, rotary embeddings and shifted tokens."""

    def __init__(self, folder: Path, config: PriorConfig, *, repaired: bool) -> None:
        sizes = {"layers": config.layers, "width": config.width, "heads": config.heads}
        self._network: Any = dalle_pytorch(folder, None, **sizes).eval()
        self._library: Any = __import__("dalle_pytorch.dalle_pytorch", fromlist=["top_k"])
        self._repaired = repaired
        if repaired:
            self._network = self._network.bfloat16()
        self._cache: dict[str, Any] = {}
        self._text, self._codes = torch.zeros(0), torch.zeros(0)

    def fill(self, batch: int, length: int) -> None:
        text, codes = torch.ones(1, TEXT, dtype=torch.int64), torch.zeros(1, length - TEXT - 1, dtype=torch.int64)
        self._text, self._codes = text.expand(batch, -1), codes.expand(batch, -1)
        self._cache = {}
        if self._repaired:
            self._network(text, codes, cache=self._cache)
            self._cache = {name: _of_batch(value, batch) for name, value in self._cache.items()}

    def step(self) -> None:
        codes = torch.cat([self._codes, torch.zeros(len(self._codes), 1, dtype=torch.int64)], 1)
        if self._repaired:
            logits = self._network(self._text, codes, cache=self._cache)
        else:
            logits = self._network.forward_with_cond_scale(self._text, codes, cond_scale=1, cache=self._cache)
        filtered = self._library.top_k(logits[:, -1], thres=0.5)
        self._library.gumbel_sample(filtered, temperature=1)
        self._codes = codes

    def clear(self) -> None:
        self._cache = {}


def _of_batch(value: Any, batch: int) -> Any:
    """What is cached of one sample, for a batch of them."""
    if isinstance(value, Tensor):
        return value.expand(batch, *value.shape[1:]).contiguous()
    if isinstance(value, int):
        return value
    return type(value)(_of_batch(each, batch) for each in value)
