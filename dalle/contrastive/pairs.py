"""Where the training of a contrastive model gets its pairs, and what of them is held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from dalle.contrastive.options import TrainContrastiveOptions
from dalle.pictures.pixels import Pixels
from dalle.pictures.squares import centre_square, drawn_square
from dalle.reading.batches import Batches
from dalle.reading.captioned_pairs import CaptionedPairs
from dalle.reading.endless import Endless
from dalle.reading.holding_out import Split, hold_out
from dalle.text import tokenizer
from dalle.text.ended import EndedCaptions
from dalle.training.ranks import Ranks

WINDOW = 4_096
"""Stored pictures that are shuffled together."""
GROUP = 100
"""Held-out pairs among which each is to be found: so many are held out at least."""


@dataclass(frozen=True)
class TrainingPairs:
    """What is trained on."""

    all: CaptionedPairs
    parts: Split[CaptionedPairs]
    words: EndedCaptions
    batches: Endless
    """`images` [B, 3, S, S] uint8 and `text_tokens` [B, T] int64, this process's share of each batch, for ever."""

    @property
    def without_caption(self) -> int:
        """Pairs that have none, and so are neither trained on nor held out."""
        return sum(self.all.counts) - sum(self.parts.training.counts) - self.parts.held_out


def training_pairs(options: TrainContrastiveOptions, ranks: Ranks) -> TrainingPairs:
    """The pairs that the options name.

    Raises:
        ValueError: if it is no dataset of pairs, was never cleaned, or does not fill a batch of all processes.
    """
    chosen, side = options.pairs, options.size.image_size
    if chosen.input_folder is None:
        raise ValueError("--input_folder is missing; say which dataset of pairs to train on")
    ranks.share(options.loop.batch_size, "--batch_size")
    words = EndedCaptions(
        tokenizer.load(chosen.vocabulary),
        options.size.text_length,
    )
    pairs = CaptionedPairs(
        chosen.input_folder,
        partial(drawn_square, side=side, least_area=chosen.crop_area),
        words,
        allow_undeduplicated=chosen.allow_undeduplicated,
    )
    parts = hold_out(pairs.with_a_caption(ranks), chosen.validation_share, ranks, least=GROUP)
    batches = Batches(
        parts.training,
        batch_size=options.loop.batch_size,
        seed=options.loop.seed,
        window=WINDOW,
        rank=ranks.rank,
        ranks=ranks.count,
        workers=chosen.workers,
    )
    return TrainingPairs(pairs, parts, words, Endless(batches))


def as_judged(pixels: Pixels, _rng: np.random.Generator, side: int) -> Pixels:
    """The view of an evaluation, which draws nothing."""
    return centre_square(pixels, side)
