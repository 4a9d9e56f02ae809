"""The detector that comes with the package: `dalle/detectors/network.py` with the weights in `dalle/weights/`."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from dalle.detectors.network import fold, load, normalise
from dalle.detectors.thumbnails import thumbnail
from dalle.pictures.pixels import Pixels
from dalle.training.precision import fast_dtype

WEIGHTS = Path(__file__).parents[1] / "weights" / "detector.safetensors"


class Builtin:
    """A network made and trained for telling copies from look-alikes; needs no other files."""

    name = "builtin"
    threshold = 0.326  # benchmarks/near_duplicates.py: precision 0.9
    views: tuple[str, ...] = ("whole", "centre")
    batch = 64

    def __init__(self, weights: Path = WEIGHTS) -> None:
        if not weights.exists():
            raise ValueError(f"the weights {weights} are missing; python -m dalle.train_detector makes them")
        network = load(weights)
        self.side = network.config.side
        self.least_side = self.side
        self.dimension = network.config.dimension
        self.dtype = fast_dtype()
        self.network = fold(network, self.dtype)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        self.fingerprint = f"builtin-v1-{digest}-{str(self.dtype).removeprefix('torch.')}"

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[side, side, 3] uint8, plain borders cut off."""
        return thumbnail(pixels, self.side)

    @torch.inference_mode()
    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[B, side, side, 3] uint8 to [B, D]."""
        return self.network(normalise(torch.from_numpy(prepared), self.dtype)).float().numpy()
