"""Train the transformer that models captions and pictures as one sequence (Ramesh et al. 2021, §2.2 and App. B).

    python -m dalle.train_prior full --plan --gpus 1024 --tflops 30
    python -m dalle.train_prior small --input_folder examples --output_folder prior
    torchrun --nproc_per_node 8 -m dalle.train_prior base --input_folder examples --output_folder prior
    torchrun --nproc_per_node 8 -m dalle.train_prior full --shard 8 --input_folder examples --output_folder prior
    torchrun --nproc_per_node 4 -m dalle.train_prior small --shard 2 --powersgd_rank 128 --precision float16_scaled \\
        --input_folder examples --output_folder prior

`full`, `large` and `medium` are the paper's three networks with the paper's figures as defaults, `base`, `small` and
`tiny` are for fewer GPUs, for a processor, and to try things out; without any arguments it is `tiny` on the sample's
examples. It reads the dataset that `pipelines.encode` left; grid and vocabularies are those of the dataset. A share of
the examples is held out, and their loss is printed beside that of unigram and bigram models fitted on the others.

In the output folder are, while it runs, `checkpoints/`, from which the same command goes on after an interruption as if
there had been none, `log.jsonl` and `tensorboard/`; at the end `model.safetensors`, the averaged weights, which
`dalle.prior.load` reads, with the fingerprints of the vocabulary and the dVAE that they are for, and `manifest.json`. A
folder of another training is refused, unless --incremental_mode overwrite says to begin anew.

It exits with 1 if the loss has not fallen.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded
from schemas.commands.printing import counted

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.train_prior")  # before the imports below, which take seconds

import contextlib
import functools
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dalle.dvae.image_encoders import DVAEEncoder, load_encoder
from dalle.prior.codebook import code_vectors
from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.network import Prior
from dalle.prior.options import PRESETS, ExampleOptions, TrainPriorOptions
from dalle.prior.plan import needs
from dalle.prior.run import PriorRun
from dalle.prior.sent import compresses
from dalle.prior.validation import split
from dalle.prior.watching import Validation
from dalle.reading.batches import Batches
from dalle.reading.endless import Endless
from dalle.reading.example_shards import ExampleShards
from dalle.reading.holding_out import Split
from dalle.shipped import names, shipped
from dalle.text import tokenizer
from dalle.training.command import Sample, TrainingCommand
from dalle.training.logs import read_log
from dalle.training.loop import check_place, seed_everything, train
from dalle.training.model_folder import ModelRecipe
from dalle.training.planning import standing
from dalle.training.ranks import Ranks, is_first, joined
from schemas import sample
from schemas.exit_codes import FAILED, OK
from schemas.options import options_json
from schemas.planning import Plan, Planned, check_is_there, with_hours

SAMPLE = Sample(dataset=sample.EXAMPLES, model=sample.PRIOR, vocabulary=sample.VOCABULARY)


def train_prior(options: TrainPriorOptions) -> int:
    """Take the steps and leave the weights; gives the exit code, which says whether the loss fell."""
    if options.loop.say.plan:
        if is_first():
            raise Planned(_plan(options))
        return OK
    if options.examples.input_folder is None:
        raise ValueError("--input_folder is missing; say which examples to train on")
    check_place(options.loop, "train_prior", {"--input_folder": [options.examples.input_folder]})
    began = time.monotonic()
    with joined(options.loop.device, options.sharding.together) as ranks:
        ranks.share(options.loop.batch_size, "--batch_size")
        shards = example_shards(options.examples)
        parts = split(shards, options.examples.validation_share, ranks)
        if options.plateau.plateau_on == "validation" and not parts.held_out:
            raise ValueError(
                f"--plateau_on validation: of the {sum(shards.counts):,} examples of {options.examples.input_folder} "
                "none could be held out, so there is nothing to go by; give more examples, or --plateau_on training"
            )
        vectors = _code_vectors(options, shards)
        seed_everything(options.loop.seed)
        with torch.device("meta") if ranks.together else contextlib.nullcontext():  # no process is to hold all weights
            prior = Prior(network_for(shards, options), recompute=options.recompute, code_vectors=vectors)
        together = ranks if ranks.together else None
        validation = Validation(parts, options.examples.eval_examples, 4 * options.micro_batch_size, together)
        run = PriorRun(
            options,
            ranks,
            prior,
            Endless(_batches(parts.training, options, ranks)),
            validation if parts.held_out else None,
            {"vocabulary": shards.vocabulary, "dvae": shards.dvae, "lineage": list(shards.lineage)},
        )
        introduce = functools.partial(_introduce, options, parts, prior, ranks)
        trained = train(run, options.loop, ranks, _recipe(options, shards, prior.config), introduce)
        if not ranks.first:
            return OK
    took = f", {time.monotonic() - began:,.1f} s" if trained else ""
    return _say_whether_it_fell(options.loop.output_folder, took)


def example_shards(options: ExampleOptions, *, dropout: bool = True) -> ExampleShards:
    """The dataset; all of it.

    Args:
        options: which one.
        dropout: whether captions are to be made into tokens anew; without it the vocabulary is not needed.

    Raises:
        ValueError: if it is none of examples, was never cleaned, or was made with another vocabulary.
    """
    words, rate = None, options.bpe_dropout if dropout else 0.0
    if rate:
        words = tokenizer.load(options.vocabulary)
    return ExampleShards(
        options.input_folder or "",
        dropout=rate,
        tokenizer=words,
        text_length=options.text_length,
        allow_undeduplicated=options.allow_undeduplicated,
    )


def network_for(shards: ExampleShards, options: TrainPriorOptions) -> PriorConfig:
    """The network that fits the examples, of the size that the options name."""
    return PriorConfig(
        vocab_size=shards.vocab_size,
        image_vocab_size=shards.image_vocab_size,
        text_length=shards.text_length,
        codes=shards.codes,
        layers=options.size.layers,
        heads=options.size.heads,
        head_size=options.size.head_size,
    )


def _code_vectors(options: TrainPriorOptions, shards: ExampleShards) -> Tensor | None:
    """What codes begin with, [K, D]; None where they begin at random."""
    if options.codebook is None:
        return None
    encoder = load_encoder(options.codebook)
    if encoder.fingerprint() != shards.dvae:
        raise ValueError(
            f"--codebook {options.codebook}: is not the dVAE that {options.examples.input_folder} was made with; give "
            "the one that pipelines.encode was given"
        )
    if not isinstance(encoder, DVAEEncoder):
        raise ValueError(f"--codebook {options.codebook}: is an encoder of your own, whose codes stand for no numbers")
    try:
        return code_vectors(encoder.codebook, options.size.heads * options.size.head_size)
    except ValueError as error:
        raise ValueError(f"--codebook {options.codebook}: {error}; leave it out") from None


def _plan(options: TrainPriorOptions) -> Plan:
    """What it will take: for the examples if they are named, otherwise for the paper's text and grid."""
    size, found = options.size, Plan(state="to do", all=options.loop.steps, unit="step")
    network = PriorConfig(
        text_length=options.examples.text_length, layers=size.layers, heads=size.heads, head_size=size.head_size
    )
    if options.examples.input_folder is not None:
        check_place(options.loop, "train_prior", {"--input_folder": [options.examples.input_folder]})
        if options.examples.bpe_dropout and not shipped(options.examples.vocabulary, "vocabulary"):
            check_is_there(options.examples.vocabulary)
        if options.codebook is not None and options.codebook not in ("openai", *names("dvae")):
            check_is_there(options.codebook)
        shards = example_shards(options.examples, dropout=False)
        network = network_for(shards, options)
        found = standing(options.loop, _recipe(options, shards, network))
    if found.state == "done":
        return found
    takes = needs(options, network)
    print("train_prior, the plan: no examples are read, nothing is written\n")
    for line in takes.lines:
        print(line)
    made = replace(found, introduced=True, figures=takes.figures)
    if found.hours is not None:
        return made
    left = 1 - found.done / options.loop.steps
    return with_hours(made, left * takes.seconds, "from the FLOP of its products; evaluations are not counted")


def _batches(shards: ExampleShards, options: TrainPriorOptions, ranks: Ranks) -> Batches:
    return Batches(
        shards,
        batch_size=options.loop.batch_size,
        seed=options.loop.seed,
        rank=ranks.rank,
        ranks=ranks.count,
        workers=options.examples.workers,
    )


def _recipe(options: TrainPriorOptions, shards: ExampleShards, network: PriorConfig) -> ModelRecipe:
    return ModelRecipe(
        job="train_prior",
        network=options_json(network),
        inputs=[
            {"name": "examples", "sha256": shards.fingerprint},
            {"name": "vocabulary", "sha256": shards.vocabulary},
            {"name": "dvae", "sha256": shards.dvae},
        ],
        options=_what_changes_bytes(options),
        lineage=shards.lineage,
    )


def _what_changes_bytes(options: TrainPriorOptions) -> dict[str, Any]:
    """As the recipe has it: where the learning rate follows evaluations, it matters how often there is one."""
    follows = options.plateau.plateau_on == "validation"
    begins = {} if options.codebook is None else {"codebook": "of the dVAE"}  # which one, the inputs say
    return options_json(options) | begins | ({"eval_every": options.loop.eval_every} if follows else {})


def _introduce(options: TrainPriorOptions, parts: Split[ExampleShards], prior: nn.Module, ranks: Ranks) -> None:
    shards, optimizer = parts.training, options.optimizer
    weights = sum(value.numel() for value in prior.parameters())
    guess = weighted(*(torch.tensor(math.log(size)) for size in (shards.vocab_size, shards.image_vocab_size)))
    print(
        f"train_prior\n\n  examples: {sum(shards.counts):,} of {options.examples.input_folder} to train on, "
        f"{shards.text_length} text positions of {shards.vocab_size:,} tokens and {shards.codes:,} codes of "
        f"{shards.image_vocab_size:,} each\n"
        f"  held out: {_held_out(parts)}\n"
        f"  network: {options.size.layers} layers, {weights:,} weights; one that only guesses has a loss of {guess:.2f}"
    )
    if options.sharding.powersgd_rank and ranks.groups == 1:
        print(
            f"  processes: {ranks.count}, which are one group, so nothing is sent between groups and --powersgd_rank "
            f"{options.sharding.powersgd_rank} compresses nothing"
        )
    elif options.sharding.powersgd_rank and not compresses(
        network_for(shards, options), options.sharding.powersgd_rank
    ):
        print(
            f"  --powersgd_rank {options.sharding.powersgd_rank} compresses nothing, for no matrix of this network is "
            "larger than its factors of that rank"
        )
    if optimizer.decay_steps not in (0, options.loop.steps):
        print(
            f"  learning rate: its cosine ends after {optimizer.decay_steps:,} steps, the training after "
            f"{options.loop.steps:,}; --decay_steps {options.loop.steps} has them end together"
        )


def _held_out(parts: Split[ExampleShards]) -> str:
    if not parts.held_out:
        return "no examples, so nothing will be said of what is learnt beyond them"
    held_out = counted(parts.held_out, "example")
    if not parts.equal_pictures:
        return f"{held_out}; none that is trained on has the codes of one of them"
    return f"{held_out}; {parts.equal_pictures:,} that are trained on have the codes of one of them"


def _say_whether_it_fell(folder: Path, took: str) -> int:
    losses = [line["loss"] for line in read_log(folder) if "loss" in line]
    if len(losses) < 2:
        print(f"  {folder}: its log has fewer than two losses, so whether it fell cannot be said")
        return OK
    first, last = losses[0], losses[-1]
    if not last < first:
        print(
            f"dalle.train_prior: the loss did not fall: {first:.3f} at first, {last:.3f} in the end; give more "
            "--steps or another --learning_rate, and check the examples with python -m pipelines.audit",
            file=sys.stderr,
        )
        return FAILED
    print(f"  the loss fell from {first:.3f} to {last:.3f} nats a token{took}")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    command = TrainingCommand(
        name="dalle.train_prior",
        manual=__doc__ or "",
        presets=PRESETS,
        train=train_prior,
        sample=SAMPLE,
    )
    return command.run(argv)


if __name__ == "__main__":
    sys.exit(main())
