"""The training of a prior in progress: everything that changes with a step."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dalle.prior import sharded
from dalle.prior.files import save
from dalle.prior.flops import TRAINING, forward_flops
from dalle.prior.losses import weighted
from dalle.prior.network import Prior, attention_entropy
from dalle.prior.options import TrainPriorOptions
from dalle.prior.sent import NOT_COMPRESSED
from dalle.prior.watching import Lowest, Validation
from dalle.reading.batches import Batch
from dalle.reading.endless import Endless
from dalle.text.padding import is_text
from dalle.training.cuts import marked, read
from dalle.training.ema import Ema
from dalle.training.logs import Log, Means
from dalle.training.plateau import Plateau
from dalle.training.products import product_flops
from dalle.training.ranks import Ranks, gathering
from dalle.training.steps import OptimizerStep, precision_on
from dalle.training.together import at_once_unless_together
from dalle.training.traffic import SentBySteps
from schemas.manifest import WEIGHTS

if TYPE_CHECKING:
    from dalle.training.sharding import Shards

_EMA_WARMUP = 9
"""Updates by which the average is slowed down at first: a short training would end with its fresh weights."""
_NAMES = ("loss", "text", "image")


class PriorRun:
    """A prior's weights, their average, the optimizer and the examples; see `dalle.training.loop.Run`.

    Args:
        options: of the training.
        ranks: the processes that train.
        prior: the network.
        batches: this process's share of each batch, `text_tokens` [B, T] and `image_codes` [B, N], for ever.
        validation: the examples that are held out; None if none are.
        made_for: fingerprints of the vocabulary and the dVAE of the examples, and the datasets behind them.
    """

    def __init__(
        self,
        options: TrainPriorOptions,
        ranks: Ranks,
        prior: Prior,
        batches: Endless,
        validation: Validation | None,
        made_for: Mapping[str, Any],
    ) -> None:
        dtype = precision_on(ranks.device, options.optimizer.precision)
        self._shards = _shared(prior, ranks, dtype) if ranks.together else None
        self.batches, self.prior = batches, prior if ranks.together else prior.to(ranks.device)
        self._options, self._ranks, self._validation, self._made_for = options, ranks, validation, made_for
        objective = _Objective(self.prior)
        self._parallel = objective if ranks.together else ranks.parallel(objective)
        self._optimizer = OptimizerStep(
            self.prior, options.optimizer, ranks, blocks=self.prior.resblocks(), shards=self._shards
        )
        if options.sharding.powersgd_rank and ranks.groups > 1:
            self._optimizer.compress(options.sharding.powersgd_rank, options.loop.seed, NOT_COMPRESSED)
        self._sent = None if self._shards is None else SentBySteps(self._shards.within, self._shards.between)
        parts = None if self._shards is None else self._shards.weights
        self.ema = Ema(self.prior, options.ema_decay, warmup=_EMA_WARMUP, weights=parts)
        self.plateau, self.lowest = Plateau(options.plateau), Lowest()
        self._means, self._norms, self._window = (
            Means(names, forgiving=self._optimizer.skips) for names in (_NAMES, ("grad_norm",), ("loss",))
        )
        self._rate, self._averaged = 0.0, False
        self._evaluation: tuple[int, dict[str, float]] | None = None
        self._product = product_flops(ranks.device, dtype)

    def step(self, batch: Batch, step: int) -> None:
        """One step from this process's share of a batch."""
        self._halve_by_validation(step)
        with self._sent.step() if self._sent else nullcontext():
            with at_once_unless_together(self._ranks):
                losses = self._backward(batch)
            self._rate = self._optimizer(step, self.plateau.factor)
        if (step + 1) % self._options.ema_every == 0:
            self.ema.update((step + 1) // self._options.ema_every)
            self._averaged = True
        self._means.add(losses)
        self._norms.add(self._optimizer.grad_norm[None])
        self._halve_by_training(losses[:1], step + 1)

    def _backward(self, batch: Batch) -> Tensor:
        """Gradients of this process's share; gives loss, text and image of the whole batch.

        They are averaged at once, not when the log is written: the first process saves what was added up so far, which
        others go on from, and what the learning rate follows has to be the same for all.
        """
        text_tokens, image_codes = (batch[name].to(self._ranks.device) for name in ("text_tokens", "image_codes"))
        in_text = is_text(text_tokens, self.prior.config.vocab_size).sum(1)
        of_text = max(1, self._ranks.total(int(in_text.sum()))) / self._ranks.count
        losses = torch.zeros(3, dtype=torch.float64)
        portions = range(0, len(text_tokens), self._options.micro_batch_size)
        for first in portions:
            part = slice(first, first + self._options.micro_batch_size)
            last = first == portions[-1]
            with gathering(self._parallel, last=last), self._optimizer.autocast():
                text, image = self._parallel(text_tokens[part], image_codes[part])
                text = text * (in_text[part].sum() / of_text)
                image = image * (len(text_tokens[part]) / len(text_tokens))
                loss = weighted(text, image)
            with self._shards.portion(last=last) if self._shards else gathering(self._parallel, last=last):
                self._optimizer.backward(loss)
            losses += torch.stack([loss, text, image]).detach().double().cpu()
        return self._ranks.mean(losses)

    @property
    def _halves(self) -> str:
        """Which loss the learning rate follows: that of `training` or `validation`, or of neither."""
        return "" if self._options.optimizer.decay_steps else self._options.plateau.plateau_on

    def _halve_by_training(self, loss: Tensor, done: int) -> None:
        if self._halves != "training":
            return
        self._window.add(loss)
        if done % self._options.plateau.plateau_window == 0:
            mean = self._window.take(self._ranks)["loss"]
            if done > self._options.optimizer.warmup_steps:
                self._add_to_plateau(mean)

    def _halve_by_validation(self, done: int) -> None:
        """After an evaluation, which the first process alone makes, unless they hold the weights together."""
        every = self._options.loop.eval_every
        if self._halves != "validation" or not done or done % every or done <= self._options.optimizer.warmup_steps:
            return
        evaluates = self._ranks.first or self._ranks.together
        loss = self._evaluated(done)["validation_loss"] if evaluates else 0.0
        with at_once_unless_together(self._ranks):
            sent = self._ranks.from_first(struct.pack("<d", loss))
        assert sent is not None
        self._add_to_plateau(struct.unpack("<d", sent)[0])

    def _add_to_plateau(self, loss: float) -> None:
        before = self.plateau.factor
        self.plateau.add(loss)
        if self._ranks.first and self.plateau.factor < before:
            rate = self.plateau.factor * self._options.optimizer.learning_rate
            print(f"  the loss is on a plateau: the learning rate is halved, to {rate:.3g}")

    def _evaluated(self, done: int) -> dict[str, float]:
        """Losses of the held-out examples after so many steps, by the averaged weights."""
        if self._evaluation is None or self._evaluation[0] != done:
            assert self._validation is not None
            with self._average_in_place(), at_once_unless_together(self._ranks), self._optimizer.autocast():
                losses = self._validation.losses(self.prior, self._ranks.device)
            figures = {"loss": losses.loss, "text": losses.text, "image": losses.image}
            self._evaluation = done, {f"validation_{name}": value for name, value in figures.items()}
            self.lowest.add(losses.loss, done)
        return self._evaluation[1]

    @contextmanager
    def _average_in_place(self) -> Iterator[None]:
        """The averaged weights inside the block; before the first update of the average the weights themselves."""
        try:
            with self.ema.in_place() if self._averaged else nullcontext():
                yield
        finally:
            if self._shards is not None:
                self._shards.drop()  # what was gathered is not what the next step computes with

    def figures(self, step: int, samples_per_second: float) -> dict[str, float]:
        """Loss and its parts in nats a token, the norm of the gradients before clipping, and the learning rate.

        And tokens a second, and which share of the machines' own matrix products that is. Where overflows are skipped,
        the share of steps that were, and the scales. Where processes hold the weights together, the bytes that this one
        sends in a step, and the share of its time in which it sent, or waited for, gradients.
        """
        config = self.prior.config
        flops = TRAINING * forward_flops(config) * samples_per_second
        speed = {
            "tokens_per_second": (config.text_length + config.codes) * samples_per_second,
            "share_of_product": flops / (self._product * self._ranks.count),
        }
        if self._sent:
            speed |= self._sent.figures(self._options.loop.batch_size / samples_per_second)
        if self._optimizer.skips:
            speed["skipped_steps"] = self._norms.missing()
        if self._optimizer.drifts:
            speed["groups_differ"] = 1.0
        means = self._means.take(self._ranks) | self._norms.take(self._ranks)
        return means | {"learning_rate": self._rate, **self._optimizer.figures(), **speed}

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss and its parts, speed, learning rate."""
        loss, text, image = (f"{figures[name]:.3f}" for name in _NAMES)
        skipped = f", {100 * share:.0f} % of steps skipped" if (share := figures.get("skipped_steps", 0)) else ""
        sends = figures.get("share_of_communication")
        sent = "" if sends is None else f", {100 * sends:.0f} % of the time in communication"
        if "groups_differ" in figures:
            sent += ", groups of processes round in other ways: their weights drift apart"
        return (
            f"loss {loss}, text {text}, codes {image}, gradient {figures['grad_norm']:.2f}, "
            f"rate {figures['learning_rate']:.2g}, {figures['tokens_per_second']:,.0f} tokens/s "
            f"({100 * figures['share_of_product']:.0f} % of this machine's products){sent}{skipped}"
        )

    def watch(self, step: int, log: Log) -> None:
        """The loss of the held-out examples, beside that of simple models, and how far each kind of layer looks."""
        if self._validation is None:
            return
        figures = self._evaluated(step)
        with self._average_in_place(), at_once_unless_together(self._ranks), self._optimizer.autocast():
            simple = self._validation.baselines if self._ranks.first else None
            entropies = attention_entropy(self.prior, *self._validation.some(self._ranks.device))
        if simple is None:
            return
        log.figures(step, figures | {f"attention_entropy_{kind}": value for kind, value in entropies.items()})
        text, image = figures["validation_text"], figures["validation_image"]
        print(
            f"  held out: loss {figures['validation_loss']:.3f}, text {text:.3f} (unigrams {simple.text[0]:.3f}, "
            f"bigrams {simple.text[1]:.3f}), codes {image:.3f} (unigrams {simple.image[0]:.3f}, "
            f"bigrams {simple.image[1]:.3f})"
        )
        if self.lowest.overfits:
            print(
                f"  over-fitting: the loss of the held-out examples was {self.lowest.loss:.3f} after step "
                f"{self.lowest.step:,} and has risen since; more examples, fewer --steps or more --weight_decay help"
            )

    def save(self, folder: Path) -> Path:
        """The averaged weights, with the sizes and what they are made for."""
        if self._shards is not None:
            parts = self.ema.state_dict() if self._averaged else self._shards.weights()
            path = folder / WEIGHTS if self._ranks.first else None
            sharded.save(self.prior, self._shards, parts, path, self._made_for)
            return folder / WEIGHTS
        with self._average_in_place():
            save(self.prior, folder / WEIGHTS, self._made_for)
        return folder / WEIGHTS

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step; where processes hold the weights together, with parts of them."""
        state = {
            "weights": self.prior.state_dict() if self._shards is None else self._shards.weights(),
            "ema": self.ema.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        if self._shards is not None:
            state = marked(state, self._shards.cuts_of(self._optimizer.parameters))
        return {**state, **self.tallies()}

    def tallies(self) -> dict[str, Any]:
        """What is added up, for the log and for the learning rate."""
        return {
            "means": self._means.copy(),
            "norms": self._norms.copy(),
            "averaged": self._averaged,
            "window": self._window.copy(),
            "plateau": self.plateau.state_dict(),
            "lowest": self.lowest.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self._shards is None:
            self.prior.load_state_dict(state["weights"])
        else:
            state = read(state, self._shards.cuts_of(self._optimizer.parameters))
            self._shards.load(state["weights"])
        self.ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])
        self._norms.load_state_dict(state["norms"])
        self._averaged = bool(state["averaged"])
        self._window.load_state_dict(state["window"])
        self.plateau.load_state_dict(state["plateau"])
        self.lowest.load_state_dict(state["lowest"])


def _shared(prior: Prior, ranks: Ranks, dtype: torch.dtype) -> Shards:
    from dalle.prior.sharded import shard  # with torch's fully_shard, which takes a second to load

    return shard(prior, ranks, dtype)


class _Objective(nn.Module):
    """The two losses as a forward pass, which is what processes share their gradients of."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, text_tokens: Tensor, image_codes: Tensor) -> tuple[Tensor, Tensor]:
        """See `Prior.losses`."""
        return self.prior.losses(text_tokens, image_codes)
