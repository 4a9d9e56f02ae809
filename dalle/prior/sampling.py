"""Codes of pictures from the tokens of captions, drawn from a prior (Ramesh et al. 2021, §2.6).

    sampler = Sampler(prior, captions=1, samples=16)
    drawn = sampler.draw(text_tokens, seeds=[range(16)])     # of one caption, 16 samples
    drawn.codes, drawn.log_likelihood                        # [16, N] int64, [16] float64

A sampler draws batches of one shape, C captions and S samples of each; what is asked for may be fewer. A sample's codes
follow from its caption's tokens, its seed, the weights, the options, the given codes, and the sampler: its shape,
number format and torch itself, for a product of other sizes may be rounded in another way. They do not depend on what
else is in the batch, on the sample's place in it, or, where weights can be packed (`packed`), on the number of threads.
So whoever records the shape can draw any of many captions again, in any order, to the bit.

Shapes: C captions, S samples of each; T positions of text; N codes of a picture; K codes of the codebook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dalle.prior.cache import Batch
from dalle.prior.choosing import ChoosingOptions
from dalle.prior.decoder import Decoder
from dalle.prior.lines import Drawn, Given, Lines
from dalle.prior.network import Prior
from dalle.text.padding import vocab_size_with_padding
from dalle.training.parallel import for_each
from dalle.training.precision import computes_in_bfloat16

Precision = Literal["bfloat16", "float32"]
PrecisionOrAuto = Literal["auto", "bfloat16", "float32"]
Progress = Callable[[int, int], None]
"""Is told how many positions of the batch are done, and of how many."""


def number_format(precision: PrecisionOrAuto) -> Precision:
    """What is meant on this machine: auto is bfloat16 where the processor has it, float32 elsewhere."""
    if precision != "auto":
        return precision
    return "bfloat16" if computes_in_bfloat16("cpu") else "float32"


class Sampler:
    """Draws from a prior in batches of one shape.

    It copies the matrices, and holds keys and values for the whole batch; one draw at a time. The prior is not to
    change meanwhile.

    Args:
        prior: the network, in single precision.
        captions: C, of a batch.
        samples: S, of each caption in a batch.
        precision: of products of weights, keys and values; the stream and the logits have 32 bits in both.

    Raises:
        ValueError: if the batch is empty or the number format is not one of them.
    """

    def __init__(
        self, prior: Prior, *, captions: int = 1, samples: int = 16, precision: Precision = "bfloat16"
    ) -> None:
        for name, count in (("captions", captions), ("samples", samples)):
            if count < 1:
                raise ValueError(f"{name} {count}: expected 1 or more")
        if precision not in ("bfloat16", "float32"):
            raise ValueError(f"precision {precision}: expected bfloat16 or float32")
        self.batch, self.precision, self.config = Batch(captions=captions, samples=samples), precision, prior.config
        self._device = prior.norm.weight.device
        with torch.no_grad():
            self._decoder = Decoder(prior, self.batch, getattr(torch, precision))

    def draw(
        self,
        text_tokens: np.ndarray | Tensor,
        seeds: Sequence[Sequence[int]],
        options: ChoosingOptions | None = None,
        *,
        given: Given | None = None,
        progress: Progress | None = None,
    ) -> Drawn:
        """Samples of some captions.

        Args:
            text_tokens: [c, T] integers of at most C captions, with their padding (`dalle.text.padding`).
            seeds: of each caption those of its samples, at most S, each 0 or more.
            options: how codes are chosen.
            given: codes that stay as they are.
            progress: is called after each position.

        Raises:
            ValueError: if arguments do not fit the network or the batch, or logits are not finite.
        """
        text_tokens = torch.as_tensor(text_tokens)
        self._check(text_tokens, seeds)
        given = given or Given(np.zeros(self.config.codes, np.bool_), np.zeros(self.config.codes, np.int64))
        given.check(self.config)
        with torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            lines = Lines(self.batch, self.config, seeds, given, self._device)
            logits = self._begin(text_tokens.to(self._device, torch.int64), lines)
            for position in range(lines.first, lines.end):
                lines.choose(position, logits, options or ChoosingOptions())
                if progress is not None:
                    progress(position + 1 - lines.first, lines.end - lines.first)
                if position + 1 < lines.end:
                    logits = self._decoder.step(lines.codes[:, position], position)
            return lines.drawn()

    def _begin(self, text_tokens: Tensor, lines: Lines) -> Tensor:
        """[B, K]: logits of the first code that is not given, each caption's text put through the network alone."""
        logits = torch.zeros(self.batch.captions, self.config.image_vocab_size, device=self._device)
        prefix = lines.codes[0, : lines.first]

        def begin(caption: int) -> None:
            logits[caption] = self._decoder.begin(caption, text_tokens[caption], prefix)

        if lines.first < lines.end:
            for_each(begin, range(len(text_tokens)), self._device)
        return logits.repeat_interleave(self.batch.samples, 0)

    def _check(self, text_tokens: Tensor, seeds: Sequence[Sequence[int]]) -> None:
        config, batch = self.config, self.batch
        if text_tokens.ndim != 2 or text_tokens.shape[1] != config.text_length:
            shape = " x ".join(map(str, text_tokens.shape)) or "no"
            raise ValueError(f"the text has {shape} tokens, expected captions x {config.text_length}, padded")
        most = vocab_size_with_padding(config.vocab_size, config.text_length)
        wrong = text_tokens[(text_tokens < 0) | (text_tokens >= most)]
        if len(wrong):
            raise ValueError(f"the text holds token {int(wrong[0])}, expected 0 to {most - 1}")
        if len(text_tokens) != len(seeds):
            raise ValueError(f"there are {len(text_tokens)} captions, and seeds of {len(seeds)}: give as many")
        if not 1 <= len(seeds) <= batch.captions:
            raise ValueError(f"there are {len(seeds)} captions, expected 1 to {batch.captions}, as the sampler has")
        for some in seeds:
            if not 1 <= len(some) <= batch.samples:
                raise ValueError(f"a caption has {len(some)} seeds, expected 1 to {batch.samples}, as the sampler has")
