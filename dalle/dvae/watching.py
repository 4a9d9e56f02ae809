"""What one looks at while a dVAE trains: reconstructions and their PSNR, and how evenly the codes are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dalle.dvae.network import DVAE
from dalle.pictures.augment import cut, draw_crops
from dalle.pictures.folders import picture_files, read_pictures
from dalle.pictures.pixels import Pixels

LOOKED_AT = 64
"""Pictures that are measured on; eight of them are shown."""
COUNTED = 16
"""Positions for each code that are counted in the end: one that is used a tenth as often as others is still seen."""


@dataclass(frozen=True, kw_only=True)
class Reconstructions:
    """Pictures before and after their codes."""

    figures: dict[str, float]
    """psnr in dB, and the use of the codes."""
    shown: Tensor
    """[8, 3, 2H, W] in [0, 1]: originals above what became of them."""


@torch.inference_mode()
def reconstruct(dvae: DVAE, originals: Tensor) -> Reconstructions:
    """Encode pictures, [B, 3, H, W] uint8, and decode their codes."""
    device = next(dvae.parameters()).device
    codes = torch.cat([dvae.encode(part.to(device)) for part in originals.split(8)])
    decoded = torch.cat([dvae.decode(part).cpu() for part in codes.split(8)])
    errors = (decoded - originals / 255).square().flatten(1).mean(1)
    used = code_usage(codes.flatten().bincount(minlength=dvae.config.vocab_size))
    figures = {"psnr": float((-10 * errors.log10()).mean()), **used}
    return Reconstructions(figures=figures, shown=torch.cat([originals[:8] / 255, decoded[:8]], dim=2))


def validation_pictures(folder: Path, side: int) -> Tensor:
    """The centre crops of a folder's first pictures, [B, 3, side, side] uint8.

    Raises:
        ValueError: if there are none, or one cannot be read.
    """
    files = picture_files(folder)[:LOOKED_AT]
    if not files:
        raise ValueError(f"--validation_images {folder}: holds no pictures; name a folder that does, or leave it out")
    return torch.from_numpy(np.stack([_centre(pixels, side) for pixels in read_pictures(files)])).permute(0, 3, 1, 2)


def _centre(pixels: Pixels, side: int) -> np.ndarray:
    height, width, _ = pixels.shape
    (crop,) = draw_crops(height, width, 1, np.random.default_rng(0), side)
    return cut(pixels, crop, side)


@dataclass(frozen=True, kw_only=True)
class CodeUsage:
    """What a finished dVAE makes of pictures that it was trained on."""

    used: int
    """Codes that came up."""
    codes: int
    """All of them."""
    perplexity: float
    """How many would be used, were all used alike."""
    positions: int
    """That were looked at."""

    @property
    def few(self) -> bool:
        """Whether it is less than half of the codes."""
        return 2 * self.used < self.codes

    def __str__(self) -> str:
        return (
            f"{self.used:,} of {self.codes:,} codes are in use, perplexity {self.perplexity:,.0f} (over "
            f"{self.positions:,} positions of pictures trained on)"
        )


def measure_usage(dvae: DVAE, pictures: Iterator[Tensor]) -> CodeUsage:
    """Encode pictures until there are `COUNTED` positions for each code.

    Args:
        dvae: as it is saved.
        pictures: [B, 3, H, W] uint8, as many as are asked for.
    """
    device, codes = next(dvae.parameters()).device, dvae.config.vocab_size
    counts = torch.zeros(codes, dtype=torch.int64)
    while counts.sum() < COUNTED * codes:
        counts += dvae.encode(next(pictures).to(device)).flatten().bincount(minlength=codes).cpu()
    usage = code_usage(counts)
    dead, counted = int(usage["codes_dead"]), int(usage["codes_counted"])
    return CodeUsage(used=codes - dead, codes=codes, perplexity=usage["codes_perplexity"], positions=counted)


def code_usage(counts: Tensor) -> dict[str, float]:
    """How evenly the codes were used, how many never were, and how many codes were counted, from counts, [K]."""
    return {
        "codes_perplexity": perplexity(counts),
        "codes_dead": int((counts == 0).sum()),
        "codes_counted": int(counts.sum()),
    }


def perplexity(counts: Iterable[int] | Tensor) -> float:
    """How many codes are used, were all used alike: the exponential of the entropy of the counts."""
    shares = torch.as_tensor(counts).double()
    shares = shares / shares.sum()
    return float(torch.special.entr(shares).sum().exp())
