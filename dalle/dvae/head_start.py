"""A head start for a dVAE at a small budget: continuous numbers first, then codes chosen among them by k-means.

Not in the paper, whose three million steps do without. From fresh weights nearly all of a small machine's hours go into
the codes' telling themselves apart. So here a position of the grid first holds a few numbers with unit noise added,
whose bits are bounded to about those of a code (a Gaussian channel); that trains faster a step and in fewer steps. Then
the codes are chosen by k-means among those numbers, and the two layers on either side of the codes are set so that a
code's logit is minus half its squared distance, and a code in the decoder is its centre.

Shapes: B pictures, d numbers at each of h x w positions, K codes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.dvae.bound import Objective, likelihood
from dalle.dvae.convolution import Conv2d, layer_of
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.nearest import bias_of, choose_among
from dalle.dvae.network import DVAE
from dalle.dvae.relaxation import Seed
from dalle.training.standing import SpoiltTraining

NATS_A_NUMBER = 0.8
"""Of the nats of a code, how many fall to each of the numbers: with twice as many numbers k-means among them gives away
6 dB of 18 (512 codes), with half as many a fifth fewer codes stay in use."""
SLACK = 0.4
"""Nats that a position may carry beyond those of a code, ln K."""
PULL = 20.0
"""Nats of likelihood that a nat beyond the bound costs: more than one is ever worth."""
FOR_CHOOSING, FOR_LOOKING = 48, 8
"""Positions for each code among which k-means chooses: for the training, and for an evaluation on its way."""


class Continuous(Objective):
    """Minus the log-likelihood with numbers in place of codes: both networks but for the two layers at the codes."""

    names = ("nll_per_subpixel", "error", "nats_per_position")

    def __init__(self, dvae: DVAE, min_scale: float = 0.0) -> None:
        super().__init__(dvae)
        self._min_scale = min_scale
        nats = math.log(dvae.config.vocab_size)
        self._most_nats, numbers = nats + SLACK, max(1, round(nats / NATS_A_NUMBER))
        for layer in _at_the_codes(dvae):
            layer.requires_grad_(False)  # several processes would wait for their gradients
        features = layer_of(dvae.encoder, "output.conv").w.shape[1]
        self.head = Conv2d(features, numbers, 1)
        self.tail = Conv2d(numbers, dvae.config.n_init, 1)
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
        nll, error = likelihood(self.dvae.decoder.blocks[1:](z), pixels, self._min_scale)
        subpixels = pixels[0].numel() / numbers[0, 0].numel()  # of a position
        loss = nll + PULL / subpixels * F.relu(nats - self._most_nats)
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


def with_codes(objective: Continuous, pictures: Iterator[Tensor], positions: int = FOR_CHOOSING) -> DVAE:
    """A dVAE of its own with the weights that the objective has now, whose codes k-means chose.

    Args:
        objective: is not changed.
        pictures: [B, 3, H, W] uint8, as many as are asked for.
        positions: among which it chooses, for each code; 0 chooses none, for a process that gets another's weights.

    Raises:
        SpoiltTraining: if the weights give no numbers to choose among.
    """
    dvae = copy.deepcopy(objective.dvae).requires_grad_(True)
    if positions:
        set_codes(dvae, objective, choose_centres(objective, pictures, positions))
    return dvae


@torch.inference_mode()
def choose_centres(objective: Continuous, pictures: Iterator[Tensor], positions: int) -> Tensor:
    """k-means among the numbers of many pictures: [K, d] float32."""
    device, codes = objective.head.w.device, objective.dvae.config.vocab_size
    samples: list[np.ndarray] = []
    while sum(map(len, samples)) < positions * codes:
        numbers = objective.numbers(map_pixels(next(pictures).to(device)))
        samples.append(numbers.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy())
    vectors = np.concatenate(samples)
    if not np.isfinite(vectors).all():
        raise SpoiltTraining(
            "the numbers of the head start are not finite, no codes can be chosen among them; begin again with a lower "
            "--learning_rate, more --warmup_steps or a --grad_clip"
        )
    return choose_among(vectors, codes).to(device)


@torch.no_grad()
def set_codes(dvae: DVAE, objective: Continuous, centres: Tensor) -> None:
    """Make the layers at the codes choose the nearest centre, and stand for it.

    Args:
        dvae: into whose layers the head and the tail of the objective are folded.
        objective: of a dVAE of the same size.
        centres: [K, d].
    """
    head, tail = objective.head, objective.tail
    output, input_ = _at_the_codes(dvae)
    output.w.copy_((centres @ head.w[:, :, 0, 0])[..., None, None])
    output.b.copy_(centres @ head.b + bias_of(centres))
    input_.w.copy_((tail.w[:, :, 0, 0] @ centres.T)[..., None, None])
    input_.b.copy_(tail.b)


def _at_the_codes(dvae: DVAE) -> tuple[Conv2d, Conv2d]:
    """The layers that the head and the tail stand in for."""
    return layer_of(dvae.encoder, "output.conv"), layer_of(dvae.decoder, "input")
