"""Any image tower of open_clip as a detector: the embedding that CLIP itself compares pictures with.

It groups pictures by what they show, so two photographs of one kind of bird are close and a strong crop of one
picture is not: prefer `builtin` or `torchscript` for telling copies (DataComp found a recall of 0.02 where a
detector made for it has 0.8, both at precision 0.9).
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F

from dalle.detectors.precision import fast_dtype
from dalle.pictures.pixels import Pixels
from dalle.training.model_file import fault_of_numbers


class OpenClip:
    """The image tower of `MODEL/PRETRAINED`, where PRETRAINED is one of open_clip's tags or a file of weights."""

    threshold = 0.96  # DataComp's: precision 0.9 with ViT-B/32
    views: tuple[str, ...] = ("whole", "centre")
    batch = 16

    def __init__(self, model_and_weights: str) -> None:
        model_name, _, weights = model_and_weights.partition("/")
        self.name = f"open_clip:{model_and_weights}"
        _check(self.name, model_name, weights)
        self.dtype = fast_dtype()
        precision = "bf16" if self.dtype == torch.bfloat16 else "fp32"
        try:
            model = open_clip.create_model(model_name, pretrained=weights, precision=precision)
        except (OSError, RuntimeError, KeyError, UnpicklingError) as error:
            problem = str(error).splitlines()[0]
            raise ValueError(f"--detector {self.name}: the weights could not be loaded ({problem})") from error
        self.tower = model.visual.eval()
        if fault := fault_of_numbers(dict(self.tower.named_parameters())):
            raise ValueError(f"--detector {self.name}: {fault}")
        config = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
        self.transform = image_transform_v2(config, is_train=False)
        self.least_side = config.size[0] if isinstance(config.size, tuple) else config.size
        blank = self.preprocess(np.zeros((8, 8, 3), np.uint8))
        self.dimension = self.embed(blank[None]).shape[1]
        sizes = open_clip.get_model_config(model_name)["vision_cfg"]
        self.fingerprint = f"open_clip-{model_name}-{precision}-{_digest(self.tower, [sizes, asdict(config)])}"

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[3, S, S] float32: as open_clip prepares pictures for this model."""
        return self.transform(Image.fromarray(pixels)).numpy()

    @torch.inference_mode()
    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[B, 3, S, S] to [B, D]."""
        pixels = torch.from_numpy(prepared).to(self.dtype)
        return F.normalize(self.tower(pixels).float()).numpy()


def _check(name: str, model: str, weights: str) -> None:
    """Say what is wrong before anything is built or downloaded."""
    if model not in open_clip.list_models():
        raise ValueError(
            f"--detector {name}: open_clip has no model {model!r}; open_clip.list_models() names those it has"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if weights not in tags and not Path(weights).is_file():
        raise ValueError(
            f"--detector {name}: {weights or 'nothing'!r} is neither a file of weights "
            f"nor one of open_clip's for {model} ({', '.join(tags) or 'it has none'})"
        )


def _digest(tower: torch.nn.Module, config: Any) -> str:
    """A hash of the weights and of what is done with them, so that a file may be moved or renamed.

    The same weights give other vectors with another activation, other heads or another preparation of pictures.
    """
    digest = hashlib.sha256(json.dumps([config, str(tower)], sort_keys=True).encode())
    for name, value in sorted(tower.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().numpy().tobytes())
    return digest.hexdigest()[:16]
