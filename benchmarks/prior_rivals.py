"""Networks of others, of the size of ours, for benchmarks/prior.py: what takes a training step on the same tokens.

The dense one is GPT-2 as nanoGPT writes it: fused projections, `scaled_dot_product_attention`, exact GELU, one table of
embeddings for text, padding and codes, whose transpose gives the logits. DALLE-pytorch is imported, from a folder that

    pip install --no-deps --target FOLDER dalle-pytorch einops axial_positional_embedding rotary-embedding-torch \
        g-mlp-pytorch

fills: with `pkg_resources` and taming's modules it asks for what is no longer there, and not used here.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT, VOCABULARY, CODES, CODEBOOK = 256, 16_384, 1_024, 8_192


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attend(self.first(x)).split(width, dim=2)
        query, key, value = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.narrow(F.gelu(self.widen(self.second(x))))


class Dense(nn.Module):
    """GPT-2 over text and codes as one vocabulary."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY + TEXT + CODEBOOK, width)
        self.positions = nn.Embedding(TEXT + CODES, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, VOCABULARY + TEXT + CODEBOOK, bias=False)
        self.logits.weight = self.tokens.weight
        self.apply(_small)

    def forward(self, text_tokens: Tensor, image_codes: Tensor) -> Tensor:
        """The mean loss of a token."""
        sequence = torch.cat([text_tokens, image_codes + VOCABULARY + TEXT], 1)
        x = self.tokens(sequence[:, :-1]) + self.positions.weight[: sequence.shape[1] - 1]
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.logits(self.norm(x)).flatten(0, 1), sequence[:, 1:].flatten())


def _small(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)


def dalle_pytorch(folder: Path, attention: tuple[str, ...] | None, layers: int, width: int, heads: int) -> nn.Module:
    """DALLE-pytorch's network; its call with `return_loss=True` gives the loss.

    Args:
        folder: where it is installed.
        attention: types of attention, in turn; None is its default, dense.
        layers, width, heads: its size.
    """
    sys.path.insert(0, str(folder))
    for name in ("pkg_resources", "omegaconf", "taming", "taming.models", "taming.models.vqgan"):
        sys.modules.setdefault(name, _Absent(name))
    library: Any = importlib.import_module("dalle_pytorch")
    vae = library.DiscreteVAE(image_size=256, num_layers=3, num_tokens=CODEBOOK, codebook_dim=64, hidden_dim=16)
    sizes = {"dim": width, "depth": layers, "heads": heads, "dim_head": width // heads}
    return library.DALLE(vae=vae, num_text_tokens=VOCABULARY, text_seq_len=TEXT, attn_types=attention, **sizes)


class _Absent(ModuleType):
    """Has whatever is asked of it, and does nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []  # a package, whose modules are asked for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
