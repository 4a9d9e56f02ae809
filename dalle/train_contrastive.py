"""Train a model of pictures and texts that tells how well a picture matches a caption (Radford et al. 2021).

    python -m dalle.train_contrastive small --input_folder clean --output_folder contrastive
    torchrun --nproc_per_node 8 -m dalle.train_contrastive base --input_folder clean --output_folder contrastive

It reads the dataset of pairs that `pipelines.ingest` or `pipelines.dedup` left; network and loss are open_clip's.
`full` has CLIP's figures as defaults, `base`, `small` and `tiny` are for fewer GPUs, for a processor, and to try things
out; without any arguments it is `tiny` on the sample's clean pairs. A share of the pairs is held out; at each
evaluation, and at the end, it says how often a picture finds its caption among a hundred of them, and a caption its
picture.

In the output folder are, while it runs, `checkpoints/`, from which the same command goes on after an interruption as if
there had been none, `log.jsonl` and `tensorboard/`; at the end `model.safetensors`, the averaged weights with the
vocabulary, which `dalle.contrastive.load` reads, and `manifest.json`. A folder of another training is refused, unless
--incremental_mode overwrite says to begin anew.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded
from schemas.commands.printing import counted

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.train_contrastive")  # before the imports below, which take seconds

import functools
import sys
from collections.abc import Sequence
from dataclasses import replace

from dalle.contrastive.options import PRESETS, TrainContrastiveOptions
from dalle.contrastive.pairs import TrainingPairs, training_pairs
from dalle.contrastive.run import ContrastiveRun
from dalle.training.command import Sample, TrainingCommand
from dalle.training.loop import check_place, seed_everything, train
from dalle.training.model_folder import ModelRecipe
from dalle.training.planning import Stretch, Trying, tried_alone
from dalle.training.ranks import Ranks, joined
from schemas import sample
from schemas.exit_codes import OK
from schemas.options import options_json

SAMPLE = Sample(dataset=sample.CLEAN, model=sample.CONTRASTIVE, vocabulary=sample.VOCABULARY)


def train_contrastive(options: TrainContrastiveOptions) -> int:
    """Take the steps, from the last checkpoint if there is one, and write the averaged weights; gives the exit code."""
    check_place(options.loop, "train_contrastive", {"--input_folder": [options.pairs.input_folder]})
    with joined(options.loop.device) as ranks:
        pairs = training_pairs(options, ranks)
        seed_everything(options.loop.seed)
        run = ContrastiveRun(options, ranks, pairs)
        weights = sum(value.numel() for value in run.clip.parameters())
        introduce = functools.partial(_introduce, options, pairs, weights)
        trying = functools.partial(_trying, options, ranks)
        train(run, options.loop, ranks, _recipe(options, pairs, run), introduce, trying)
    return OK


def _trying(options: TrainContrastiveOptions, ranks: Ranks) -> Trying:
    """Steps for a plan."""
    few = replace(options, loop=tried_alone(options.loop), pairs=replace(options.pairs, workers=0))
    run = ContrastiveRun(few, ranks, training_pairs(few, ranks))
    stretch = Stretch(until=options.loop.steps, run=run)
    return Trying([stretch], few.loop.batch_size, ahead=options.pairs.workers > 0)


def _recipe(options: TrainContrastiveOptions, pairs: TrainingPairs, run: ContrastiveRun) -> ModelRecipe:
    return ModelRecipe(
        job="train_contrastive",
        network=options_json(run.config),
        inputs=[
            {"name": "pairs", "sha256": pairs.all.fingerprint},
            {"name": "vocabulary", "sha256": pairs.words.tokenizer.fingerprint},
        ],
        options=options_json(options),
        lineage=pairs.all.lineage,
    )


def _introduce(options: TrainContrastiveOptions, pairs: TrainingPairs, weights: int) -> None:
    size, parts = options.size, pairs.parts
    left_out = f"; {pairs.without_caption:,} have no caption and are left out" if pairs.without_caption else ""
    print(
        f"train_contrastive\n\n  pairs: {sum(pairs.all.counts):,} of {options.pairs.input_folder}{left_out}\n"
        f"  held out: {counted(parts.held_out, 'pair')}, {parts.equal_pictures:,} of those trained on have a picture "
        "of theirs\n"
        f"  network: {weights:,} weights, pictures of {size.image_size} x {size.image_size}, {size.text_length} text "
        f"positions of {pairs.words.vocab_size:,} tokens, vectors of {size.dimension}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = TrainingCommand(
        name="dalle.train_contrastive", manual=__doc__ or "", presets=PRESETS, train=train_contrastive, sample=SAMPLE
    )
    return command.run(argv)


if __name__ == "__main__":
    sys.exit(main())
