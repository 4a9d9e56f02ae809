"""Train the built-in near-duplicate detector.

    python -m dalle.train_detector small --images photographs --output_folder detector

It learns from photographs (`--images`) and from drawn pictures that two edited views of one picture belong together
and no others do. Small pictures come first, because a step on them costs a quarter. In the output folder are, while it
runs, `checkpoints/`, from which the same command goes on after an interruption to the same weights, `log.jsonl` and
`tensorboard/`; at the end `model.safetensors`, the averaged weights, and `manifest.json`. A folder of another training
is refused, unless --incremental_mode overwrite says to begin anew.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded
from schemas.commands.printing import counted

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.train_detector")  # before the imports below, which take seconds

import functools
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch

from dalle.detectors.options import PRESETS, TrainDetectorOptions
from dalle.detectors.pair_batches import PairBatches
from dalle.detectors.run import DetectorRun
from dalle.pictures.folders import picture_files
from dalle.training.command import TrainingCommand
from dalle.training.loop import check_place, seed_everything, train
from dalle.training.model_folder import ModelRecipe
from dalle.training.planning import Stretch, Trying, tried_alone
from dalle.training.ranks import Ranks, joined
from schemas.contents import check_pictures
from schemas.exit_codes import OK
from schemas.options import options_json
from schemas.regular_file import check_regular

_DRAWN = 64
"""Drawn pictures that a plan tries steps on, beside the photographs."""


def train_detector(options: TrainDetectorOptions) -> int:
    """Take the steps and write the averaged weights; gives the exit code."""
    if not options.images:
        raise ValueError("--images is missing; name folders of photographs to learn from")
    check_place(options.loop, "train_detector", {"--images": options.images})
    for folder in options.images:
        check_pictures(folder, "--images")
    torch.set_num_threads(options.threads)
    files = [str(file.relative_to(folder)) for folder in options.images for file in picture_files(folder)]
    with joined(options.loop.device) as ranks:
        seed_everything(options.loop.seed)
        batches = PairBatches(options, files)
        run = DetectorRun(options, ranks, batches)
        weights = sum(value.numel() for value in run.model.parameters())

        def introduce() -> None:
            print(
                f"train_detector\n\n  pictures: {counted(len(files), 'photograph')}, {options.drawn:,} drawn\n"
                f"  network: {weights:,} weights, vectors of {options.network.dimension}"
            )

        recipe = ModelRecipe(
            job="train_detector",
            network=options_json(options.network),
            inputs=[{"name": "images", "sha256": batches.fingerprint}, *_begun_from(options)],
            options=options_json(options),
        )
        train(run, options.loop, ranks, recipe, introduce, functools.partial(_trying, options, ranks))
    return OK


def _trying(options: TrainDetectorOptions, ranks: Ranks) -> Trying:
    """Steps on the smallest pictures, for a plan: on larger ones they take longer by their area."""
    few = replace(options, loop=tried_alone(options.loop), drawn=min(options.drawn, _DRAWN), workers=0)
    run = DetectorRun(few, ranks, PairBatches(few, []))
    ends = [*accumulate(options.side_steps), options.loop.steps]
    areas = [(side / options.sides[0]) ** 2 for side in options.sides]
    stretches = [Stretch(until=end, run=run, times=area) for end, area in zip(ends, areas, strict=True)]
    return Trying(stretches, few.loop.batch_size, ahead=options.workers > 0)


def _begun_from(options: TrainDetectorOptions) -> list[dict[str, str]]:
    if (file := options.begins_with) is None:
        return []
    check_regular(file)
    return [{"name": "init_from", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = TrainingCommand(name="dalle.train_detector", manual=__doc__ or "", presets=PRESETS, train=train_detector)
    return command.run(argv)


if __name__ == "__main__":
    sys.exit(main())
