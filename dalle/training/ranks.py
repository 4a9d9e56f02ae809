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
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from schemas.commands.ending import CommandFailed
from schemas.commands.one_voice import let_others_speak

PORTION = 1 << 26
"""Bytes that are sent at a time."""


_BROKEN_LINE = re.compile(r"gloo|nccl|connection (?:closed|reset|refused)|broken pipe", re.IGNORECASE)
"""What gloo and NCCL say in plain RuntimeErrors."""
_ADVICE = re.compile(r"^\[\S*\.cc:\d+\] |\. This is typically caused by .*")
"""What gloo says beside what happened: where in its source, and what a programmer should look at."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    count: int
    device: torch.device
    grid: DeviceMesh | None = None
    """Where groups of processes hold the weights together (`dalle.training.sharding`): [replicate, shard]. Each row is
    such a group, of consecutive ranks; those of a column hold the same part. None: each holds all weights."""

    @property
    def together(self) -> bool:
        """Whether evaluations, checkpoints and stops take all processes: none of them has all the weights."""
        return self.grid is not None

    @property
    def shard(self) -> int:
        """How many processes hold the weights together; the first so many write and read a checkpoint's parts."""
        return 1 if self.grid is None else self.grid["shard"].size()

    @property
    def groups(self) -> int:
        """How many groups of processes there are, each with all the weights."""
        return self.count // self.shard

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
        return self.from_rank(0, content)

    def from_all(self, content: bytes) -> list[bytes]:
        """What each process has, on every process, in the order of their ranks."""
        return [self.from_rank(rank, content) or b"" for rank in range(self.count)]

    def total(self, number: int) -> int:
        """The sum over all processes of a whole number."""
        if self.count == 1:
            return number
        value = torch.tensor([number])
        dist.all_reduce(value)
        return int(value)

    def most(self, number: int) -> int:
        """The largest of a whole number of each process."""
        if self.count == 1:
            return number
        value = torch.tensor([number])
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def from_rank(self, rank: int, content: bytes | None) -> bytes | None:
        """What one process has, on every process; see `from_first`."""
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

    def from_first_copy(self, part: Tensor) -> Tensor:
        """A tensor of the first of the processes that hold the same part of the weights; all give one of its shape."""
        if self.grid is None or self.grid["replicate"].size() == 1:
            return part
        group, sent = self.grid.get_group("replicate"), part.to(self.device).contiguous()
        if sent.numel():  # as bytes: neither gloo nor NCCL takes words of 16 bits
            dist.broadcast(sent.view(-1).view(torch.uint8), dist.get_global_rank(group, 0), group=group)
        return sent.to(part.device)

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


def alone(device: str | torch.device = "cpu") -> Ranks:
    """This process, where no others train with it."""
    return Ranks(rank=0, count=1, device=torch.device(device))


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
def joined(device: str = "auto", shard: int = 0) -> Iterator[Ranks]:
    """The processes that `torchrun` started, or this one alone.

    Args:
        device: where each computes; see `device_of`.
        shard: how many of them hold the weights together; 0: each holds all of them.

    Raises:
        ValueError: if they cannot be grouped so, or no process but this one was started.
    """
    own = device_of(device)
    if shard > 1 and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            f"--shard {shard}: this is one process alone; start {shard} or a multiple of them, torchrun "
            f"--nproc_per_node {shard} -m with the same command"
        )
    if "WORLD_SIZE" not in os.environ:
        yield alone(own)
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
            yield Ranks(rank=dist.get_rank(), count=dist.get_world_size(), device=own, grid=_grid(own, shard))
            dist.barrier()  # a process that leaves early tears down what another may still be reading from
        finally:
            dist.destroy_process_group()


def _grid(device: torch.device, shard: int) -> DeviceMesh | None:
    """All processes, [replicate, shard], if weights are held together.

    Raises:
        ValueError: if they cannot be grouped so, or some were asked to form other groups, who would wait for ever.
    """
    count, asked = dist.get_world_size(), torch.tensor([shard, -shard])
    dist.all_reduce(asked, dist.ReduceOp.MAX)
    if asked[0] != -asked[1]:
        raise ValueError(
            f"rank {dist.get_rank()}: --shard {max(shard, 1)}: other processes were started with another --shard or "
            "--powersgd_rank; start every process with the same options"
        )
    if not shard:
        return None
    if count % shard:
        raise ValueError(
            f"--shard {shard}: the {count} processes cannot be put into groups of {shard}; give a divisor of {count}"
        )
    return init_device_mesh(device.type, (count // shard, shard), mesh_dim_names=("replicate", "shard"))


def is_broken_line(error: BaseException) -> bool:
    """Whether an error tells that another process cannot be reached."""
    if isinstance(error, CommandFailed) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, dist.DistError) or bool(_BROKEN_LINE.search(str(error)))


@contextlib.contextmanager
def _naming_lost_processes() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_broken_line(error):
            raise
        let_others_speak()
        reason = _ADVICE.sub("", str(error).splitlines()[0])
        raise CommandFailed(
            f"another process of this training ended or cannot be reached ({reason}); look what it said, the same "
            "command goes on from the last checkpoint"
        ) from error
