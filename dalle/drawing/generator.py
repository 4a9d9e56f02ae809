"""Pictures of captions, from Python and for the command.

    generator = Generator.load("prior")
    drawn = generator.draw("a red kite above a house", samples=16)
    drawn.pictures, drawn.scores            # [16, H, W, 3] uint8; [16] float32, with a re-ranker

A generator draws in batches of one shape, captions x samples; the same caption, sample and seed give the same picture
in any batch of that shape, and other roundings, so other pictures, in batches of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from dalle.contrastive import load as load_reranker
from dalle.drawing.captions import Caption, captions_of, seed_of, tokens_of
from dalle.drawing.given import given_of
from dalle.drawing.models import Models, load_models
from dalle.drawing.options import GenerateOptions
from dalle.dvae.image_encoders import EncoderPrecision
from dalle.prior.choosing import ChoosingOptions
from dalle.prior.lines import Given
from dalle.prior.sampling import Precision, PrecisionOrAuto, Progress, Sampler, number_format

if TYPE_CHECKING:
    from dalle.contrastive.reranker import Reranker  # which takes seconds to import

DECODED = 8
"""Pictures that are made of codes at a time, always as many: products of other sizes may round in another way."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Samples of captions, before they are pictures."""

    codes: np.ndarray
    """[n, N] int64."""
    seeds: list[int]
    log_likelihood: np.ndarray
    """[n] float64, nats."""


@dataclass(frozen=True, eq=False)
class Pictures(Codes):
    """Samples of one caption."""

    pictures: np.ndarray
    """[n, H, W, 3] uint8."""
    scores: np.ndarray | None
    """[n] float32 cosines of picture and caption; None without a re-ranker."""

    @property
    def order(self) -> np.ndarray:
        """[n]: the samples from the best to the worst, by score, or by likelihood without one."""
        return order(self.scores, self.log_likelihood)


def order(scores: np.ndarray | None, log_likelihood: np.ndarray) -> np.ndarray:
    """[n]: samples from the best to the worst, the first of equals first."""
    return np.argsort(-(log_likelihood if scores is None else scores.astype(np.float64)), kind="stable")


class Generator:
    """Draws pictures of captions.

    Args:
        models: prior, vocabulary and dVAE.
        captions: that are drawn at a time.
        samples: of each of them, at a time.
        precision: of the prior.
        reranker: what scores pictures; None scores none.
    """

    def __init__(
        self,
        models: Models,
        *,
        captions: int = 1,
        samples: int = 16,
        precision: Precision = "bfloat16",
        reranker: Reranker | None = None,
    ) -> None:
        self.models, self.reranker = models, reranker
        self.captions, self.samples = captions, samples
        self._sampler = Sampler(models.prior, captions=captions, samples=samples, precision=precision)

    @classmethod
    def load(
        cls,
        prior: str,
        *,
        vocabulary: str | None = None,
        dvae: str | None = None,
        reranker: str | None = None,
        captions: int = 1,
        samples: int = 16,
        precision: PrecisionOrAuto = "auto",
    ) -> Generator:
        """A generator of models by name; see `load_models` and `dalle.contrastive.load`.

        Raises:
            ValueError: if one of them is not what it should be.
        """
        meant = number_format(precision)
        of_dvae: EncoderPrecision = "bf16" if meant == "bfloat16" else "fp32"
        models = load_models(prior, vocabulary=vocabulary, dvae=dvae, precision=of_dvae)
        scorer = load_reranker(reranker) if reranker else None
        return cls(models, captions=captions, samples=samples, precision=meant, reranker=scorer)

    @classmethod
    def of_options(cls, options: GenerateOptions) -> Generator:
        """The generator that a command asks for.

        Raises:
            ValueError: if one of its models is not what it should be.
        """
        return cls.load(
            options.prior,
            vocabulary=options.vocabulary,
            dvae=options.dvae,
            reranker=options.reranker,
            captions=options.captions_at_once,
            samples=options.samples_at_once,
            precision=options.precision,
        )

    def draw(
        self,
        caption: str,
        samples: int = 16,
        *,
        seed: int = 0,
        options: ChoosingOptions | None = None,
        image: str | None = None,
        keep_rows: int | None = None,
        keep_mask: str | None = None,
    ) -> Pictures:
        """Samples of one caption.

        Args:
            caption: of at most as many tokens as the prior reads.
            samples: how many, 1 or more.
            seed: of all of them.
            options: temperature, top_k, top_p.
            image: a file, part of whose codes stay (`given_of`).
            keep_rows: of the codes of the image; None is the paper's top half, 15 of 32.
            keep_mask: which of its codes stay, in place of the rows.

        Raises:
            ValueError: if the caption is empty or too long, or the picture cannot be used.
        """
        given = None
        if image is not None:
            given = given_of(image, self.models.side, self.models.dvae, keep_rows=keep_rows, keep_mask=keep_mask)
        one = captions_of([caption], None)
        parts = [
            self.draw_codes(one, [range(first, min(first + self.samples, samples))], seed, options, given=given)
            for first in range(0, samples, self.samples)
        ]
        codes = Codes(
            np.concatenate([part.codes for part in parts]),
            [seed for part in parts for seed in part.seeds],
            np.concatenate([part.log_likelihood for part in parts]),
        )
        return self.pictures([caption], [codes])[0]

    def draw_codes(
        self,
        captions: Sequence[Caption],
        samples: Sequence[range],
        seed: int,
        options: ChoosingOptions | None = None,
        *,
        given: Given | None = None,
        progress: Progress | None = None,
    ) -> Codes:
        """One batch.

        Args:
            captions: at most as many as are drawn at a time.
            samples: of each caption, which of its samples; at most as many as are drawn at a time.
            seed: of all.
            options: temperature, top_k, top_p.
            given: codes that stay.
            progress: is called after each position.
        """
        tokens = self.tokens(captions)
        seeds = [
            [seed_of(seed, caption.text, sample) for sample in some]
            for caption, some in zip(captions, samples, strict=True)
        ]
        drawn = self._sampler.draw(tokens, seeds, options, given=given, progress=progress)
        return Codes(drawn.codes, [seed for some in seeds for seed in some], drawn.log_likelihood)

    def tokens(self, captions: Sequence[Caption]) -> np.ndarray:
        """[n, T] int64: text tokens of captions, padded.

        Raises:
            ValueError: naming a caption that has none, or more than the prior reads.
        """
        return tokens_of(captions, self.models.tokenizer, self.models.prior.config.text_length)

    def pictures(self, captions: Sequence[str], codes: Sequence[Codes]) -> list[Pictures]:
        """What samples of some captions look like, and how well they fit.

        Args:
            captions: some.
            codes: of each caption its samples, one or more.
        """
        ends = np.cumsum([len(some.codes) for some in codes])[:-1]
        pictures = np.split(self.decode(np.concatenate([some.codes for some in codes])), ends)
        scores = self.reranker.scores_of_each(captions, list(map(list, pictures))) if self.reranker else None
        return [
            Pictures(one.codes, one.seeds, one.log_likelihood, shown, None if scores is None else scores[number])
            for number, (one, shown) in enumerate(zip(codes, pictures, strict=True))
        ]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """[n, N] codes to [n, H, W, 3] uint8 pictures."""
        pictures = []
        for first in range(0, len(codes), DECODED):
            some = torch.from_numpy(codes[first : first + DECODED].astype(np.int64))
            filled = torch.cat([some, some[:1].expand(DECODED - len(some), -1)])
            shown = self.models.dvae.decode(filled)[: len(some)]
            pictures.append((shown.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy())
        return np.concatenate(pictures)
