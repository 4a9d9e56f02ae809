"""Train a discrete variational autoencoder as the paper does (Ramesh et al. 2021, §2.1 and App. A).

    python -m dalle.train_dvae full --input_folder clean --output_folder dvae
    python -m dalle.train_dvae small --images photographs --output_folder dvae
    torchrun --nproc_per_node 8 -m dalle.train_dvae full --input_folder clean --output_folder dvae

`full` has the paper's figures as defaults, `small` and `tiny` are for small machines; without any arguments it is
`tiny` on the sample's clean pairs. Pictures come from a dataset of pairs, or from plain folders. In the output folder
are, while it runs, `checkpoints/`, from which the same command goes on after an interruption as if there had been
none, `log.jsonl` and `tensorboard/` (the parts of the loss, the use of the codes, reconstructions); at the end
`dvae.safetensors`, the averaged weights, which `dalle.dvae.load` reads.

On a processor, THP_MEM_ALLOC_ENABLE=1 in the environment makes it a third faster: torch then asks for huge pages.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dalle.dvae.bound import RelaxedBound
from dalle.dvae.network import DVAE, load, save
from dalle.dvae.options import SIZES, TrainOptions
from dalle.dvae.run import Run, go_on
from dalle.flags import parse
from dalle.training import checkpoint
from dalle.training.steps import joined, seed_everything, speak
from schemas import sample
from schemas.folder import Folder
from schemas.manifest import fingerprint, read_manifest


def train(options: TrainOptions) -> None:
    """Run the updates, from the last checkpoint if there is one, and write the averaged weights."""
    with joined(options.device) as ranks:
        seed_everything(options.seed)
        if ranks.first:
            print(f"train_dvae\n\n  pictures: {options.input_folder or ', '.join(map(str, options.images)) or 'drawn'}")
        run = Run(options, ranks, RelaxedBound(first_weights(options), options.schedule, options.least_b))
        if ranks.first:
            weights = sum(value.numel() for value in run.dvae.parameters())
            print(f"  network: {weights:,} weights, {options.network.vocab_size:,} codes")
        go_on(run)
        if ranks.first:
            with run.average.in_place():
                save(run.dvae, options.output_folder / "dvae.safetensors")
            print(f"  weights: {options.output_folder / 'dvae.safetensors'}")
            print(f"  look at: tensorboard --logdir {options.output_folder / 'tensorboard'}")


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


def forget_other_pictures() -> None:
    """Delete the checkpoints of the sample's training if its pictures have changed since: it begins anew."""
    folder = Path(sample.DVAE) / "checkpoints"
    last = checkpoint.latest(folder)
    if last and checkpoint.load(last)["batches"]["data"] != fingerprint(read_manifest(Folder(sample.CLEAN))):
        shutil.rmtree(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Train; the exit code is 2 if the options or the data cannot be used."""
    given = list(sys.argv[1:] if argv is None else argv)
    speak()
    try:
        if not given:
            given = ["tiny", "--input_folder", sample.sample_folder(sample.CLEAN), "--output_folder", sample.DVAE]
            print(f"no arguments given: {' '.join(given)}")
            forget_other_pictures()
        train(parse("dalle.train_dvae", __doc__ or "", SIZES, given))
    except (ValueError, OSError) as error:
        print(f"dalle.train_dvae: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
