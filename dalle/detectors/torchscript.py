"""SSCD's released detectors, or any TorchScript file with their inputs and outputs.

A TorchScript file is a program: use only files you trust. SSCD's are at
https://github.com/facebookresearch/sscd-copy-detection (`sscd_disc_mixup.torchscript.pt` is the one to take).
"""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from dalle.pictures.pixels import Pixels

SIDE = 320  # SSCD's own choice where pictures are put in batches
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class TorchScript:
    """Pictures squashed to 320 x 320 and normalised as for ImageNet; [B, 3, 320, 320] in, [B, D] out."""

    threshold = 0.75  # Pizzi et al. 2022: precision 0.9 on DISC with sscd_disc_mixup
    views: tuple[str, ...] = ("whole", "centre")
    least_side = SIDE
    batch = 16

    def __init__(self, path: str) -> None:
        self.name = f"torchscript:{path}"
        if not Path(path).is_file():
            raise ValueError(
                f"--detector {self.name}: there is no such file; SSCD's are at "
                "https://github.com/facebookresearch/sscd-copy-detection"
            )
        try:
            self.network = torch.jit.load(path, map_location="cpu").eval()
        except RuntimeError as error:
            raise ValueError(
                f"--detector {self.name}: the file is not TorchScript; give one that torch.jit.save wrote"
            ) from error
        self.fingerprint = f"torchscript-{SIDE}-{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
        self.dimension = self._try()

    def _try(self) -> int:
        """How many numbers it gives for a picture.

        Raises:
            ValueError: if that is not what it gives.
        """
        try:
            vectors = self.embed(np.full((2, 3, SIDE, SIDE), 0.5, np.float32))
        except (RuntimeError, AttributeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"--detector {self.name}: it cannot be used on pictures ({reason})") from None
        if vectors.ndim != 2 or len(vectors) != 2 or not np.isfinite(vectors).all():
            raise ValueError(
                f"--detector {self.name}: gives {list(vectors.shape)} numbers for two pictures, or NaN; expected a "
                "vector for each"
            )
        return vectors.shape[1]

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[3, 320, 320] float32."""
        shrinks = min(pixels.shape[:2]) > SIDE
        square = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return ((square.astype(np.float32) / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)

    @torch.inference_mode()
    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[B, 3, 320, 320] to [B, D]."""
        return F.normalize(self.network(torch.from_numpy(prepared)).float()).numpy()
