"""Files of weights for the tests: names and shapes of the real ones, random numbers that keep a picture's scale.

The real ones cannot be fetched. The peers load these by their own code, so that both sides compute with the same.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dalle.evaluation.inception import FEATURES, FORMS, Inception, convolutions


def random_weights(form: str, *, counters: bool = True, classes: int | None = None) -> dict[str, Tensor]:
    """A state dict as torch.save has it in the file of a form; the same each time.

    Args:
        form: of `FORMS`.
        counters: have `num_batches_tracked` in it, as files of torch 0.4.1 and later do.
        classes: of the last layer, if not the form's own.
    """
    with torch.device("meta"):
        network = Inception(FORMS[form])
    weights: dict[str, Tensor] = {}
    for name, part in convolutions(network).items():
        draw = torch.Generator().manual_seed(zlib.crc32(f"{form} {name}".encode()))
        kernel = part.conv.weight
        filters = kernel.shape[0]
        # twice the rectifier's gain: otherwise pictures grow alike from block to block
        scale = (2.0 / kernel[0].numel()) ** 0.5
        weights[f"{name}.conv.weight"] = scale * torch.randn(kernel.shape, generator=draw)
        weights[f"{name}.bn.weight"] = 0.8 + 0.4 * torch.rand(filters, generator=draw)
        weights[f"{name}.bn.bias"] = 0.2 * torch.randn(filters, generator=draw)
        weights[f"{name}.bn.running_mean"] = 0.2 * torch.randn(filters, generator=draw)
        weights[f"{name}.bn.running_var"] = 0.5 + torch.rand(filters, generator=draw)
        if counters:
            weights[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)
    draw = torch.Generator().manual_seed(zlib.crc32(form.encode()))
    count = classes or FORMS[form].classes[0]
    weights["fc.weight"] = 0.02 * torch.randn(count, FEATURES, generator=draw)
    weights["fc.bias"] = 0.2 * torch.randn(count, generator=draw)
    return weights


def write_weights(path: Path, weights: dict[str, Tensor]) -> str:
    """Write them as torch.save does; gives the file's sha256."""
    torch.save(weights, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def picture_files(data: Path, count: int, kinds: Sequence[str] = ("coco_val2017", "flickr8k")) -> list[Path]:
    """Real photographs."""
    return [path for kind in kinds for path in sorted((data / kind).glob("*.jpg"))][:count]
