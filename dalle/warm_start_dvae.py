"""Give the training of a small dVAE a head start: learn with continuous codes first, then choose discrete ones.

    python -m dalle.warm_start_dvae small --images photographs --output_folder warm
    python -m dalle.train_dvae small --images photographs --init_from warm/model.safetensors --output_folder dvae

Not in the paper; `dalle.dvae.head_start` says what is done and why. The output folder holds what `dalle.train_dvae`
leaves; the options are the same, those of beta and tau aside.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    begin_guarded("dalle.warm_start_dvae")  # before the imports below, which take seconds

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dalle.dvae.head_start import Continuous, HeadStartOptions, choose_centres, set_codes
from dalle.dvae.network import DVAE
from dalle.dvae.options import PRESETS
from dalle.dvae.pictures import TrainingPictures, training_pictures
from dalle.dvae.run import DVAERun
from dalle.training.command import TrainingCommand
from dalle.training.loop import seed_everything, train
from dalle.training.model_folder import ModelRecipe
from dalle.training.ranks import Ranks, joined
from schemas.exit_codes import OK
from schemas.options import options_json


class HeadStartRun(DVAERun):
    """As a dVAE's training; at its end the codes are chosen."""

    def __init__(
        self, options: HeadStartOptions, ranks: Ranks, objective: Continuous, pictures: TrainingPictures
    ) -> None:
        super().__init__(options.train, ranks, objective, pictures)
        self._head_start, self._continuous = options, objective

    def save(self, folder: Path) -> Path:
        """The averaged weights, with the codes that k-means chose."""
        with self.ema.in_place():
            set_codes(self._continuous, choose_centres(self._continuous, self.batches, self._head_start))
            return self.write(folder)


def warm_start(options: HeadStartOptions) -> int:
    """Take the steps, choose the codes and write the averaged weights; gives the exit code."""
    loop = options.train.loop
    with joined(loop.device) as ranks:
        seed_everything(loop.seed)
        pictures = training_pictures(options.train, ranks)
        run = HeadStartRun(options, ranks, Continuous(DVAE(options.train.network), options), pictures)
        recipe = ModelRecipe(
            job="warm_start_dvae",
            network=options_json(options.train.network),
            inputs=pictures.inputs,
            options=options_json(options),
            lineage=pictures.lineage,
        )
        train(run, loop, ranks, recipe)
    return OK


def presets() -> Mapping[str, tuple[str, HeadStartOptions]]:
    """Those of `dalle.train_dvae` that are small, with a larger learning rate and fewer steps."""
    (about_small, small), (about_tiny, tiny) = PRESETS["small"], PRESETS["tiny"]
    warm = replace(
        small,
        loop=replace(small.loop, steps=10_000),
        optimizer=replace(small.optimizer, learning_rate=1.5e-3, decay_steps=10_000),
    )
    return {
        "small": (about_small, HeadStartOptions(train=warm)),
        "tiny": (about_tiny, HeadStartOptions(numbers=8, nats=6.5, samples=20_000, train=tiny)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return TrainingCommand(name="dalle.warm_start_dvae", manual=__doc__ or "", presets=presets(), train=warm_start).run(
        argv
    )


if __name__ == "__main__":
    sys.exit(main())
