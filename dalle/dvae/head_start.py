"""A head start for a small dVAE: continuous numbers first, then codes chosen among them by k-means.

Not in the paper, whose three million steps do without. From fresh weights nearly all of a small machine's hours go into
the codes' telling themselves apart. So here a position of the grid first holds a few numbers with unit noise added,
whose bits are bounded to about those of a code (a Gaussian channel); that trains several times as fast a step and in
fewer steps. Then the codes are chosen by k-means among those numbers, and the two layers on either side of the codes
are set so that a code's logit is minus half its squared distance, and a code in the decoder is its centre.

Shapes: B pictures, d numbers at each of h x w positions, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.dvae.bound import Objective, likelihood
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import DVAE, Conv2d
from dalle.dvae.options import TrainDVAEOptions
from dalle.dvae.relaxation import Seed
from dalle.reading.endless import Endless
from schemas.ranges import MOST_SIZE, MOST_STEPS, Above, Between, check_ranges

PULL = 20.0
"""Nats of likelihood that a nat beyond the bound costs: more than one is ever worth."""


@dataclass(frozen=True, kw_only=True)
class HeadStartOptions:
    """How the head start is given."""

    numbers: int = 16
    """Continuous numbers at each position of the grid, 1 or more."""
    nats: float = 9.5
    """Bound of the nats that the numbers of a position may carry, above 0; a code of 8,192 carries 9.01."""
    samples: int = 400_000
    """Positions among which k-means chooses the codes, 1 or more."""
    train: TrainDVAEOptions = field(default_factory=TrainDVAEOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"numbers": Between(1, MOST_SIZE), "nats": Above(0, 1e9), "samples": Between(1, MOST_STEPS)})


class Continuous(Objective):
    """Minus the log-likelihood with numbers in place of codes: both networks but for the two layers at the codes."""

    names = ("nll_per_subpixel", "error", "nats_per_position")
    has_codes = False

    def __init__(self, dvae: DVAE, options: HeadStartOptions) -> None:
        super().__init__(dvae)
        self._options = options
        features = dvae.encoder.blocks.get_submodule("output.conv").get_parameter("w").shape[1]
        self.head = Conv2d(features, options.numbers, 1)
        self.tail = Conv2d(options.numbers, dvae.config.n_init, 1)
        with torch.no_grad():
            self.head.w.mul_(5)  # or the noise drowns everything for the first hundreds of steps

    def numbers(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] in [0.1, 0.9] to [B, d, h, w] float32, without noise."""
        return self.head(F.relu(self.dvae.encoder.blocks[:-1](pixels))).float()

    def forward(self, pixels: Tensor, step: int, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor, None]:
        """See `Objective`."""
        numbers = self.numbers(pixels)
        nats = channel_nats(numbers)
        noise = np.stack([np.random.default_rng(seed).standard_normal(numbers.shape[1:], np.float32) for seed in seeds])
        z = self.tail(numbers + torch.from_numpy(noise).to(numbers.device))
        nll, error = likelihood(self.dvae.decoder.blocks[1:](z), pixels, self._options.train.min_scale)
        subpixels = pixels[0].numel() / numbers[0, 0].numel()  # of a position
        loss = nll + PULL / subpixels * F.relu(nats - self._options.nats)
        return loss, torch.stack([nll.detach(), error, nats.detach()]), None


def channel_nats(numbers: Tensor) -> Tensor:
    """Nats that pass when unit noise is added: half the log-determinant of 1 + covariance, a bound if not normal.

    Args:
        numbers: [B, d, h, w] float32.
    """
    vectors = numbers.permute(0, 2, 3, 1).flatten(0, 2)  # [N, d]
    vectors = vectors - vectors.mean(0)
    identity = torch.eye(vectors.shape[1], device=vectors.device)
    return 0.5 * torch.logdet(identity + vectors.T @ vectors / len(vectors))


@torch.inference_mode()
def choose_centres(objective: Continuous, pictures: Endless, options: HeadStartOptions) -> Tensor:
    """k-means among the numbers of many pictures: [K, d] float32."""
    device = objective.head.w.device
    samples: list[np.ndarray] = []
    for batch in pictures:
        numbers = objective.numbers(map_pixels(batch["images"].to(device)))
        samples.append(numbers.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy())
        if sum(map(len, samples)) >= options.samples:
            break
    vectors = np.concatenate(samples)
    codes = options.train.network.vocab_size
    search = faiss.Kmeans(
        vectors.shape[1],
        codes,
        niter=20,
        seed=options.train.loop.seed,
        max_points_per_centroid=math.ceil(len(vectors) / codes),
    )
    search.train(vectors)
    return torch.from_numpy(search.centroids).to(device)


@torch.no_grad()
def set_codes(objective: Continuous, centres: Tensor) -> None:
    """Make the layers at the codes choose the nearest centre, and stand for it.

    Args:
        objective: its head and tail are folded into the dVAE's own layers.
        centres: [K, d].
    """
    dvae, head, tail = objective.dvae, objective.head, objective.tail
    output, input_ = dvae.encoder.blocks.get_submodule("output.conv"), dvae.decoder.blocks.get_submodule("input")
    assert isinstance(output, Conv2d)
    assert isinstance(input_, Conv2d)
    # -|m - c|^2 / 2 = m.c - |c|^2 / 2 - |m|^2 / 2, of which the last term is the same for all codes
    output.w.copy_((centres @ head.w[:, :, 0, 0])[..., None, None])
    output.b.copy_(centres @ head.b - centres.square().sum(1) / 2)
    input_.w.copy_((tail.w[:, :, 0, 0] @ centres.T)[..., None, None])
    input_.b.copy_(tail.b)
