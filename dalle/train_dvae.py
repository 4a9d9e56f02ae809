"""Train a discrete variational autoencoder as the paper does (Ramesh et al. 2021, §2.1 and App. A).

    python -m dalle.train_dvae full --input_folder clean --output_folder dvae
    python -m dalle.train_dvae small --images photographs --output_folder dvae
    torchrun --nproc_per_node 8 -m dalle.train_dvae full --input_folder clean --output_folder dvae

`full` has the paper's figures as defaults, `small` and `tiny` are for small machines; without any arguments it is
`tiny` on the sample's clean pairs. At a budget far below the paper's it begins with a head start (--head_start),
without which most codes would never be used; in the end it says how many are. Pictures come from a dataset of pairs,
or from plain folders. In the output folder are, while it runs, `checkpoints/`, from which the same command goes on
after an interruption as if there had been none, `log.jsonl` and `tensorboard/` (the parts of the loss, the use of the
codes, reconstructions); at the end `model.safetensors`, the averaged weights, which `dalle.dvae.load` reads, and
`manifest.json`. A folder of another training is refused, unless --incremental_mode overwrite says to begin anew.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.train_dvae")  # before the imports below, which take seconds

import functools
import sys
from collections.abc import Sequence
from dataclasses import replace

from dalle.dvae.files import load
from dalle.dvae.network import DVAE
from dalle.dvae.options import PRESETS, TrainDVAEOptions
from dalle.dvae.pictures import training_pictures
from dalle.dvae.run import DVAERun
from dalle.training.command import Sample, TrainingCommand
from dalle.training.loop import check_place, seed_everything, train
from dalle.training.model_file import check_same_sizes, weights_of
from dalle.training.model_folder import ModelRecipe, recipe_in
from dalle.training.options import LoopOptions
from dalle.training.planning import Stretch, Trying, tried_alone
from dalle.training.ranks import Ranks, joined
from schemas import sample
from schemas.contents import check_pictures
from schemas.exit_codes import OK
from schemas.options import options_json

SAMPLE = Sample(dataset=sample.CLEAN, model=sample.DVAE)


def train_dvae(options: TrainDVAEOptions) -> int:
    """Take the steps, from the last checkpoint if there is one, and write the averaged weights; gives the exit code."""
    chosen = options.pictures
    reads = {"--input_folder": [chosen.input_folder], "--images": chosen.images}
    check_place(options.loop, "train_dvae", {**reads, "--validation_images": [chosen.validation_images]})
    for folder in chosen.images:
        check_pictures(folder, "--images")
    with joined(options.loop.device) as ranks:
        before = ranks.from_first(decided_before(options.loop).encode() if ranks.first else None) or b""
        options = options.decided(before.decode())
        seed_everything(options.loop.seed)
        dvae = first_weights(options)
        pictures = training_pictures(options, ranks)
        begun_from = [{"name": "init_from", "sha256": dvae.fingerprint()}] if options.init_from else []
        run = DVAERun(options, ranks, dvae, pictures)
        recipe = ModelRecipe(
            job="train_dvae",
            network=options_json(options.network),
            inputs=[*pictures.inputs, *begun_from],
            options=options_json(options),
            lineage=pictures.lineage,
        )
        weights = sum(value.numel() for value in dvae.parameters())

        def introduce() -> None:
            print(
                f"train_dvae\n\n  pictures: {pictures.source}\n"
                f"  network: {weights:,} weights, {options.network.vocab_size:,} codes"
            )

        train(run, options.loop, ranks, recipe, introduce, functools.partial(_trying, options, ranks))
    return OK


def _trying(options: TrainDVAEOptions, ranks: Ranks) -> Trying:
    """Steps of the head start, if there is one, and of the relaxed bound, for a plan."""
    few = replace(options, loop=tried_alone(options.loop), pictures=replace(options.pictures, workers=0))
    pictures, steps = training_pictures(few, ranks), options.loop.steps
    relaxed = DVAERun(replace(few, head_start="never"), ranks, first_weights(few), pictures, tried=True)
    stretches = [Stretch(until=steps, run=relaxed)]
    if options.head_start == "always":
        until = min(options.head_start_steps, steps)
        stretches.insert(0, Stretch(until=until, run=DVAERun(few, ranks, first_weights(few), pictures)))
    return Trying(stretches, few.loop.batch_size, ahead=options.pictures.workers > 0)


def first_weights(options: TrainDVAEOptions) -> DVAE:
    """The network to begin with: fresh, or that of `--init_from`.

    Raises:
        ValueError: if that one has another size.
    """
    if options.init_from is None:
        return DVAE(options.network)
    dvae = load(weights_of(options.init_from, "train_dvae", "--init_from"))
    check_same_sizes(f"--init_from {options.init_from}", dvae.config, options.network)
    return dvae.train()


def decided_before(options: LoopOptions) -> str:
    """Whether the training that lies in the folder, and is to be gone on with, had a head start; "" if none does."""
    before = recipe_in(options.output_folder)
    if options.incremental_mode == "overwrite" or before is None or before["job"] != "train_dvae":
        return ""
    return str(before["options"].get("head_start", ""))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = TrainingCommand(
        name="dalle.train_dvae", manual=__doc__ or "", presets=PRESETS, train=train_dvae, sample=SAMPLE
    )
    return command.run(argv)


if __name__ == "__main__":
    sys.exit(main())
