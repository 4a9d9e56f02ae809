"""The training of a contrastive model in progress: everything that changes with a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP, ClipLoss
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.contrastive.config import ContrastiveConfig
from dalle.contrastive.flops import TRAINING, image_flops, text_flops
from dalle.contrastive.network import make, normalised, save
from dalle.contrastive.options import TrainContrastiveOptions
from dalle.contrastive.pairs import TrainingPairs
from dalle.contrastive.watching import HeldOut, Recall
from dalle.reading.batches import Batch
from dalle.training.ema import Ema
from dalle.training.logs import Log, Means
from dalle.training.products import product_flops
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerStep, precision_on
from schemas.commands.stopping import at_once
from schemas.manifest import WEIGHTS

_EMA_WARMUP = 9
"""Updates by which the average is slowed down at first: a short training would end with its fresh weights."""
_MOST_SCALE = math.log(100)
"""Logarithm of the largest scale of the cosines (Radford et al. 2021, §2.5)."""


class ContrastiveRun:
    """A contrastive model's weights, their average, the optimizer and the pairs; see `dalle.training.loop.Run`.

    The loss compares each picture with the captions of all processes, and each caption with their pictures.

    Args:
        options: of the training.
        ranks: the processes that train.
        pairs: what is trained on, and what is held out.
    """

    def __init__(self, options: TrainContrastiveOptions, ranks: Ranks, pairs: TrainingPairs) -> None:
        self.config = ContrastiveConfig(**vars(options.size), vocab_size=pairs.words.vocab_size)
        self.clip: CLIP = make(self.config).to(ranks.device)
        self.batches, self._words = pairs.batches, pairs.words
        self._options, self._ranks = options, ranks
        held = pairs.parts.validation
        self._held_out = HeldOut(held, options.pairs.eval_pairs, self.config.image_size) if held else None
        self._towers = _BothTowers(self.clip)
        self._parallel = ranks.parallel(self._towers)
        self._loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=ranks.rank, world_size=ranks.count)
        self._optimizer = OptimizerStep(self.clip, options.optimizer, ranks)
        self.ema = Ema(self.clip, options.ema_decay, warmup=_EMA_WARMUP)
        self._means = Means(("loss", "scale", "grad_norm"), forgiving=self._optimizer.skips)
        self._rate = 0.0
        self._product = product_flops(ranks.device, precision_on(ranks.device, options.optimizer.precision))

    def step(self, batch: Batch, step: int) -> None:
        """One step from this process's share of a batch."""
        with at_once():
            images, texts, scale = self._vectors(self._parallel, batch["images"], batch["text_tokens"])
            loss = self._loss(images, texts, scale)
            self._optimizer.backward(loss)
        self._rate = self._optimizer(step)
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, _MOST_SCALE)
        self.ema.update(step + 1)
        self._means.add(torch.stack([each.detach().cpu() for each in (loss, scale, self._optimizer.grad_norm)]))

    def _vectors(self, towers: nn.Module, images: Tensor, text_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, D] float32 of unit length of both, and the scale of their cosines."""
        device = self._ranks.device
        with self._optimizer.autocast():
            of_images, of_texts, scale = towers(normalised(images.to(device)), text_tokens.to(device))
        return F.normalize(of_images.float(), dim=-1), F.normalize(of_texts.float(), dim=-1), scale

    @torch.no_grad()
    def _embed(self, images: Tensor, text_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of pairs, by this process alone."""
        return self._vectors(self._towers, images, text_tokens)[:2]

    def figures(self, step: int, samples_per_second: float) -> dict[str, float]:
        """Loss, scale of the cosines, norm of the gradients before clipping, learning rate, share of the products."""
        flops = TRAINING * (image_flops(self.config) + text_flops(self.config)) * samples_per_second
        share = flops / (self._product * self._ranks.count)
        return self._means.take(self._ranks) | {"learning_rate": self._rate, "share_of_product": share}

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss beside that of a guess, scale, speed, learning rate."""
        return (
            f"loss {figures['loss']:.3f} (a guess has {math.log(self._options.loop.batch_size):.2f}), "
            f"scale {figures['scale']:.1f}, gradient {figures['grad_norm']:.2f}, rate {figures['learning_rate']:.2g}, "
            f"{figures['samples_per_second']:,.1f} pairs/s "
            f"({100 * figures['share_of_product']:.0f} % of this machine's products)"
        )

    def watch(self, step: int, log: Log) -> None:
        """How often held-out pictures and captions find each other, by the averaged weights."""
        if self._held_out is not None and (found := self._recall(self._held_out)):
            log.figures(step, found.figures())
            print(f"  {found}", flush=True)

    def _recall(self, held_out: HeldOut) -> Recall | None:
        with self.ema.in_place(), at_once():
            return held_out.recall(self._embed)

    def save(self, folder: Path) -> Path:
        """The averaged weights, with the sizes and the vocabulary; says what they reach."""
        if self._held_out is not None and (found := self._recall(self._held_out)):
            print(f"  in the end {found}", flush=True)
        with self.ema.in_place():
            save(self.clip, folder / WEIGHTS, self.config, self._words.tokenizer)
        return folder / WEIGHTS

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step."""
        return {
            "weights": self.clip.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            **self.tallies(),
        }

    def tallies(self) -> dict[str, Any]:
        """What is added up for the log."""
        return {"means": self._means.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.clip.load_state_dict(state["weights"])
        self.ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])


class _BothTowers(nn.Module):
    """Both towers as one forward pass, which is what processes share their gradients of."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: Tensor, text_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, S, S] float32 and [B, T] to [B, D] each, and the scale."""
        return self.clip.encode_image(images), self.clip.encode_text(text_tokens), self.clip.logit_scale.exp()
