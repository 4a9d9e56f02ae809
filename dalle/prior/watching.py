"""What is seen of a prior while it trains: the loss of examples that are held out, beside that of simple models.

The held-out examples are read as they are in the first epoch, with the tokens of the dataset: the same tokens and codes
at each evaluation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dalle.prior.losses import weighted
from dalle.prior.network import Prior
from dalle.prior.ngrams import Baselines, baselines
from dalle.reading.batches import Batch, Batches
from dalle.reading.example_shards import ExampleShards
from dalle.reading.holding_out import Split
from dalle.text.padding import is_text
from dalle.training.ranks import Ranks

FITTED = 20_000
"""Training examples at most on which the simple models are fitted."""
RISE = 0.01
"""Relative difference by which a loss has to be above the lowest to be said to have risen."""
RISEN = 3
"""Evaluations in a row whose loss has risen from which on a training is said to over-fit."""


@dataclass(frozen=True)
class Losses:
    """Mean nats of a token."""

    text: float
    image: float

    @property
    def loss(self) -> float:
        """As it is trained for."""
        return float(weighted(torch.tensor(self.text, dtype=torch.float64), torch.tensor(self.image)))


class Validation:
    """The examples that are held out, and how well they are foretold.

    Args:
        split: of the dataset.
        examples: how many are looked at each time, at most.
        batch_size: how many at once.
        together: processes that hold a network's weights together, if they do: each looks at some of the batches.
    """

    def __init__(
        self, split: Split[ExampleShards], examples: int, batch_size: int, together: Ranks | None = None
    ) -> None:
        self._split, self._together = split, together
        wanted = min(examples, split.held_out)
        self._count = -(-wanted // batch_size)
        self._batch_size = wanted // max(1, self._count)

    @property
    def examples(self) -> int:
        """How many are looked at: a batch is never cut."""
        return self._count * self._batch_size

    @torch.no_grad()
    def losses(self, prior: Prior, device: torch.device) -> Losses:
        """Of a network: text tokens and codes each over their own number; called on all who look together."""
        sums, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for batch, weight in self._own():
            text_tokens, image_codes = (batch[name].to(device) for name in ("text_tokens", "image_codes"))
            of_text = int(is_text(text_tokens, prior.config.vocab_size).sum())
            count = torch.tensor([weight * of_text, weight * image_codes.numel()], dtype=torch.float64)
            sums += torch.stack(prior.losses(text_tokens, image_codes)).double().cpu() * count
            counts += count
        if self._together is not None:
            sums, counts = self._together.mean(sums), self._together.mean(counts)
        text, image = (sums / counts.clamp(min=1)).tolist()
        return Losses(text, image)

    def _own(self) -> Iterator[tuple[Batch, int]]:
        """This process's batches; where they do not come out even, the last of all once more, with a weight of 0."""
        rank, count = (0, 1) if self._together is None else (self._together.rank, self._together.count)
        batches = self._batches()
        while some := list(itertools.islice(batches, count)):
            yield some[min(rank, len(some) - 1)], int(rank < len(some))

    def some(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The tokens of a few of them, [B, T] and [B, N]."""
        batch = next(self._batches())
        return batch["text_tokens"].to(device), batch["image_codes"].to(device)

    @cached_property
    def baselines(self) -> Baselines:
        """What unigram and bigram models reach that are fitted on the training's examples."""
        training = self._split.training.without_dropout()
        size = min(256, sum(training.counts))
        fitted = itertools.islice(Batches(training, batch_size=size, announced=False), -(-FITTED // size))
        return baselines(
            fitted, self._batches(), vocab_size=training.vocab_size, image_vocab_size=training.image_vocab_size
        )

    def _batches(self) -> Iterator[Batch]:
        assert self._split.validation is not None
        return itertools.islice(
            Batches(self._split.validation, batch_size=self._batch_size, announced=False), self._count
        )


class Lowest:
    """The lowest held-out loss, and whether it has only risen since."""

    def __init__(self) -> None:
        self.loss, self.step, self._risen, self._last = float("inf"), 0, 0, 0

    def add(self, loss: float, step: int) -> None:
        """Take in the loss after so many steps; that of the same steps again is not counted twice."""
        if step <= self._last:
            return
        self._last = step
        self._risen = self._risen + 1 if loss > self.loss * (1 + RISE) else 0
        if loss < self.loss:
            self.loss, self.step = loss, step

    @property
    def overfits(self) -> bool:
        """Whether it has risen so often that the training learns its examples by heart."""
        return self._risen >= RISEN

    def state_dict(self) -> dict[str, float | None]:
        """Loss, step, and how often it has risen since."""
        return {"loss": self.loss if self.step else None, "step": self.step, "risen": self._risen, "last": self._last}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Go on from there."""
        loss, step, risen, last = (state[name] for name in ("loss", "step", "risen", "last"))
        if step is None or risen is None or last is None:
            raise TypeError("the lowest held-out loss is not whole")
        self.loss, self.step = float("inf") if loss is None else loss, int(step)
        self._risen, self._last = int(risen), int(last)
