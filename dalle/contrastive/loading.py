"""Where the network of a contrastive model comes from, and what its preparations are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import open_clip
import torch
from torch import Tensor

from dalle.contrastive import network
from dalle.contrastive.reranker import ContrastiveModel
from dalle.training.model_file import weights_of
from dalle.training.open_clip_file import load_open_clip


def of_open_clip(model_and_weights: str, name: str) -> ContrastiveModel:
    """One of open_clip's, with its own tokenizer.

    Raises:
        ValueError: if there is no such model, or its weights cannot be used.
    """
    model = load_open_clip(model_and_weights, name)
    try:
        tokenizer = open_clip.get_tokenizer(model.name)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: its tokenizer cannot be had ({reason})") from None
    return ContrastiveModel(
        name=name,
        fingerprint=f"open_clip-{model.name}-{model.digest(model.network)}",
        network=model.network,
        preparation=model.preparation,
        tokens=tokenizer,
    )


def of_ours(path: Path, name: str) -> ContrastiveModel:
    """One that `dalle.train_contrastive` left, a folder or its file.

    Raises:
        ValueError: if it is none.
    """
    file = weights_of(path, "train_contrastive")
    clip, config, words = network.load(file)

    def tokens(captions: list[str]) -> Tensor:
        return torch.from_numpy(words(captions))

    return ContrastiveModel(
        name=name,
        fingerprint=f"contrastive-v1-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}",
        network=clip,
        preparation=network.preparation(config),
        tokens=tokens,
    )
