"""The likelihood of pixels: a Laplace distribution seen through the logistic function (Ramesh et al. 2021, App. A.3).

Its support is (0, 1), as that of pixels is and that of the Laplace and normal distributions is not. At 0 and 1
themselves there is no density, so pixels are first drawn in to [0.1, 0.9] (`map_pixels`).

Shapes: B pictures, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 0.1
"""How far from 0 and 1 the darkest and the brightest pixel are kept."""


def map_pixels(images: Tensor) -> Tensor:
    """Pixels where the density is defined: [B, 3, H, W] uint8, or float in [0, 1], to float32 in [0.1, 0.9].

    Raises:
        TypeError: if the pixels are of another type, because their range would be a guess.
    """
    if images.dtype == torch.uint8:
        images = images.float() / 255
    elif images.dtype != torch.float32:
        raise TypeError(f"images are {images.dtype}, expected uint8 (0 to 255) or float32 (0 to 1)")
    return (1 - 2 * EPSILON) * images + EPSILON


def unmap_pixels(pixels: Tensor) -> Tensor:
    """Back from [0.1, 0.9] to [0, 1]; what lies outside, as a reconstruction may, is cut off."""
    return ((pixels - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)


def logit_laplace_loss(mu: Tensor, ln_b: Tensor, pixels: Tensor, *, check: bool = True) -> Tensor:
    """Negative log-likelihood of pixels under the logit-Laplace distribution.

    Args:
        mu, ln_b: [B, 3, H, W] float32; location and log scale, both before the logistic function.
        pixels: [B, 3, H, W] in (0, 1), already through `map_pixels`.
        check: whether to look for pixels out of range; on a GPU that waits for the pixels, so training does without.

    Returns:
        [B] nats per image (summed over pixels and channels).

    Raises:
        ValueError: if a pixel is not between 0 and 1, where the density is not defined.

    Source: Ramesh et al. 2021, App. A.3, eq. 2: f(x | mu, b) = exp(-|logit(x) - mu| / b) / (2 b x (1 - x)).
    """
    if check and not bool(((pixels > 0) & (pixels < 1)).all()):
        raise ValueError(
            f"pixels go from {pixels.min():g} to {pixels.max():g}, expected all of them between 0 and 1, both "
            "excluded; pass them through map_pixels first"
        )
    logit = torch.logit(pixels)
    # ln x (1 - x) = -softplus(logit) - softplus(-logit), but x is far from 0 and 1 and this is cheaper
    ln_density = -(logit - mu).abs() * torch.exp(-ln_b) - ln_b - torch.log(2 * pixels * (1 - pixels))
    return -ln_density.flatten(1).sum(1)


def reconstruct(mu: Tensor) -> Tensor:
    """The picture that a decoder's location stands for, in [0, 1]: its scale is left aside."""
    return unmap_pixels(F.sigmoid(mu))
