"""Our own contrastive model: open_clip's class of two transformers, on disk one safetensors file that needs no other.

The file's metadata hold one entry, `model`: JSON of the sizes under `config`, the vocabulary's fingerprint under
`vocabulary`, and under `tokenizer` the vocabulary itself, for a model that compares texts is of no use without it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import safetensors
import torch
from open_clip import CLIP
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.transform import PreprocessCfg
from torch import Tensor

from dalle.contrastive.config import ContrastiveConfig
from dalle.text.ended import EndedCaptions
from dalle.text.tokenizer import Tokenizer
from dalle.training.model_file import ModelKind, load_network
from dalle.training.tensor_file import write_tensors
from schemas.json_text import parse_json
from schemas.whole_file import whole_file

_ENTRY, _CONFIG, _TOKENIZER = "model", "config", "tokenizer"


def make(config: ContrastiveConfig) -> CLIP:
    """A network of these sizes with fresh weights, drawn from torch's global generator."""
    vision = CLIPVisionCfg(
        layers=config.image_layers,
        width=config.image_width,
        head_width=config.image_width // config.image_heads,
        patch_size=config.patch_size,
        image_size=config.image_size,
    )
    text = CLIPTextCfg(
        context_length=config.text_length,
        vocab_size=config.vocab_size,
        width=config.text_width,
        heads=config.text_heads,
        layers=config.text_layers,
    )
    return CLIP(config.dimension, vision, text)


KIND = ModelKind(
    "a contrastive model that dalle.train_contrastive wrote",
    ContrastiveConfig,
    make,
    lambda config: 12 * (config.image_layers + config.text_layers),
    entry=_ENTRY,
)


def preparation(config: ContrastiveConfig) -> PreprocessCfg:
    """How open_clip prepares a picture for it."""
    return PreprocessCfg(size=config.image_size)


def normalised(images: Tensor) -> Tensor:
    """[B, 3, S, S] uint8 to float32, as that preparation ends."""
    mean, deviation = (
        torch.tensor(values, device=images.device).view(3, 1, 1) for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    return (images.float() / 255 - mean) / deviation


def save(network: CLIP, path: str | os.PathLike[str], config: ContrastiveConfig, tokenizer: Tokenizer) -> None:
    """Write the weights in single precision, the sizes, and the vocabulary."""
    model = {
        _CONFIG: asdict(config),
        "vocabulary": tokenizer.fingerprint,
        _TOKENIZER: tokenizer.content.decode(),
    }
    tensors = {name: value.float().contiguous() for name, value in network.state_dict().items()}
    with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
        write_tensors(file, tensors, {_ENTRY: json.dumps(model)})


def load(path: str | os.PathLike[str]) -> tuple[CLIP, ContrastiveConfig, EndedCaptions]:
    """The network of a file that `save` wrote, in single precision, for use; its sizes, and how it reads captions.

    Raises:
        ValueError: if the file is not one of ours, or its weights are no numbers.
        OSError: if it is not there.
    """
    where = os.fspath(path)
    network = load_network(where, KIND)
    with safetensors.safe_open(where, "pt") as file:
        model = parse_json(file.metadata()[_ENTRY])
    config = ContrastiveConfig(**model[_CONFIG])
    content = model.get(_TOKENIZER)
    tokenizer = Tokenizer(
        content.encode(errors="replace") if isinstance(content, str) else b"", f"{where}, its vocabulary"
    )
    if tokenizer.vocab_size + 1 != config.vocab_size:
        raise ValueError(
            f"{where}: its vocabulary has {tokenizer.vocab_size:,} entries, its network is for "
            f"{config.vocab_size - 1:,}; it is of no use, take one that a training finished"
        )
    return network, config, EndedCaptions(tokenizer, config.text_length)
