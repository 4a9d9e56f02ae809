"""The samples of a batch while their codes are chosen, one line each, and what comes of them.

A batch has lines for C captions x S samples. Those that nobody asked for are drawn with the others, from whatever
stands there, and left out in the end: so products are always of the same size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dalle.prior.cache import Batch
from dalle.prior.choosing import ChoosingOptions, choose, uniforms
from dalle.prior.config import PriorConfig


@dataclass(frozen=True, eq=False)
class Given:
    """Codes that are not drawn, for all samples of a batch."""

    mask: np.ndarray
    """[N] bool, where they are."""
    codes: np.ndarray
    """[N] int64; those outside the mask are not looked at."""

    def check(self, config: PriorConfig) -> None:
        """Refuse what does not fit the network.

        Raises:
            ValueError: if it is of another grid, or a code is not of the codebook.
        """
        if self.mask.dtype != np.bool_:
            raise ValueError(f"the mask of the given codes holds {self.mask.dtype}, expected booleans")
        for name, values in (("picture of given codes", self.codes), ("mask of the given codes", self.mask)):
            if values.shape != (config.codes,):
                shape = " x ".join(map(str, values.shape)) or "no"
                raise ValueError(f"the {name} has {shape} positions, expected {config.codes}, as the network")
        kept = self.codes[self.mask]
        wrong = kept[(kept < 0) | (kept >= config.image_vocab_size)]
        if len(wrong):
            raise ValueError(f"the given codes hold {wrong[0]}, expected 0 to {config.image_vocab_size - 1}")


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples in the order of their captions, and of each caption's seeds."""

    codes: np.ndarray
    """[n, N] int64, row by row of the grid."""
    log_likelihood: np.ndarray
    """[n] float64: nats, at temperature 1 and of all codes of the codebook, of the codes that were drawn, each given
    all before it. Given codes are not counted."""


class Lines:
    """Codes so far, and the numbers they are drawn with.

    Args:
        batch: captions and samples.
        config: the network's sizes.
        seeds: of each caption those of its samples.
        given: codes that are not drawn.
        device: of the logits.
    """

    def __init__(
        self,
        batch: Batch,
        config: PriorConfig,
        seeds: Sequence[Sequence[int]],
        given: Given,
        device: torch.device,
    ) -> None:
        free = np.flatnonzero(~given.mask)
        self.first, self.end = (int(free[0]), int(free[-1]) + 1) if len(free) else (config.codes, config.codes)
        """The first position that is not given, and that after the last."""
        self._is_given = given.mask.tolist()
        codes = torch.from_numpy(np.where(given.mask, given.codes, 0).astype(np.int64))
        self.codes = codes.to(device).repeat(batch.size, 1)
        """[B, N] int64."""
        numbers = uniforms([seed for some in seeds for seed in some], config.codes)
        asked = [caption * batch.samples + i for caption, some in enumerate(seeds) for i in range(len(some))]
        self._asked = torch.tensor(asked, device=device)
        self._uniform = torch.full((config.codes, batch.size), 0.5, dtype=torch.float64, device=device)
        self._uniform[:, self._asked] = torch.from_numpy(numbers.T.copy()).to(device)
        self._nats = torch.zeros(batch.size, dtype=torch.float64, device=device)

    def choose(self, position: int, logits: Tensor, options: ChoosingOptions) -> None:
        """Draw the codes at a position from their logits, [B, K]; where they are given, nothing is done.

        Raises:
            ValueError: if logits are not finite.
        """
        if self._is_given[position]:
            return
        spread = logits.amax(1) - logits.amin(1)
        if not torch.isfinite(spread[self._asked]).all():
            raise ValueError(
                f"the prior's logits at position {position} of the codes are not finite: its weights are damaged"
            )
        codes, nats = choose(logits, self._uniform[position], options)
        self.codes[:, position] = codes
        self._nats += nats

    def drawn(self) -> Drawn:
        """Of the lines that were asked for."""
        return Drawn(self.codes[self._asked].cpu().numpy(), self._nats[self._asked].cpu().numpy())
