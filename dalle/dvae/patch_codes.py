"""The first weights and codes of a patch network: the principal components of patches, and k-means among them.

A network of fresh weights would spend most of a small budget on finding out what a linear map knows already. So it
begins as that map, there and back, with all its residual blocks at nothing: from 48 numbers of a patch of drawings of
96 pixels a judge reads everything in the picture, and from 2,048 codes chosen among them 9 pictures of 10, before the
first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.dvae.convolution import SHRINK, layer_of
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.nearest import bias_of, choose_among
from dalle.dvae.network import DVAE
from dalle.dvae.patch_network import SUBPIXELS

PATCHES_A_CODE = 400
"""That are looked at."""
CHOSEN_A_CODE = 60
"""Of them, among which k-means chooses."""
CALM, CALM_SHARE = 0.05, 0.15
"""Deviation of a patch's pixels, of their range [0.1, 0.9], below which it shows background alone, and how many of
those that k-means sees may be so: most of a drawing is background, and needs few codes."""
_AT_ONCE = 1 << 15
"""Patches that are looked at in 32 bits at a time: all of a large codebook's would take gigabytes."""


@torch.no_grad()
def begin(dvae: DVAE, pictures: Iterator[Tensor], seed: int) -> None:
    """Give a patch network its first weights and codes, in place.

    Args:
        dvae: whose config has `patches`.
        pictures: [B, 3, H, W] uint8, as many as are asked for.
        seed: of the choice.
    """
    config = dvae.config
    looked_at = _patches(pictures, PATCHES_A_CODE * config.vocab_size)
    components = _components(looked_at, config.n_init)
    chosen = components.of(_telling(looked_at, CHOSEN_A_CODE * config.vocab_size, seed))
    centres = choose_among(chosen.numpy(), config.vocab_size)
    _set_encoder(dvae, components)
    _set_decoder(dvae, components, looked_at)
    layer_of(dvae.decoder, "input").w.copy_(centres.T[..., None, None])
    tie(dvae)


@torch.no_grad()
def tie(dvae: DVAE) -> None:
    """Make the encoder choose the nearest of the codes that the decoder knows, in place."""
    codes = dvae.codebook()
    output = layer_of(dvae.encoder, "output.conv")
    output.w.copy_(codes[..., None, None])
    output.b.copy_(bias_of(codes))


@dataclass(frozen=True, kw_only=True)
class _Components:
    """A linear map from patches to numbers whose deviation is one on the average."""

    mean: Tensor
    """[192]."""
    axes: Tensor
    """[192, d], orthonormal, the first explains most."""
    scale: Tensor
    """Of all numbers, one number."""

    def of(self, patches: Tensor) -> Tensor:
        """[N, 192] to [N, d]."""
        return (patches - self.mean) @ self.axes / self.scale


def _patches(pictures: Iterator[Tensor], count: int) -> Tensor:
    """At least so many patches, [N, 192] uint8."""
    parts: list[Tensor] = []
    while sum(map(len, parts)) < count:
        parts.append(F.pixel_unshuffle(next(pictures), SHRINK).permute(0, 2, 3, 1).flatten(0, 2))
    return torch.cat(parts)


def _mapped(patches: Tensor) -> Iterator[Tensor]:
    """[N, 192] uint8, some at a time, to [n, 192] float32 in [0.1, 0.9]."""
    return (map_pixels(part) for part in patches.split(_AT_ONCE))


def _components(patches: Tensor, numbers: int) -> _Components:
    summed, products = torch.zeros(SUBPIXELS).double(), torch.zeros(SUBPIXELS, SUBPIXELS).double()
    for part in _mapped(patches):
        summed += part.double().sum(0)
        products += part.double().T @ part.double()
    mean = summed / len(patches)
    covariance = products / len(patches) - mean[:, None] * mean
    variances, axes = (each.flip(-1)[..., :numbers] for each in torch.linalg.eigh(covariance))
    signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # of an eigenvector, which has none of its own
    scale = variances.clamp(min=0).sqrt().mean().clamp(min=1e-4)
    return _Components(mean=mean.float(), axes=(axes * signs).float(), scale=scale.float())


def _telling(patches: Tensor, count: int, seed: int) -> Tensor:
    """So many patches, or fewer, of which few show background alone, [n, 192] float32 in [0.1, 0.9]."""
    rng = np.random.default_rng(seed)
    calm = torch.cat([part.view(len(part), 3, -1).std(2).mean(1) < CALM for part in _mapped(patches)])
    background, things = (np.flatnonzero(which.numpy()) for which in (calm, ~calm))
    most = max(count - len(things), round(count * CALM_SHARE))
    chosen = [rng.permutation(background)[:most], rng.permutation(things)[: count - min(most, len(background))]]
    return map_pixels(patches[torch.from_numpy(np.sort(np.concatenate(chosen)))])


def _set_encoder(dvae: DVAE, components: _Components) -> None:
    """The first d channels are the numbers; the others, random as they are, wait for the blocks."""
    input_, head = layer_of(dvae.encoder, "input"), layer_of(dvae.encoder, "head")
    numbers = components.axes.shape[1]
    weights = components.axes.T / components.scale
    input_.w[:numbers] = weights[..., None, None]
    input_.b[:numbers] = -(weights @ components.mean)
    head.w.zero_()
    head.w[:, :numbers] = torch.eye(numbers)[..., None, None]


def _set_decoder(dvae: DVAE, components: _Components, patches: Tensor) -> None:
    """Back from the numbers to the logits of pixels, as well as a linear map can."""
    project, output = layer_of(dvae.decoder, "project"), layer_of(dvae.decoder, "output.conv")
    numbers, subpixels = components.axes.shape[1], components.axes.shape[0]
    project.w[:numbers] = torch.eye(numbers)[..., None, None]
    squares, summed = torch.zeros(numbers).double(), torch.zeros(subpixels).double()
    products = torch.zeros(numbers, subpixels).double()
    for part in _mapped(patches):
        vectors, wanted = components.of(part).double(), torch.logit(part).double()
        squares += vectors.square().sum(0)
        summed += wanted.sum(0)
        products += vectors.T @ wanted
    # one number after the other, for they do not correlate; and all are 0 on the average
    back = products / squares.clamp(min=1e-6)[:, None]
    output.w.mul_(0.1)
    output.w[:subpixels, :numbers] = back.T[..., None, None].float()
    output.b[:subpixels] = summed / len(patches)
