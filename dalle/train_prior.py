"""Train a small transformer on examples, to see that they can be learnt from: its loss must fall.

    python -m dalle.train_prior tiny --input_folder examples --output_folder prior

reads the dataset that `pipelines.encode` left through `dalle.reading.batches` and says what the loss was and has
become; it exits with 1 if that is not less. Without any arguments it takes the sample's examples. In the output folder
are `checkpoints/`, from which the same command goes on after an interruption, `log.jsonl` and `tensorboard/` (the loss
and its parts), and at the end `model.safetensors` (the weights, with the fingerprints of the vocabulary and the dVAE
they are for) and `manifest.json`. A folder of another training is refused, unless --incremental_mode overwrite says to
begin anew.

This is the beginning of the paper's training, not yet the whole: two layers of dense attention, one process, a
constant learning rate after a warm-up, no running average, tokens without BPE dropout.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    begin_guarded("dalle.train_prior")  # before the imports below, which take seconds

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from dalle.prior.config import PriorConfig
from dalle.prior.network import Prior
from dalle.prior.options import PRESETS, TrainPriorOptions
from dalle.prior.run import PriorRun
from dalle.reading.batches import Batches
from dalle.reading.endless import Endless
from dalle.reading.example_shards import ExampleShards
from dalle.training.command import Sample, TrainingCommand
from dalle.training.logs import read_log
from dalle.training.loop import seed_everything, train
from dalle.training.model_folder import ModelRecipe
from dalle.training.ranks import joined
from schemas import sample
from schemas.exit_codes import FAILED, OK
from schemas.options import options_json

SAMPLE = Sample(dataset=sample.EXAMPLES, model=sample.PRIOR)


def train_prior(options: TrainPriorOptions) -> int:
    """Take the steps and leave the weights; gives the exit code, which says whether the loss fell."""
    if options.input_folder is None:
        raise ValueError("--input_folder is missing; say which examples to train on")
    began = time.monotonic()
    with joined(options.loop.device) as ranks:
        shards = ExampleShards(options.input_folder, allow_undeduplicated=options.allow_undeduplicated)
        batches = Batches(shards, batch_size=options.loop.batch_size, seed=options.loop.seed, workers=options.workers)
        seed_everything(options.loop.seed)
        prior = Prior(network_for(shards, options))
        made_for = {"vocabulary": shards.vocabulary, "dvae": shards.dvae}
        run = PriorRun(options, ranks, prior, Endless(batches), made_for)
        _introduce(options, shards, prior)
        train(run, options.loop, ranks, _recipe(options, shards, prior))
    return _say_whether_it_fell(options.loop.output_folder, time.monotonic() - began)


def network_for(shards: ExampleShards, options: TrainPriorOptions) -> PriorConfig:
    """The network that fits the examples, of the size that the options name."""
    return PriorConfig(
        vocab_size=shards.vocab_size,
        image_vocab_size=shards.image_vocab_size,
        codes=shards.codes,
        layers=options.layers,
        heads=options.heads,
        head_size=options.head_size,
    )


def _recipe(options: TrainPriorOptions, shards: ExampleShards, prior: Prior) -> ModelRecipe:
    return ModelRecipe(
        job="train_prior",
        network=options_json(prior.config),
        inputs=[
            {"name": "examples", "sha256": shards.fingerprint},
            {"name": "vocabulary", "sha256": shards.vocabulary},
            {"name": "dvae", "sha256": shards.dvae},
        ],
        options=options_json(options),
        lineage=shards.lineage,
    )


def _introduce(options: TrainPriorOptions, shards: ExampleShards, prior: nn.Module) -> None:
    weights = sum(value.numel() for value in prior.parameters())
    guess = math.log(shards.vocab_size) / 8 + 7 / 8 * math.log(shards.image_vocab_size)
    print(
        f"train_prior\n\n  examples: {sum(shards.counts):,} of {options.input_folder}, up to 256 text tokens of "
        f"{shards.vocab_size:,} and {shards.codes:,} codes of {shards.image_vocab_size:,} each\n"
        f"  network: {options.layers} layers, {weights:,} weights; one that only guesses has a loss of {guess:.2f}"
    )


def _say_whether_it_fell(folder: Path, seconds: float) -> int:
    losses = [line["loss"] for line in read_log(folder) if "loss" in line]
    if not losses:
        print(f"  {folder}: its log is gone, so whether the loss fell cannot be said")
        return OK
    first, last = losses[0], losses[-1]
    if not last < first:
        print(
            f"dalle.train_prior: the loss did not fall: {first:.3f} at first, {last:.3f} in the end; give more "
            "--steps or another --learning_rate, and check the examples with python -m pipelines.audit",
            file=sys.stderr,
        )
        return FAILED
    print(f"  the loss fell from {first:.3f} to {last:.3f} nats a token, {seconds:,.1f} s")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = TrainingCommand(
        name="dalle.train_prior", manual=__doc__ or "", presets=PRESETS, train=train_prior, sample=SAMPLE
    )
    return command.run(argv)


if __name__ == "__main__":
    sys.exit(main())
