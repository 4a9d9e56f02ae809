"""A model of open_clip with its weights, by name: whoever uses one loads it here, safely and checked.

A name is `MODEL/PRETRAINED`, where PRETRAINED is one of open_clip's tags or a file of weights
(`ViT-B-32/laion2b_s34b_b79k`, `ViT-B-32/weights/vit.pt`, `ViT-B-32//data/vit.pt`). Of a file only tensors are read,
nothing in it is executed.

OpenAI's weights and some others were trained with QuickGELU, of which nothing stands in them; with GELU they compute
something else without a word. open_clip has models of their own for those, such as `ViT-B-32-quickgelu`. Weights of a
tag, and files that are those of a tag, are refused for a model with the other activation; of others nobody can know.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal
from zipfile import BadZipFile

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors import SafetensorError
from torch import nn

from dalle.training.model_file import fault_of_numbers
from schemas.regular_file import check_regular

log = logging.getLogger(__name__)

_SHOWN = 300
_QUICK = "-quickgelu"
_DAMAGED = (
    *(OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError, AttributeError, IndexError, StopIteration),
    *(UnpicklingError, SafetensorError, BadZipFile),
)
"""What torch, safetensors, NumPy and open_clip raise at a file that is not theirs."""
_HASH = re.compile(r"/([0-9a-f]{64})/|-([0-9a-f]{8})\.pt$")
"""In the address of released weights: their sha256, or how it begins."""


@dataclass(frozen=True)
class OpenClipModel:
    """A model with its weights, for use, and how pictures are prepared for it."""

    name: str
    """Of the model, such as `ViT-B-32`."""
    network: nn.Module
    """An `open_clip.CLIP`, `CustomTextCLIP` or `CoCa`, in evaluation mode."""
    preparation: PreprocessCfg

    @property
    def prepare(self) -> Callable[[Image.Image], torch.Tensor]:
        """open_clip's own: a picture to [3, S, S] float32."""
        return image_transform_v2(self.preparation, is_train=False)

    def digest(self, network: nn.Module) -> str:
        """A hash of weights and of what is done with them, so that a file may be moved or renamed.

        The same weights give other vectors with another activation, other heads or another preparation of pictures.

        Args:
            network: this one or a part of it.
        """
        sizes = open_clip.get_model_config(self.name)["vision_cfg"]
        return digest(network, [sizes, vars(self.preparation)])


def digest(network: nn.Module, config: Any) -> str:
    """A short hash of a network's layers and weights, and of whatever else decides on what it gives."""
    value = hashlib.sha256(json.dumps([config, str(network)], sort_keys=True).encode())
    for name, weights in sorted(network.state_dict().items()):
        value.update(name.encode())
        value.update(weights.float().cpu().numpy().tobytes())
    return value.hexdigest()[:16]


def load_open_clip(model_and_weights: str, label: str, precision: Literal["fp32", "bf16"] = "fp32") -> OpenClipModel:
    """A model of open_clip.

    Args:
        model_and_weights: its name.
        label: what it is called in errors, such as `--detector open_clip:ViT-B-32/clip.pt`.
        precision: of the weights, as open_clip has them.

    Raises:
        ValueError: if open_clip has no such model, there are no such weights, they are of another network or for
            another activation, or hold NaN or infinity.
    """
    model, _, weights = model_and_weights.partition("/")
    _check_there(label, model, weights)
    remark = _check_activation(label, model, weights)
    try:
        network = open_clip.create_model(model, pretrained=weights, precision=precision)
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        if "weights_only" in reason:  # torch's advice is to have the file executed
            reason = "other things than tensors are in the file, or it is no file of weights; nothing was executed"
        raise ValueError(
            f"{label}: the weights could not be loaded ({reason}); give another file of weights"
        ) from error
    if fault := fault_of_numbers(dict(network.named_parameters())):
        raise ValueError(f"{label}: {fault}")
    if remark:
        log.info("%s", remark)
    preparation = PreprocessCfg(**open_clip.get_model_preprocess_cfg(network))
    return OpenClipModel(model, network.eval(), preparation)


def _check_there(label: str, model: str, weights: str) -> None:
    """Say what is wrong before anything is built or downloaded."""
    if model not in open_clip.list_models():
        raise ValueError(f"{label}: open_clip has no model {model!r}; open_clip.list_models() names those it has")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if weights in tags:
        return
    if not weights or not Path(weights).exists():
        raise ValueError(
            f"{label}: {weights or 'nothing'!r} is neither a file of weights "
            f"nor one of open_clip's for {model} ({', '.join(tags) or 'it has none'})"
        )
    check_regular(weights)


def _check_activation(label: str, model: str, weights: str) -> str:
    """Refuse weights that are known to be for the other activation; of an unknown file gives which one is used."""
    plain = model.removesuffix(_QUICK)
    quick = bool(open_clip.get_model_config(model).get("quick_gelu", False))
    other = plain if quick else plain + _QUICK
    if other == model or other not in open_clip.list_models():
        return ""  # the only form there is of it
    known = open_clip.get_pretrained_cfg(model, weights) or _known_file(plain, weights)
    if known and bool(known.get("quick_gelu", False)) != quick:
        raise ValueError(
            f"{label}: these weights were trained with {_activation(not quick)}, {model} computes with "
            f"{_activation(quick)} and would give other scores without a word; name {other}"
        )
    if known:
        return ""
    whose = "" if quick else ", as OpenAI's were,"
    return (
        f"{label}: computes with {_activation(quick)}; weights that were trained with {_activation(not quick)}{whose} "
        f"need {other}"
    )


def _known_file(plain: str, weights: str) -> dict[str, Any]:
    """What open_clip knows of the weights in a file that one of its tags has: the address of some tells their hash."""
    configs = [open_clip.get_pretrained_cfg(plain, tag) for tag in open_clip.list_pretrained_tags_by_model(plain)]
    known = {"".join(found): each for each in configs for found in _HASH.findall(each.get("url", ""))}
    if not known:
        return {}
    with open(weights, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return next((config for begins, config in known.items() if sha256.startswith(begins)), {})


def _activation(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"
