"""Train a small transformer on examples, to see that they can be learnt from: its loss must fall.

    python -m dalle.train_prior tiny --input_folder examples --output_folder prior

reads the dataset that `pipelines.encode` left through `dalle.reading.batches` and says what the loss was and has
become; it exits with 1 if that is not less. Without any arguments it takes the sample's examples. In the output folder
are `log.jsonl` and `tensorboard/` (the loss and its parts) and `checkpoints/` (the weights, with the fingerprints of
the vocabulary and the dVAE they are for).

This is the beginning of the paper's training, not yet the whole: two layers of dense attention, one process, a
constant step size after a warm-up, no running average, tokens without BPE dropout, and no going on after an
interruption, for it takes a minute.
"""

from __future__ import annotations

import itertools
import math
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from dalle.flags import parse
from dalle.prior.network import Prior, PriorConfig, weighted
from dalle.prior.options import SIZES, TrainPriorOptions
from dalle.reading.batches import Batch, Batches
from dalle.reading.example_shards import ExampleShards
from dalle.training import checkpoint
from dalle.training.steps import Log, Stepper, device_of, seed_everything, speak
from schemas import sample

BETAS = (0.9, 0.96)
"""Of AdamW (App. B.4)."""
PARTS = ("loss", "text", "image")


def train(options: TrainPriorOptions) -> tuple[float, float]:
    """Run the updates and leave the weights; gives the mean loss of the first and of the last tenth of them."""
    if options.input_folder is None:
        raise ValueError("--input_folder is missing; say which examples to train on")
    device = device_of(options.device)
    shards = ExampleShards(options.input_folder, allow_undeduplicated=options.allow_undeduplicated)
    batches = Batches(shards, batch_size=options.batch_size, seed=options.seed, workers=options.workers)
    seed_everything(options.seed)
    prior = Prior(config(shards, options)).to(device)
    _tell_what(options, shards, prior)
    optimiser = torch.optim.AdamW(prior.parameters(), betas=BETAS, eps=1e-8, weight_decay=options.weight_decay)
    stepper = Stepper(optimiser, options.precision, device)
    forget_earlier_run(options.output_folder)
    log, found = Log(options.output_folder, 0), []
    for update, batch in enumerate(itertools.islice(for_ever(batches), options.updates)):
        found.append(one_update(prior, stepper, batch, update, options))
        if (update + 1) % options.log_every == 0:
            means = torch.tensor(found[-options.log_every :], dtype=torch.float64).mean(0).tolist()
            log.figures(update + 1, dict(zip(PARTS, means, strict=True)))
            loss, text, codes = (f"{mean:.3f}" for mean in means)
            print(
                f"  update {update + 1:,} of {options.updates:,}: loss {loss}, text {text}, codes {codes}", flush=True
            )
    log.close()
    made_for = {"vocabulary": shards.vocabulary, "dvae": shards.dvae, "network": asdict(prior.config)}
    path = checkpoint.save(
        options.output_folder / "checkpoints", options.updates, made_for | {"weights": prior.state_dict()}
    )
    print(f"  weights: {path}")
    tenth = max(1, options.updates // 10)
    every = [loss for loss, *_ in found]
    return sum(every[:tenth]) / tenth, sum(every[-tenth:]) / tenth


def forget_earlier_run(folder: Path) -> None:
    """Delete what an earlier run of this job left.

    Raises:
        ValueError: if it is another job's, such as the checkpoints of a dVAE.
    """
    left = sorted((folder / "checkpoints").glob("*.safetensors"))
    for path in left:
        if "vocabulary" not in checkpoint.load(path):
            raise ValueError(f"{path}: is a checkpoint of another training; give another --output_folder")
    for path in left:
        path.unlink()
    if left:
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def config(shards: ExampleShards, options: TrainPriorOptions) -> PriorConfig:
    """The network that fits the examples, of the asked size."""
    return PriorConfig(
        vocab_size=shards.vocab_size,
        image_vocab_size=shards.image_vocab_size,
        codes=shards.codes,
        layers=options.layers,
        heads=options.heads,
        head_size=options.head_size,
    )


def one_update(
    prior: Prior, stepper: Stepper, batch: Batch, update: int, options: TrainPriorOptions
) -> tuple[float, float, float]:
    """Change the weights once; gives the loss and its parts before."""
    device = prior.to_text.weight.device
    text_tokens, image_codes = batch["text_tokens"].to(device), batch["image_codes"].to(device)
    with stepper.autocast():
        text, image = prior.losses(text_tokens, image_codes)
    loss = weighted(text, image)
    stepper.backward(loss)
    stepper.clip(options.clip)
    stepper.step(options.step_size * min(1.0, (update + 1) / max(options.warm_up, 1)))
    return float(loss.detach()), float(text.detach()), float(image.detach())


def for_ever(batches: Batches) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from batches


def _tell_what(options: TrainPriorOptions, shards: ExampleShards, prior: nn.Module) -> None:
    weights = sum(value.numel() for value in prior.parameters())
    guess = math.log(shards.vocab_size) / 8 + 7 / 8 * math.log(shards.image_vocab_size)
    print(
        f"train_prior\n\n  examples: {sum(shards.counts):,} of {options.input_folder}, up to 256 text tokens of "
        f"{shards.vocab_size:,} and {shards.codes:,} codes of {shards.image_vocab_size:,} each\n"
        f"  network: {options.layers} layers, {weights:,} weights; one that only guesses has a loss of {guess:.2f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train; the exit code is 1 if the loss did not fall and 2 if the options or the data cannot be used."""
    given = list(sys.argv[1:] if argv is None else argv)
    speak()
    begun = time.monotonic()
    try:
        if not given:
            given = ["tiny", "--input_folder", sample.sample_folder(sample.EXAMPLES), "--output_folder", sample.PRIOR]
            print(f"no arguments given: {' '.join(given)}")
        first, last = train(parse("dalle.train_prior", __doc__ or "", SIZES, given))
    except (ValueError, OSError) as error:
        print(f"dalle.train_prior: {error}", file=sys.stderr)
        return 2
    if not last < first:
        print(
            f"dalle.train_prior: the loss did not fall: {first:.3f} at first, {last:.3f} in the end; give more "
            "--updates or another --step_size, and check the examples with python -m pipelines.audit",
            file=sys.stderr,
        )
        return 1
    print(f"  the loss fell from {first:.3f} to {last:.3f} nats a token, {time.monotonic() - begun:,.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
