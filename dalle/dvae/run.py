"""The training of a dVAE in progress: its head start and relaxed bound, or those of a patch network."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dalle.dvae.bound import RelaxedBound
from dalle.dvae.files import save
from dalle.dvae.head_start import FOR_CHOOSING, FOR_LOOKING, Continuous, with_codes
from dalle.dvae.network import DVAE
from dalle.dvae.options import TrainDVAEOptions
from dalle.dvae.patch_codes import begin, tie
from dalle.dvae.phase import Phase
from dalle.dvae.pictures import TrainingPictures
from dalle.dvae.straight_through import StraightThrough
from dalle.dvae.watching import LOOKED_AT, CodeUsage, measure_usage, reconstruct, validation_pictures
from dalle.reading.batches import Batch
from dalle.training.logs import Log
from dalle.training.ranks import Ranks
from schemas.commands.stopping import at_once
from schemas.manifest import WEIGHTS


class DVAERun:
    """A dVAE's training for `dalle.training.loop`, in one or two phases with one count of steps.

    The codes are chosen at the beginning of the first step after the head start, from the averaged weights at its end
    and the first pictures of the data: so a training that goes on from any checkpoint chooses the same. Until that step
    is whole the run is still in the head start, whatever stops it. A patch network gets its first weights and codes at
    the beginning of the very first step in the same way, unless it begins with another's.

    Args:
        options: of the training, with the head start decided.
        ranks: the processes that train.
        dvae: the network to begin with.
        pictures: what is trained on.
        tried: its steps are only timed, for which a patch network's codes need not be chosen.
    """

    def __init__(
        self, options: TrainDVAEOptions, ranks: Ranks, dvae: DVAE, pictures: TrainingPictures, *, tried: bool = False
    ) -> None:
        self.batches = pictures.batches
        self._options, self._ranks, self._pictures = options, ranks, pictures
        self._head_start = options.head_start_steps if options.head_start == "always" else 0
        self._since = 0
        """Step that the phase began with."""
        self._codeless = bool(options.network.patches) and options.init_from is None and not tried
        """Whether it is a patch network before its first step."""
        self._phase = self._continuous(dvae) if self._head_start else self._coded(dvae)

    def _continuous(self, dvae: DVAE) -> Phase:
        """The head start; its learning rate falls within it."""
        optimizer = self._options.optimizer
        if optimizer.decay_steps:
            optimizer = replace(optimizer, decay_steps=self._head_start)
        return Phase(self._options, optimizer, self._ranks, Continuous(dvae, self._options.min_scale))

    def _coded(self, dvae: DVAE) -> Phase:
        """What has codes, or will have them before its first step."""
        options = self._options
        objective = (
            StraightThrough(dvae)
            if options.network.patches
            else RelaxedBound(dvae, options.relaxation, options.min_scale)
        )
        return Phase(options, options.optimizer, self._ranks, objective)

    def step(self, batch: Batch, step: int) -> None:
        """One step from this process's share of a batch, `images` [B, 3, H, W] uint8."""
        phase, since = self._phase, self._since
        if isinstance(phase.objective, Continuous) and step >= self._head_start:
            with self._finished(FOR_CHOOSING if self._ranks.first else 0) as dvae, at_once():
                phase, since = self._coded(dvae), step
        elif self._codeless:
            with at_once():
                phase = self._coded(self._with_first_codes(phase.objective.dvae))
        phase.step(batch["images"], step - since)
        self._phase, self._since, self._codeless = phase, since, False

    def _with_first_codes(self, dvae: DVAE) -> DVAE:
        """A patch network that is ready for its first step; of several processes the first one's counts."""
        dvae = copy.deepcopy(dvae).cpu().requires_grad_(True)
        if self._ranks.first:
            begin(dvae, self._pictures.first(self._portion), self._options.loop.seed)
        return dvae

    @contextlib.contextmanager
    def _finished(self, positions: int) -> Iterator[DVAE]:
        """The dVAE with the averaged weights, for use inside the block; after a head start its codes are chosen.

        Args:
            positions: among which they are chosen, for each code; 0: they are not, and mean nothing.
        """
        objective = self._phase.objective
        with self._phase.ema.in_place():
            if isinstance(objective, Continuous):
                with at_once():
                    dvae = with_codes(objective, self._pictures.first(self._portion), positions)
                yield dvae
            elif isinstance(objective, StraightThrough):
                with at_once():
                    tie(dvae := copy.deepcopy(objective.dvae))
                yield dvae
            else:
                yield objective.dvae

    @property
    def _portion(self) -> int:
        return min(self._options.micro_batch_size, self._options.loop.batch_size)

    def figures(self, step: int, _samples_per_second: float) -> dict[str, float]:
        """Loss and its parts, beta, tau, the learning rate, and the use of the codes."""
        return self._phase.figures(step - self._since)

    def summary(self, figures: Mapping[str, float]) -> str:
        """Loss, error and codes in use."""
        vocab_size = self._options.network.vocab_size
        parts = [f"loss {figures['loss']:.3f}"]
        parts += [f"off by {100 * figures[name]:.1f} % of the range" for name in figures if name.endswith("error")]
        if "codes_dead" in figures:
            parts.append(f"{vocab_size - figures['codes_dead']:,.0f} of {vocab_size:,} codes in use")
        elif "nats_per_position" in figures:
            parts.append("head start, no codes yet")
        return ", ".join([*parts, f"{figures['samples_per_second']:,.1f} images/s"])

    def watch(self, step: int, log: Log) -> None:
        """Reconstructions by the averaged weights, of pictures that are not trained on if there are any."""
        folder = self._options.pictures.validation_images
        originals = (
            next(self._pictures.first(LOOKED_AT))
            if folder is None
            else validation_pictures(folder, self._options.pictures.resolution)
        )
        with self._finished(FOR_LOOKING) as dvae, at_once():
            seen = reconstruct(dvae, originals)
        kind = "training" if folder is None else "validation"
        log.figures(step, {f"{kind}_{name}": value for name, value in seen.figures.items()})
        log.images(step, "original_and_reconstruction", seen.shown)

    def save(self, folder: Path) -> Path:
        """The averaged weights; says how many of the codes are in use, and loudly if it is less than half."""
        with self._finished(FOR_CHOOSING) as dvae:
            save(dvae, folder / WEIGHTS)
            usage = measure_usage(dvae, self._pictures.first(self._portion))
        print(f"  codes: {usage}", flush=True)
        if usage.few:
            print(too_few_codes(usage, self._options), file=sys.stderr, flush=True)
        return folder / WEIGHTS

    def state_dict(self) -> dict[str, Any]:
        """All that changes with a step."""
        in_head_start = isinstance(self._phase.objective, Continuous)
        return {
            **self._phase.state_dict(),
            "in_head_start": in_head_start,
            "since": self._since,
            "codeless": self._codeless,
        }

    def tallies(self) -> dict[str, Any]:
        """What is added up for the log."""
        return self._phase.tallies()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, in the phase that it was in."""
        in_head_start, since = state["in_head_start"], int(state["since"])
        dvae = self._phase.objective.dvae.requires_grad_(True)
        self._phase, self._since = (self._continuous if in_head_start else self._coded)(dvae), since
        self._codeless = state.get("codeless", False)  # which trainings from before there were patch networks lack
        self._phase.load_state_dict(state)


def too_few_codes(usage: CodeUsage, options: TrainDVAEOptions) -> str:
    """The sentence that says so, and what to do."""
    more = "more --steps or --warmup_steps, a lower --learning_rate or --beta, or a smaller --vocab_size"
    if options.head_start == "never" and options.init_from is None:
        more = f"--head_start always, {more}"
    return (
        f"dalle.train_dvae: only {usage}, fewer than half, so most of the codebook says nothing: train with {more} "
        "before anything is encoded with it"
    )
