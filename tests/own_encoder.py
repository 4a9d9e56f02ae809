"""An encoder as a user would write it: 16 x 16 codes of the mean grey of 16 x 16 pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class Greys:
    """Codes are greys; two methods are enough."""

    def encode(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images.float().mean(1, keepdim=True), 16)[:, 0].round().to(torch.int64)

    def fingerprint(self) -> str:
        return "greys-16"


def half_done() -> object:
    return object()
