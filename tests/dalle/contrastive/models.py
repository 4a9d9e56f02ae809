"""A contrastive model so small that it scores at once: fresh weights."""

from __future__ import annotations

from pathlib import Path

import torch

from dalle.contrastive.config import ContrastiveConfig
from dalle.contrastive.network import make, save
from dalle.text import tokenizer


def write_contrastive(folder: Path, *, seed: int = 0) -> Path:
    """`model.safetensors` in a folder, as a training leaves it; gives the folder."""
    words = tokenizer.load()
    config = ContrastiveConfig(
        dimension=16, image_size=32, patch_size=16, image_layers=1, image_width=32, image_heads=2,
        text_layers=1, text_width=32, text_heads=2, text_length=16, vocab_size=words.vocab_size + 1,
    )  # fmt: skip
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    save(make(config), folder / "model.safetensors", config, words)
    return folder
