"""Train the built-in near-duplicate detector.

    python -m dalle.train_detector --output detector.safetensors

It learns from photographs (`--train_photos`) and from drawn pictures that two edited views of one picture belong
together and no others do. Small pictures come first, because a step on them costs a quarter. What is left is one
safetensors file with the running average of the weights; beside it, while it runs, lies `<output>.state`, from
which the same command goes on after an interruption, to the same weights.
"""

import os
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from dalle.detectors.learning_pairs import Pictures, batch, read_pictures
from dalle.detectors.network import Detector, DetectorConfig, load, save
from dalle.detectors.thumbnails import thumbnail

PHOTOS = Path(os.environ.get("DALLE_TEST_DATA", "../shared/data")) / "train_photos"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How the detector is trained."""

    output: Path
    """The weights to write, a safetensors file."""
    train_photos: Path = PHOTOS
    """A folder of JPEG photographs."""
    hold_out: int = 0
    """Leave out every so manieth photograph, to measure on; 0 uses all."""
    drawn: int = 2000
    """Drawn pictures beside the photographs."""
    sides: tuple[int, ...] = (64, 96, 128)
    """Sides of the pictures, one after the other; the last is the one that the detector will use."""
    steps: tuple[int, ...] = (4000, 2000, 1000)
    """Batches of each side."""
    batch: int = 192
    """Pictures in a batch; each is seen in two views."""
    learning_rate: float = 2e-3
    """The highest, after a warm-up of 100 steps; falls along a cosine to 1 % of it."""
    weight_decay: float = 0.02
    """Of AdamW, on matrices and kernels."""
    temperature: float = 0.05
    """Of InfoNCE."""
    entropy: float = 5.0
    """Weight of the term that pushes each vector away from its nearest neighbour."""
    average: float = 0.998
    """Decay of the running average of the weights."""
    seed: int = 0
    """Of everything drawn."""
    workers: int = 1
    """Processes that make pictures; the weights do not depend on it."""
    threads: int = 1
    """Threads of the network."""
    start_from: Path | None = None
    """Weights to begin with, as an earlier training left them."""
    network: DetectorConfig = field(default_factory=DetectorConfig)
    """Its size."""

    def __post_init__(self) -> None:
        if len(self.sides) != len(self.steps):
            raise ValueError(f"--sides has {len(self.sides)} values, --steps {len(self.steps)}; give one for each")

    def side_of(self, step: int) -> int:
        """Side of the pictures in this step."""
        return next(side for side, end in zip(self.sides, accumulate(self.steps), strict=True) if step < end)


class Batches(Dataset):
    """Batch number `step`: [2, B, S, S, 3] uint8, a function of the seed and the step."""

    def __init__(self, options: TrainOptions) -> None:
        self.options = options
        self._pictures: dict[int, Pictures] = {}

    def __getitem__(self, step: int) -> Tensor:
        options, side = self.options, self.options.side_of(step)
        if side not in self._pictures:  # in the worker: too much to be pickled
            cv2.setNumThreads(1)
            source = round(1.375 * side)
            pictures = read_pictures(options.train_photos, source, options.drawn, options.seed, options.hold_out)
            self._pictures = {side: pictures}
        return torch.from_numpy(batch(self._pictures[side], side, options.batch, (options.seed, step)))


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of picking each view's partner among all other views.

    Args:
        first, second: [B, D] unit vectors; row i of both shows the same picture.
        temperature: divides the cosines.
    """
    views = torch.cat([first, second])  # [2B, D]
    alike = (views @ views.T / temperature).fill_diagonal_(-torch.inf)  # [2B, 2B]
    partners = torch.arange(len(views)).roll(len(first))
    return F.cross_entropy(alike, partners)


def crowding(first: Tensor, second: Tensor) -> Tensor:
    """Minus the mean log distance of each view to the nearest view of another picture (SSCD's entropy term)."""
    views = torch.cat([first, second])
    same = torch.eye(len(first), dtype=torch.bool).repeat(2, 2)
    nearest = (views @ views.T).detach().masked_fill(same, -1).argmax(1)
    distance = (views - views[nearest]).square().sum(1).add(1e-6).sqrt()
    return -distance.log().mean()


def to_network(pixels: Tensor) -> Tensor:
    """[B, S, S, 3] uint8 to [B, 3, S, S] in [-1, 1], channels last."""
    return (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Run:
    """Everything that changes while training: weights, their average, the optimiser, the step."""

    def __init__(self, options: TrainOptions) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.step = 0
        self.model = load(options.start_from).train() if options.start_from else Detector(options.network)
        self.model.unwhiten()  # fitted anew at the end
        self.model.to(memory_format=torch.channels_last)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        kernels = [p for p in self.model.parameters() if p.shape[1:].numel() > 1]
        scales = [p for p in self.model.parameters() if p.shape[1:].numel() == 1]
        groups = [{"params": kernels, "weight_decay": options.weight_decay}, {"params": scales, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, options.learning_rate, (0.9, 0.98))
        warm_up = torch.optim.lr_scheduler.LinearLR(self.optimiser, 0.01, total_iters=100)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimiser, sum(options.steps), options.learning_rate / 100
        )
        self.schedule = torch.optim.lr_scheduler.ChainedScheduler([warm_up, decay], self.optimiser)

    def learn(self, views: Tensor) -> dict[str, float]:
        """One step on [2, B, S, S, 3] uint8; returns what it cost before."""
        options = self.options
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self.model(to_network(views.flatten(0, 1)))
        first, second = vectors.float().chunk(2)
        contrast = info_nce(first, second, options.temperature)
        entropy = crowding(first, second)
        self.optimiser.zero_grad(set_to_none=True)
        (contrast + options.entropy * entropy).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        keep = min(options.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        right = ((first @ second.T).argmax(1) == torch.arange(len(first))).float().mean()
        return {"contrast": contrast.item(), "crowding": entropy.item(), "right": right.item()}

    def averaged(self) -> Detector:
        """The network with the running average of its weights, for pictures of the last side."""
        model = Detector(self.options.network)
        model.load_state_dict(self.average)
        return model.eval()

    @property
    def _parts(self) -> dict:
        return {"model": self.model, "optimiser": self.optimiser, "schedule": self.schedule}

    def store(self, path: Path) -> None:
        """Write all of it, atomically."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save(state | {"average": self.average, "step": self.step}, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def restore(self, path: Path) -> None:
        """Read what `store` wrote."""
        state = torch.load(path, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.average, self.step = state["average"], state["step"]


@torch.inference_mode()
def whitened(model: Detector, options: TrainOptions) -> Detector:
    """The network with its last step fitted to the training pictures, unedited."""
    side = options.sides[-1]
    pictures = read_pictures(options.train_photos, side, options.drawn, options.seed, options.hold_out)
    thumbnails = np.stack([thumbnail(pixels, side) for pixels in pictures.photos + pictures.drawn])
    parts = torch.from_numpy(thumbnails).split(options.batch)
    model.whiten(torch.cat([model(to_network(part)) for part in parts]))
    return model


def train(options: TrainOptions, every: int = 50, store_every: int = 250) -> Generator[dict[str, float], None, None]:
    """Run the steps; yields means of the losses every so many of them, and writes the weights."""
    torch.set_num_threads(options.threads)
    run, state = Run(options), options.output.with_suffix(".state")
    if state.exists():
        run.restore(state)
    total = sum(options.steps)
    loader = DataLoader(
        Batches(options),
        batch_size=None,
        sampler=range(run.step, total),
        num_workers=options.workers,
        prefetch_factor=4 if options.workers else None,
    )
    recent: list[dict[str, float]] = []
    start = time.monotonic()
    for views in loader:
        recent.append(run.learn(views))
        if run.step % every == 0 or run.step == total:
            means = {name: sum(line[name] for line in recent) / len(recent) for name in recent[0]}
            yield {"step": run.step, "side": views.shape[2], **means, "seconds": time.monotonic() - start}
            recent = []
        if run.step % store_every == 0:
            run.store(state)
            save(run.averaged(), options.output)
    save(whitened(run.averaged(), options), options.output)
    state.unlink(missing_ok=True)


def main() -> None:
    """Command line."""
    for line in train(tyro.cli(TrainOptions, description=__doc__)):
        print(" ".join(f"{name} {value:.4g}" for name, value in line.items()), flush=True)


if __name__ == "__main__":
    main()
