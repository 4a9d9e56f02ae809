"""The processes that train together, as `torchrun` starts them, and what they say to one another."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from schemas.commands.ending import CommandFailed

PORTION = 1 << 26
"""Bytes that are sent at a time."""


_BROKEN_LINE = re.compile(r"gloo|nccl|connection (?:closed|reset|refused)|broken pipe", re.IGNORECASE)
"""What gloo and NCCL say in plain RuntimeErrors."""


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
        """The mean over all processes, wherever the tensor lies."""
        if self.count > 1:
            dist.all_reduce(values)
        return values / self.count

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are averaged over all processes; it takes the weights of the first."""
        if self.count == 1:
            return module
        return DistributedDataParallel(module, gradient_as_bucket_view=True)  # or each gradient would be held twice

    def share(self, total: int, flag: str) -> int:
        """How many of so many are each process's own.

        Raises:
            ValueError: if they cannot be shared out equally.
        """
        if total % self.count:
            raise ValueError(f"{flag} is {total}, expected a multiple of the {self.count} processes")
        return total // self.count

    def from_first(self, content: bytes | None) -> bytes | None:
        """What the first process has, on every process: they may share no disk.

        Args:
            content: of the first process; what others give is not looked at.
        """
        return self._from(0, content)

    def from_all(self, content: bytes) -> list[bytes]:
        """What each process has, on every process, in the order of their ranks."""
        return [self._from(rank, content) or b"" for rank in range(self.count)]

    def total(self, number: int) -> int:
        """The sum over all processes of a whole number."""
        if self.count == 1:
            return number
        value = torch.tensor([number])
        dist.all_reduce(value)
        return int(value)

    def _from(self, rank: int, content: bytes | None) -> bytes | None:
        """What one process has, on every process."""
        if self.count == 1:
            return content
        size = torch.tensor([-1 if content is None else len(content)])
        dist.broadcast(size, rank)
        if size < 0:
            return None
        received = bytearray(content or b"") if self.rank == rank else bytearray(int(size))
        for start in range(0, len(received), PORTION):
            dist.broadcast(torch.frombuffer(memoryview(received)[start : start + PORTION], dtype=torch.uint8), rank)
        return bytes(received)

    def check_same(self, fingerprint: str, subject: str) -> None:
        """Check that all processes have the same as the first.

        Raises:
            ValueError: on all, if one has not.
        """
        first = (self.from_first(fingerprint.encode()) or b"").decode()
        differs = torch.tensor(float(first != fingerprint))
        anyone = bool(self.mean(differs.clone()) > 0)  # asked of all, so that all of them end with a sentence
        advice = "start every process with the same options, code and data"
        if differs:
            raise ValueError(
                f"rank {self.rank}: {subject} are not those of rank 0 ({fingerprint[:12]}, there {first[:12]}); "
                f"{advice}"
            )
        if anyone:
            raise ValueError(f"rank {self.rank}: {subject} of another rank are not those of rank 0; {advice}")


def gathering(parallel: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """Gradients of what `Ranks.parallel` gave are averaged once a step, in the block of its last portion."""
    if isinstance(parallel, DistributedDataParallel) and not last:
        return parallel.no_sync()
    return contextlib.nullcontext()


def is_first() -> bool:
    """Whether this process is the first of those that `torchrun` started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def device_of(name: str) -> torch.device:
    """Where this process computes: `cpu`, `cuda` (its own of the GPUs), or `auto`, a GPU if there is one.

    Raises:
        ValueError: if it is another device, or torch finds no GPU.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"--device {device}: nothing computes there; use auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: torch finds no GPU here; use --device cpu")
    return torch.device(device, int(os.environ.get("LOCAL_RANK", 0))) if device == "cuda" else torch.device(device)


def backends(device: torch.device) -> str:
    """Who carries tensors between processes: of a GPU NCCL, which takes no others, and of the processor always gloo.

    Figures, fingerprints and checkpoints are sums and bytes of the processor, whatever the network computes on.
    """
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "cpu:gloo"


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """The processes that `torchrun` started, or this one alone."""
    own = device_of(device)
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(rank=0, count=1, device=own)
        return
    if own.type == "cuda":
        torch.cuda.set_device(own)
    # Its functions have the group of now as their default, and torch imports it sooner or later. Imported after the
    # group was opened it would keep the group, and with it gloo's threads, beyond the interpreter's end: one of them
    # that wants Python's lock by then is unwound through C++ and takes the process down with SIGABRT.
    importlib.import_module("torch.distributed.nn")
    with _naming_lost_processes():
        dist.init_process_group(backends(own))
        try:
            yield Ranks(rank=dist.get_rank(), count=dist.get_world_size(), device=own)
            dist.barrier()  # a process that leaves early tears down what another may still be reading from
        finally:
            dist.destroy_process_group()


@contextlib.contextmanager
def _naming_lost_processes() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        ours = isinstance(error, CommandFailed)
        if ours or not (isinstance(error, dist.DistError) or _BROKEN_LINE.search(str(error))):
            raise
        raise CommandFailed(
            f"another process of this training ended or cannot be reached ({str(error).splitlines()[0]}); look what it "
            "said, the same command goes on from the last checkpoint"
        ) from error
