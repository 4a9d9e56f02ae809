"""What the training of a dVAE lowers: the relaxed evidence lower bound (Ramesh et al. 2021, §2.1 and App. A).

Shapes: B pictures of H x W pixels, K codes, h = H / 8 and w = W / 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dalle.dvae.logit_laplace import EPSILON, logit_laplace_loss
from dalle.dvae.network import DVAE
from dalle.dvae.options import RelaxationOptions
from dalle.dvae.relaxation import Seed, relax


class Objective(nn.Module):
    """A loss over a dVAE's weights, and perhaps some of its own, that a `dalle.dvae.phase.Phase` lowers."""

    names: tuple[str, ...]
    """Of its parts."""

    def __init__(self, dvae: DVAE) -> None:
        super().__init__()
        self.dvae = dvae

    def forward(self, pixels: Tensor, step: int, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss, its parts for the log, [len(names)], and logits whose codes are counted, [B, K, h, w].

        Args:
            pixels: [B, 3, H, W] in [0.1, 0.9].
            step: how many were done before.
            seeds: of each picture's noise.
        """
        raise NotImplementedError

    def schedules(self, step: int) -> dict[str, float]:
        """What goes into the log of how it is lowered at a step."""
        return {}


class RelaxedBound(Objective):
    """Minus the relaxed bound per sub-pixel: negative log-likelihood plus beta times the divergence."""

    names = ("nll_per_subpixel", "relaxed_error", "kl_per_code")

    def __init__(self, dvae: DVAE, relaxation: RelaxationOptions, min_scale: float = 0.0) -> None:
        super().__init__(dvae)
        self._relaxation, self._min_scale = relaxation, min_scale

    def forward(self, pixels: Tensor, step: int, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor, Tensor]:
        """See `Objective`; nats per sub-pixel, mean |x - x'| as a share of the range, nats per code."""
        beta, tau = self._relaxation.at(step)
        logits = self.dvae.encoder(pixels)
        z, kl = relax(logits, tau, seeds)
        nll, error = likelihood(self.dvae.decoder(z), pixels, self._min_scale)
        loss = nll + beta * kl.sum() / pixels.numel()
        return loss, torch.stack([nll.detach(), error, kl.detach().mean()]), logits.detach()

    def schedules(self, step: int) -> dict[str, float]:
        """Beta and tau."""
        return dict(zip(("beta", "tau"), self._relaxation.at(step), strict=True))


def likelihood(stats: Tensor, pixels: Tensor, min_scale: float) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihood per sub-pixel, and mean absolute error as a share of the pixels' range.

    Args:
        stats: [B, 6, H, W] of a decoder.
        pixels: [B, 3, H, W] in [0.1, 0.9].
        min_scale: added to every scale b. Areas without any texture, as in drawn pictures, have a density without
            bound, and the better they fit the less anything else would count.
    """
    mu, ln_b = stats.float().chunk(2, dim=1)
    if min_scale:
        ln_b = torch.logaddexp(ln_b, ln_b.new_tensor(math.log(min_scale)))
    nll = logit_laplace_loss(mu, ln_b, pixels, check=False).mean() / pixels[0].numel()
    error = (torch.sigmoid(mu.detach()) - pixels).abs().mean() / (1 - 2 * EPSILON)
    return nll, error
