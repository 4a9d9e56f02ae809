"""Give the training of a small dVAE a head start: learn with continuous codes first, then choose discrete ones.

    python -m dalle.warm_start_dvae small --images photographs --output_folder warm
    python -m dalle.train_dvae small --images photographs --start_from warm/dvae.safetensors --output_folder dvae

Not in the paper, whose three million updates do without. From fresh weights nearly all of a small machine's hours go
into the codes' telling themselves apart. So here a place of the grid first holds a few numbers with unit noise added,
whose bits are bounded to about those of a code (a Gaussian channel); that trains several times as fast a step and
in fewer steps. Then the codes are chosen by k-means among those numbers, and the two layers on either side of the
codes are set so that a code's logit is minus half its squared distance, and a code in the decoder is its centre.

The output folder holds what `dalle.train_dvae` leaves; the options are the same, those of beta and tau aside.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dalle.dvae.bound import Objective, likelihood
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import DVAE, Conv2d, save
from dalle.dvae.options import SIZES, TrainOptions
from dalle.dvae.relaxation import Seed
from dalle.dvae.run import Run, go_on
from dalle.flags import parse
from dalle.training.steps import joined, seed_everything

PULL = 20.0
"""Nats of likelihood that a nat beyond the bound costs: more than one is ever worth."""


@dataclass(frozen=True, kw_only=True)
class WarmStartOptions:
    """How the head start is given."""

    numbers: int = 16
    """At each place of the grid."""
    nats: float = 9.5
    """Bound of what they may tell; a code of 8,192 tells 9.01."""
    samples: int = 400_000
    """Places among which k-means chooses the codes."""
    train: TrainOptions = field(default_factory=TrainOptions)
    """As `dalle.train_dvae`."""


class Continuous(Objective):
    """Minus the log-likelihood with numbers in place of codes: both networks but for the two layers at the codes."""

    names = ("nll_per_subpixel", "error", "nats_per_place")
    has_codes = False

    def __init__(self, dvae: DVAE, options: WarmStartOptions) -> None:
        super().__init__(dvae)
        self._options = options
        features = dvae.encoder.blocks.get_submodule("output.conv").get_parameter("w").shape[1]
        self.head = Conv2d(features, options.numbers, 1)
        self.tail = Conv2d(options.numbers, dvae.config.n_init, 1)
        with torch.no_grad():
            self.head.w.mul_(5)  # or the noise drowns everything for the first hundreds of updates

    def numbers(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] in [0.1, 0.9] to [B, d, h, w] float32, without noise."""
        return self.head(F.relu(self.dvae.encoder.blocks[:-1](pixels))).float()

    def forward(self, pixels: Tensor, update: int, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor, None]:
        """See `Objective`."""
        numbers = self.numbers(pixels)
        nats = channel(numbers)
        noise = np.stack([np.random.default_rng(seed).standard_normal(numbers.shape[1:], np.float32) for seed in seeds])
        z = self.tail(numbers + torch.from_numpy(noise).to(numbers.device))
        nll, error = likelihood(self.dvae.decoder.blocks[1:](z), pixels, self._options.train.least_b)
        subpixels = pixels[0].numel() / numbers[0, 0].numel()  # of a place
        loss = nll + PULL / subpixels * F.relu(nats - self._options.nats)
        return loss, torch.stack([nll.detach(), error, nats.detach()]), None


def channel(numbers: Tensor) -> Tensor:
    """Nats that pass when unit noise is added: half the log-determinant of 1 + covariance, a bound if not normal."""
    rows = numbers.permute(0, 2, 3, 1).flatten(0, 2)  # [N, d]
    rows = rows - rows.mean(0)
    return 0.5 * torch.logdet(torch.eye(rows.shape[1], device=rows.device) + rows.T @ rows / len(rows))


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


@torch.inference_mode()
def choose_centres(run: Run, objective: Continuous, options: WarmStartOptions) -> Tensor:
    """k-means among the numbers of many pictures: [K, d], centred so that logits stay small."""
    places, found = 0, []
    batches: Iterator[Tensor] = iter(run.batches)
    while places < options.samples:
        numbers = objective.numbers(map_pixels(next(batches).to(run.ranks.device)))
        found.append(numbers.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy())
        places += len(found[-1])
    rows = np.concatenate(found)
    codes = options.train.network.vocab_size
    search = faiss.Kmeans(
        rows.shape[1], codes, niter=20, seed=options.train.seed, max_points_per_centroid=math.ceil(places / codes)
    )
    search.train(rows)
    return torch.from_numpy(search.centroids).to(run.ranks.device)


def warm_start(options: WarmStartOptions) -> None:
    """Run the updates, choose the codes and write the averaged weights."""
    train = options.train
    with joined(train.device) as ranks:
        seed_everything(train.seed)
        objective = Continuous(DVAE(train.network), options)
        run = Run(train, ranks, objective)
        go_on(run)
        if ranks.first:
            with run.average.in_place():
                set_codes(objective, choose_centres(run, objective, options))
                save(objective.dvae, train.output_folder / "dvae.safetensors")


def sizes() -> Mapping[str, tuple[str, WarmStartOptions]]:
    """Those of `dalle.train_dvae` that are small, with a larger step size and fewer updates."""
    small, tiny = SIZES["small"], SIZES["tiny"]
    schedule = replace(small[1].schedule, updates=10_000, step_size=1.5e-3, step_size_updates=10_000)
    train = replace(small[1], schedule=schedule)
    return {
        "small": (small[0], WarmStartOptions(train=train)),
        "tiny": (tiny[0], WarmStartOptions(numbers=8, nats=6.5, samples=20_000, train=tiny[1])),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Train; the exit code is 2 if the options or the data cannot be used."""
    try:
        warm_start(parse("dalle.warm_start_dvae", __doc__ or "", sizes(), argv))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
