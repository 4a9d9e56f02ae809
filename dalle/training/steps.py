"""What the trainings share: schedules, averaged weights, number formats, processes, and the log of a run."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.utils.tensorboard import SummaryWriter

from dalle.training.checkpoint import like

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """A quantity that goes from one value to another along half a cosine, and stays there."""

    first: float
    last: float
    updates: int
    """How long it takes."""

    def __call__(self, update: int) -> float:
        """Its value at an update, counted from 0."""
        if update >= self.updates:
            return self.last
        return self.last + (self.first - self.last) * 0.5 * (1 + math.cos(math.pi * update / self.updates))


class Average:
    """The running average of a network's weights (EMA), which is what is used in the end."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._average = {name: value.detach().float().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of now: average = decay * average + (1 - decay) * weights."""
        weights = [value.float() for value in self._network.state_dict().values()]
        torch._foreach_lerp_(list(self._average.values()), weights, 1 - self._decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return self._average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from these."""
        self._average = {name: like(state[name], value) for name, value in self._average.items()}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights inside the block, with its own after it."""
        own = {name: value.clone() for name, value in self._network.state_dict().items()}
        self._network.load_state_dict(self._average)
        try:
            yield
        finally:
            self._network.load_state_dict(own)


class Stepper:
    """Forward passes in 16 bits, one loss scale for all gradients where float16 needs it, and the optimiser's step."""

    def __init__(self, optimiser: torch.optim.Optimizer, precision: Precision, device: torch.device) -> None:
        if precision == "auto":
            precision = "float16" if device.type == "cuda" else "bfloat16"
        if precision == "float16" and device.type != "cuda":
            raise ValueError(f"float16 is for CUDA, the device is {device}; use bfloat16 or float32")
        self._optimiser, self._device = optimiser, device
        self._dtype = getattr(torch, precision)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The block inside which layers choose the shorter format."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        self._scaler.scale(loss).backward()

    def clip(self, longest: float) -> None:
        """Shorten the gradients, all together, to this length if they are longer."""
        self._scaler.unscale_(self._optimiser)
        every = [value for group in self._optimiser.param_groups for value in group["params"]]
        torch.nn.utils.clip_grad_norm_(every, longest)

    def step(self, step_size: float) -> None:
        """Update the weights, unless a gradient overflowed, and forget the gradients."""
        for group in self._optimiser.param_groups:
            group["lr"] = step_size
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Of the optimiser and the loss scale."""
        return {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._optimiser.load_state_dict(state["optimiser"])
        for parameter, moments in self._optimiser.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    moments[name] = like(value, parameter)
        if state["scaler"]:
            self._scaler.load_state_dict(dict(state["scaler"]))


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values / self.count

    def share(self, total: int, what: str) -> int:
        """How many of so many are each process's own.

        Raises:
            ValueError: if they cannot be shared out equally.
        """
        if total % self.count:
            raise ValueError(f"{what} is {total}, expected a multiple of the {self.count} processes")
        return total // self.count


def device_of(device: str) -> torch.device:
    """Where this process computes: `cpu`, `cuda` (its own of the GPUs), or `auto`, a GPU if there is one.

    Raises:
        ValueError: if torch knows no such device, or finds no GPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: torch finds no GPU here; use --device cpu")
    try:
        return torch.device(device, int(os.environ.get("LOCAL_RANK", 0))) if device == "cuda" else torch.device(device)
    except RuntimeError:
        raise ValueError(f"--device {device}: torch knows no such device; use auto, cpu or cuda") from None


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """The processes that `torchrun` started, or this one alone."""
    where = device_of(device)
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(rank=0, count=1, device=where)
        return
    if where.type == "cuda":
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Ranks(rank=dist.get_rank(), count=dist.get_world_size(), device=where)
        dist.barrier()  # a process that leaves early tears down what another may still be reading from
    finally:
        dist.destroy_process_group()


def speak() -> None:
    """Print what the modules of this package have to say, such as what an epoch leaves over, among a job's output."""
    ours = logging.getLogger("dalle")
    ours.setLevel(logging.INFO)
    if not ours.handlers:
        ours.addHandler(_Printed())


class _Printed(logging.Handler):
    """On what is standard output now, as `print` does; a test may have changed it since the handler was made."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"  {record.getMessage()}", file=sys.stdout, flush=True)


def seed_everything(seed: int) -> None:
    """Make the global generators start from a seed: initial weights are drawn from them, and nothing after."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)


class Log:
    """A run's figures, as lines of `log.jsonl` and in TensorBoard's files beside it."""

    def __init__(self, folder: Path, resumed_at: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "log.jsonl"
        self._forget_after(resumed_at)
        self._file = self._path.open("a")
        self._board = SummaryWriter(folder / "tensorboard", purge_step=resumed_at + 1)

    def _forget_after(self, step: int) -> None:
        """Drop what an interrupted run wrote after its last checkpoint: it is about to happen again."""
        if self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if _step_of(line) <= step]
            self._path.write_text("".join(line + "\n" for line in kept))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """One line; `step` is how many updates are done."""
        self._file.write(json.dumps({"step": step, **{name: float(f"{v:.6g}") for name, v in values.items()}}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def pictures(self, step: int, name: str, images: Tensor) -> None:
        """[B, 3, H, W] float in [0, 1]."""
        self._board.add_images(name, images.float().cpu().numpy(), step)

    def close(self) -> None:
        """Write out what is still held."""
        self._file.close()
        self._board.close()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62  # cut short by a kill


def perplexity(counts: Iterable[int] | Tensor) -> float:
    """How many codes are used, were all used alike: the exponential of the entropy of the counts."""
    shares = torch.as_tensor(counts).double()
    shares = shares / shares.sum()
    return float(torch.special.entr(shares).sum().exp())
