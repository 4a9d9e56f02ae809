"""The prior on disk: one safetensors file of weights in single precision.

Its metadata hold one entry, `model`, for several would be written in any order: JSON of the sizes under `config`, and
beside them what the weights are made for and from: the fingerprints of the vocabulary and the dVAE, and the lineage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from dalle.prior.config import PriorConfig
from dalle.prior.network import Prior
from dalle.training.model_file import ModelKind, load_network
from dalle.training.tensor_file import write_one_by_one
from schemas.json_text import parse_json
from schemas.whole_file import whole_file

_ENTRY, _CONFIG = "model", "config"

KIND = ModelKind(
    "a prior that dalle.train_prior wrote", PriorConfig, Prior, lambda config: 2 * config.layers, entry=_ENTRY
)


def save(prior: Prior, path: str | os.PathLike[str], made_for: Mapping[str, Any]) -> None:
    """Write the weights in single precision, the sizes, and what they are made for, as JSON has it."""
    tensors = {name: value.float().contiguous() for name, value in prior.state_dict().items()}
    save_one_by_one(tensors, tensors.__getitem__, path, {_CONFIG: asdict(prior.config), **made_for})


def save_one_by_one(
    outline: Mapping[str, Tensor],
    tensor_of: Callable[[str], Tensor],
    path: str | os.PathLike[str],
    model: Mapping[str, Any],
) -> None:
    """Write weights that are made when their turn comes.

    Args:
        outline: their names and shapes, in single precision, on any device, such as `meta`.
        tensor_of: gives those of a name.
        path: of the file.
        model: `config` and what they are made for.
    """
    with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
        write_one_by_one(file, outline, tensor_of, {_ENTRY: json.dumps(model)})


def load(path: str | os.PathLike[str]) -> Prior:
    """The prior from a file that `save` wrote, in single precision, for use.

    Raises:
        ValueError: if the file is not one of ours, or its weights are no numbers.
        OSError: if it is not there.
    """
    return load_network(os.fspath(path), KIND)


def made_for(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the weights of a file that `load` takes are made for."""
    with safetensors.safe_open(os.fspath(path), "pt") as file:
        model: dict[str, Any] = parse_json(file.metadata()[_ENTRY])
    return {name: value for name, value in model.items() if name != _CONFIG}
