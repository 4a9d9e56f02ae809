"""Any image tower of open_clip as a detector: the embedding that CLIP itself compares pictures with.

It groups pictures by what they show, so two photographs of one kind of bird are close and a strong crop of one
picture is not: prefer `builtin` or `torchscript` for telling copies (DataComp found a recall of 0.02 where a
detector made for it has 0.8, both at precision 0.9).
"""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from dalle.pictures.pixels import Pixels
from dalle.training.open_clip_file import load_open_clip
from dalle.training.precision import fast_dtype


class OpenClip:
    """The image tower of `MODEL/PRETRAINED`, where PRETRAINED is one of open_clip's tags or a file of weights."""

    threshold = 0.96  # DataComp's: precision 0.9 with ViT-B/32
    views: tuple[str, ...] = ("whole", "centre")
    batch = 16

    def __init__(self, model_and_weights: str) -> None:
        self.name = f"open_clip:{model_and_weights}"
        self.dtype = fast_dtype()
        precision = "bf16" if self.dtype == torch.bfloat16 else "fp32"
        model = load_open_clip(model_and_weights, f"--detector {self.name}", "bf16" if precision == "bf16" else "fp32")
        self.tower: torch.nn.Module = model.network.get_submodule("visual")
        self.transform = model.prepare
        size = model.preparation.size
        self.least_side = size[0] if isinstance(size, tuple) else size
        blank = self.preprocess(np.zeros((8, 8, 3), np.uint8))
        self.dimension = self.embed(blank[None]).shape[1]
        self.fingerprint = f"open_clip-{model.name}-{precision}-{model.digest(self.tower)}"

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[3, S, S] float32: as open_clip prepares pictures for this model."""
        return self.transform(Image.fromarray(pixels)).numpy()

    @torch.inference_mode()
    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[B, 3, S, S] to [B, D]."""
        pixels = torch.from_numpy(prepared).to(self.dtype)
        return F.normalize(self.tower(pixels).float()).numpy()
