"""What the training of a patch network lowers: the squared error, with gradients handed straight through the codes.

Not in the paper, whose relaxation needs some hundred thousand steps until next to nothing is left of its softness. Here
a place of the grid takes the code nearest to its numbers from the first step on; the decoder's gradient reaches the
encoder as if the code were those numbers, and two small terms keep them close (van den Oord et al. 2017, §3.2). The
error is squared, not that of logit-Laplace: a flat background has no say once it fits, and things have it all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.dvae.bound import Objective
from dalle.dvae.logit_laplace import EPSILON
from dalle.dvae.nearest import bias_of
from dalle.dvae.network import DVAE
from dalle.dvae.patch_network import PatchDecoder, PatchEncoder
from dalle.dvae.relaxation import Seed

SQUARE_WEIGHT = 20.0
"""Of the mean squared error as a share of the squared range, beside squared distances whose unit is that of the
numbers."""
COMMITMENT = 0.25
"""Weight of what moves numbers to their code, beside 1 for what moves a code to its numbers."""


class StraightThrough(Objective):
    """Squared error of what the nearest codes give back, and how far the codes are."""

    names = ("mean_square", "straight_error", "distance")

    def __init__(self, dvae: DVAE) -> None:
        super().__init__(dvae)
        # tied to the codes in the end; several processes would wait for their gradients
        for name, value in dvae.named_parameters():
            if name.startswith("encoder.blocks.output.") or name == "decoder.blocks.input.b":
                value.requires_grad_(False)

    def forward(self, pixels: Tensor, step: int, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor, Tensor]:
        """See `Objective`; mean squared and mean absolute error as shares of the range, mean squared distance."""
        encoder, decoder = self.dvae.encoder, self.dvae.decoder
        assert isinstance(encoder, PatchEncoder)
        assert isinstance(decoder, PatchDecoder)
        numbers = encoder.numbers(pixels).permute(0, 2, 3, 1).float()  # [B, h, w, d]
        codes = self.dvae.codebook().float()
        with torch.no_grad():
            logits = numbers @ codes.T + bias_of(codes)
            nearest = logits.argmax(-1)
        chosen = F.embedding(nearest, codes)
        apart = (numbers - chosen.detach()).square().mean()
        behind = (numbers.detach() - chosen).square().mean()
        passed = numbers + (chosen - numbers).detach()
        stats = decoder.from_numbers(passed.permute(0, 3, 1, 2)).float()
        off = (torch.sigmoid(stats[:, :3]) - pixels) / (1 - 2 * EPSILON)
        square = off.square().mean()
        loss = SQUARE_WEIGHT * square + COMMITMENT * apart + behind
        parts = torch.stack([square.detach(), off.detach().abs().mean(), apart.detach()])
        return loss, parts, logits.permute(0, 3, 1, 2)
