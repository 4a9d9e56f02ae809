"""Gradients averaged between machines with PowerSGD, as the paper does it (Ramesh et al. 2021, §2.5 and App. E.2).

Matrices travel as two factors of low rank in 16 bits, what is left of them stays in error buffers and goes with the
next step; all else travels as it is, in 32 bits. Each process of a machine has a shard of the gradients and averages it
with those processes of other machines that have the same shard. The steps of App. E.2, and where they are:

     1  a shard's gradient, averaged inside the machine     the caller's: FSDP's reduce-scatter, or nothing to do
     2  added to the error buffer, if it is finite          `LowRankMatrix.add`; not scaled any more
     3  P = buffer x directions, which are fixed            `LowRankMatrix.projected`
     4  the mean of P over machines, infinities clamped     `words.mean_of_all`, one grouped all-reduce
     5  P's columns made orthonormal                        `LowRankMatrix.orthogonalize`
     6  Q = buffer transposed x P                           `LowRankMatrix.weighed`
     7  the mean of Q over machines, infinities clamped     as 4
     8  what is not compressed, in 32 bits                  one grouped all-reduce
     9  the norm of all gradients, from Q and of 8          `PowerSGD.settle`
    10  what was not finite, anywhere: no update            `PowerSGD.settle`
    11  the gradient, P x Q transposed, in 32 bits          `LowRankMatrix.decompress`
    12  taken out of the error buffer                       `LowRankMatrix.decompress`
    13  the update                                          the caller's, for all gradients, unless it is skipped

The paper sends sums, of losses divided by the overall batch, and takes the decompressed gradient over the number of
machines out of the buffers. Here means are sent, as everywhere in this package, and taken out as they are: the buffers
are as many times the paper's as there are machines, and their law is the same: what was added to them, less what is in
them, was sent. That is so in a step that is
skipped, too: as with any loss scaling its gradients are lost, but for what the buffers keep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from dalle.training.bandwidth import GradientShape
from dalle.training.error_buffers import ErrorBuffers
from dalle.training.formats import ONE_SIX_NINE
from dalle.training.low_rank import LowRankMatrix
from dalle.training.traffic import Traffic
from dalle.training.words import SINGLE, Form, mean_of_all, of_everybody


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The processes that one averages gradients with, and those that have other shards of the same."""

    machines: dist.ProcessGroup | None = None
    """One process of each machine, all with the same shard; None where there is one machine."""
    shards: dist.ProcessGroup | None = None
    """The processes of this machine, each with a shard of every gradient; None where there is one."""


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """What became of a step's gradients; all but the last three fields are the same on all processes."""

    skipped: bool
    """Whether no update is to be made, on any process: something was not finite."""
    norm: float
    """Of all averaged gradients together, over all shards; infinite if the update is skipped."""
    not_finite: tuple[str, ...]
    """Names of the gradients that were not, on some process."""
    alike: bool
    """Whether all machines have the same averages of this shard, to the bit: other hardware may round in other ways,
    and the machines' weights would drift apart."""
    bytes_sent: int
    """By this process to those of other machines."""
    seconds: float
    """That it sent and waited between machines."""


class PowerSGD:
    """The mean over machines of gradients, through factors of low rank.

    Args:
        gradients: all there are, as this process has them, in the same order on all.
        rank: of the factors of this shard, 1 or more; `bandwidth.rank_of_shard` gives it.
        neighbours: whom it averages with.
        seed: of the directions, which are the same on all machines.
        form: of the error buffers, and of what is sent of matrices; `words.SINGLE` rounds nothing.

    Raises:
        ValueError: if the rank is none, a name occurs twice, or what is to be compressed is no matrix.
    """

    def __init__(
        self,
        gradients: Sequence[GradientShape],
        rank: int,
        neighbours: Neighbours,
        seed: int = 0,
        form: Form = ONE_SIX_NINE,
    ) -> None:
        if rank < 1:
            raise ValueError(f"a rank of {rank} for PowerSGD: expected 1 or more")
        self._shapes = {gradient.name: gradient for gradient in gradients}
        if len(self._shapes) < len(gradients):
            raise ValueError(f"{len(gradients)} gradients have {len(self._shapes)} names, expected one each")
        self._neighbours, self._form, self._traffic = neighbours, form, Traffic()
        shard = dist.get_rank(neighbours.shards) if neighbours.shards is not None else 0
        self._matrices: dict[str, LowRankMatrix] = {}
        for gradient in gradients:
            if gradient.is_compressed and len(gradient.shape) < 2:
                raise ValueError(f"{gradient.name} of shape {gradient.shape} is no matrix, it cannot be compressed")
            if gradient.is_compressed and gradient.numel:  # a shard may be empty
                key = (seed, shard, *hashlib.sha256(gradient.name.encode()).digest())
                self._matrices[gradient.name] = LowRankMatrix(gradient.matrix, rank, key, form)
        self._begin()

    @property
    def matrices(self) -> Mapping[str, LowRankMatrix]:
        """What is compressed, by name."""
        return self._matrices

    @property
    def buffers(self) -> ErrorBuffers:
        """The error buffers, to be saved and loaded between steps."""
        return ErrorBuffers(self._matrices, self._neighbours.machines, self._form)

    def average(self, gradients: Sequence[Tensor]) -> Averaged:
        """Put in the place of a step's gradients, all of them and in their order, their means over the machines.

        Args:
            gradients: of this process, not scaled; in any format. If the step is to be skipped, what they hold then is
                of no use.

        Raises:
            ValueError: if they are not those that were announced.
        """
        if len(gradients) != len(self._shapes):
            raise ValueError(f"{len(gradients)} gradients were given, expected {len(self._shapes)}")
        self.exchange(dict(zip(self._shapes, gradients, strict=True)))
        return self.settle()

    @torch.no_grad()
    def exchange(self, gradients: Mapping[str, Tensor]) -> None:
        """Average some gradients of a step in place, while others are still being computed: steps 2 to 8, 11 and 12.

        All processes call it for the same gradients in the same order, once a step for each, and then `settle`.

        Raises:
            ValueError: if one is unknown, of another shape, or was averaged in this step already.
        """
        self._check(gradients)
        matrices = {name: self._matrices[name] for name in gradients if name in self._matrices}
        for name, matrix in matrices.items():
            matrix.add(gradients[name])
        projected = self._mean([matrix.projected() for matrix in matrices.values()], self._form)
        for matrix, words in zip(matrices.values(), projected, strict=True):
            matrix.orthogonalize(words)
        weighed = self._mean([matrix.weighed() for matrix in matrices.values()], self._form)
        for (name, matrix), words in zip(matrices.items(), weighed, strict=True):
            mean = matrix.decompress(words)
            self._received(name, mean, gradients[name], matrix.is_finite & matrix.was_sent, matrix.squared_norm)
        others = [name for name in gradients if not self._shapes[name].is_compressed]
        means = self._mean([gradients[name].detach().float() for name in others], SINGLE)
        for name, mean in zip(others, means, strict=True):
            squared_norm = torch.linalg.vector_norm(mean, dtype=torch.float64) ** 2
            self._received(name, mean, gradients[name], mean.isfinite().all(), squared_norm)

    @torch.no_grad()
    def settle(self) -> Averaged:
        """Agree on a step whose gradients are all exchanged: its norm, and whether it is skipped (steps 9 and 10)."""
        device = next((value.device for value in self._is_finite.values()), torch.device("cpu"))
        zero = torch.zeros((), device=device)
        is_finite = [self._is_finite.get(name, zero == 0) for name in self._shapes]
        norm = torch.stack([zero.double(), *self._squared_norms]).sum()
        checksum = torch.stack([zero.long(), *self._checksums]).sum()
        told = torch.cat([torch.stack(is_finite).to(torch.uint8), *(_bytes(each) for each in (checksum, norm))])
        count, neighbours = len(is_finite), self._neighbours
        machines = of_everybody(told, neighbours.machines, self._traffic)
        told[:count] = machines[:, :count].amin(0)
        shards = of_everybody(told, neighbours.shards).cpu()
        names = [name for name, fine in zip(self._shapes, shards[:, :count].amin(0).tolist(), strict=True) if not fine]
        total = float(shards[:, -8:].reshape(-1).clone().view(torch.float64).sum()) ** 0.5
        sent, seconds = self._traffic.take()
        self._begin()
        return Averaged(
            skipped=bool(names),
            norm=float("inf") if names else total,
            not_finite=tuple(names),
            alike=bool((machines[:, count : count + 8] == machines[0, count : count + 8]).all()),
            bytes_sent=sent,
            seconds=seconds,
        )

    def hook(self, names: Sequence[str], room: Sequence[int] = ()) -> Callable[[Tensor], None]:
        """What averages a flat buffer of some gradients in place: for FSDP's `set_all_reduce_hook`.

        Args:
            names: of the gradients, in their order in the buffer.
            room: how many numbers of the buffer each takes, where it is followed by padding; else its own.
        """
        shapes = [self._shapes[name].shape for name in names]
        return lambda flat: self.exchange(dict(zip(names, views_of(flat, shapes, room), strict=True)))

    def _begin(self) -> None:
        """Forget the step before."""
        self._is_finite: dict[str, Tensor] = {}
        self._squared_norms: list[Tensor] = []
        self._checksums: list[Tensor] = []

    def _check(self, gradients: Mapping[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            if name not in self._shapes:
                raise ValueError(f"a gradient of {name} was not announced; PowerSGD knows {len(self._shapes)} others")
            if tuple(gradient.shape) != self._shapes[name].shape:
                found, expected = tuple(gradient.shape), self._shapes[name].shape
                raise ValueError(f"the gradient of {name} has the shape {found}, expected {expected}")
            if name in self._is_finite:
                raise ValueError(f"the gradient of {name} was averaged in this step already; settle the step first")

    def _mean(self, words: list[Tensor], form: Form) -> list[Tensor]:
        return mean_of_all(words, form, self._neighbours.machines, self._traffic)

    def _received(self, name: str, mean: Tensor, gradient: Tensor, is_finite: Tensor, squared_norm: Tensor) -> None:
        gradient.copy_(mean.view(gradient.shape))
        self._is_finite[name] = is_finite
        self._squared_norms.append(squared_norm)
        self._checksums.append(mean.view(torch.int32).sum(dtype=torch.int64))


def views_of(flat: Tensor, shapes: Sequence[tuple[int, ...]], room: Sequence[int] = ()) -> list[Tensor]:
    """Parts of a flat buffer as tensors, which share its memory.

    Args:
        flat: one dimension.
        shapes: of the tensors, one after the other.
        room: how many numbers each takes, where it is followed by padding; else its own.

    Raises:
        ValueError: if they are longer than the buffer.
    """
    sizes = [torch.Size(shape).numel() for shape in shapes]
    room = room or sizes
    if sum(room) > flat.numel() or any(size > taken for size, taken in zip(sizes, room, strict=True)):
        raise ValueError(f"tensors of {sizes} numbers do not fit into {list(room)} of a buffer of {flat.numel()}")
    views, start = [], 0
    for shape, size, taken in zip(shapes, sizes, room, strict=True):
        views.append(flat[start : start + size].view(shape))
        start += taken
    return views


def _bytes(value: Tensor) -> Tensor:
    return value.reshape(1).view(torch.uint8)
