"""Train a discrete variational autoencoder as the paper does (Ramesh et al. 2021, §2.1 and App. A).

    python -m dalle.train_dvae full --input_folder clean --output_folder dvae
    python -m dalle.train_dvae small --images photographs --output_folder dvae
    torchrun --nproc_per_node 8 -m dalle.train_dvae full --input_folder clean --output_folder dvae

`full` has the paper's figures as defaults, `small` and `tiny` are for small machines. Pictures come from a dataset of
pairs, or from plain folders. In the output folder are, while it runs, `checkpoints/`, from which the same command
goes on after an interruption as if there had been none, `log.jsonl` and `tensorboard/` (the parts of the loss, the
use of the codes, reconstructions); at the end `dvae.safetensors`, the averaged weights, which `dalle.dvae.load` reads.

On a processor, THP_MEM_ALLOC_ENABLE=1 in the environment makes it a third faster: torch then asks for huge pages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dalle.bound import RelaxedBound
from dalle.dvae import DVAE, load, save
from dalle.dvae_options import SIZES, TrainOptions
from dalle.dvae_run import Run, go_on
from dalle.flags import parse
from dalle.training import joined, seed_everything


def train(options: TrainOptions) -> None:
    """Run the updates, from the last checkpoint if there is one, and write the averaged weights."""
    with joined(options.device) as ranks:
        seed_everything(options.seed)
        run = Run(options, ranks, RelaxedBound(first_weights(options), options.schedule, options.least_b))
        go_on(run)
        if ranks.first:
            with run.average.in_place():
                save(run.dvae, options.output_folder / "dvae.safetensors")


def first_weights(options: TrainOptions) -> DVAE:
    """The network to begin with: fresh, or that of `--start_from`.

    Raises:
        ValueError: if that one has another size.
    """
    if options.start_from is None:
        return DVAE(options.network)
    dvae = load(options.start_from)
    if dvae.config != options.network:
        raise ValueError(f"{options.start_from}: is a network with {dvae.config}, expected {options.network}")
    return dvae.train()


def main(argv: Sequence[str] | None = None) -> int:
    """Train; the exit code is 2 if the options or the data cannot be used."""
    try:
        train(parse("dalle.train_dvae", __doc__ or "", SIZES, argv))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
