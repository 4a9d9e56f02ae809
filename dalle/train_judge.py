"""Train a judge of drawn scenes: which things a picture shows, in which colours, where, on what background.

    python -m dalle.train_judge small --output_folder judge

It is trained on true drawings of all combinations of the dialect (`dalle.scenes.dialect`), new ones for every step, so
it takes no data; its seeds are those of no web and no evaluation. `dalle.judge` tells with it of each picture that was
drawn whether it shows what its caption says. In the output folder are, while it runs, `checkpoints/`, from which the
same command goes on after an interruption to the same weights, `log.jsonl` and `tensorboard/`; at the end
`model.safetensors`, the averaged weights, and `manifest.json`. A folder of another training is refused, unless
--incremental_mode overwrite says to begin anew.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.train_judge")  # before the imports below, which take seconds

import functools
import sys
from collections.abc import Sequence
from dataclasses import replace

from dalle.scene_judge.options import PRESETS, TrainJudgeOptions
from dalle.scene_judge.run import JudgeRun
from dalle.training.command import TrainingCommand
from dalle.training.loop import check_place, seed_everything, train
from dalle.training.model_folder import ModelRecipe
from dalle.training.planning import Stretch, Trying, tried_alone
from dalle.training.ranks import Ranks, joined
from schemas.exit_codes import OK
from schemas.options import options_json


def train_judge(options: TrainJudgeOptions) -> int:
    """Take the steps and write the averaged weights; gives the exit code."""
    check_place(options.loop, "train_judge", {})
    with joined(options.loop.device) as ranks:
        seed_everything(options.loop.seed)
        run = JudgeRun(options, ranks)
        weights = sum(value.numel() for value in run.model.parameters())
        recipe = ModelRecipe(
            job="train_judge", network=options_json(options.network), inputs=[], options=options_json(options)
        )

        def introduce() -> None:
            print(f"train_judge\n\n  network: {weights:,} weights")

        train(run, options.loop, ranks, recipe, introduce, functools.partial(_trying, options, ranks))
    return OK


def _trying(options: TrainJudgeOptions, ranks: Ranks) -> Trying:
    """Steps for a plan."""
    few = replace(options, loop=tried_alone(options.loop), workers=0)
    stretch = Stretch(until=options.loop.steps, run=JudgeRun(few, ranks))
    return Trying([stretch], few.loop.batch_size, ahead=options.workers > 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = TrainingCommand(name="dalle.train_judge", manual=__doc__ or "", presets=PRESETS, train=train_judge)
    return command.run(argv)


if __name__ == "__main__":
    sys.exit(main())
