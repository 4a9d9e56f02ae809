"""Means over processes of numbers that travel as words: 16 bits of a format of ours, or single precision.

No network adds numbers of 1-6-9. So each process is sent everybody's words of its own part of the numbers, decodes
them, adds them up in single precision in the order of the ranks, and sends the words of the mean to all. These are the
two halves of an all-reduce on a ring and its bytes, 2 (n - 1) / n of all words for n processes. Afterwards every
process holds the same words, whatever its hardware.

    >>> from dalle.training.formats import ONE_SIX_NINE
    >>> width(SINGLE), width(ONE_SIX_NINE)
    (4, 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch import distributed as dist

from dalle.training.traffic import Traffic


class Form(Protocol):
    """How numbers are kept and sent: as words, of `dalle.training.formats` or of single precision."""

    @property
    def largest(self) -> float:
        """The largest number."""
        ...

    def encode(self, values: Tensor) -> Tensor:
        """float32 to words of the same shape."""
        ...

    def decode(self, words: Tensor) -> Tensor:
        """Words to float32 of the same shape."""
        ...

    def clamp(self, values: Tensor) -> Tensor:
        """float32 with infinities replaced by the largest number of their sign."""
        ...


class _Single:
    """Single precision: numbers are their own words."""

    largest = torch.finfo(torch.float32).max

    def encode(self, values: Tensor) -> Tensor:
        return values.float()

    def decode(self, words: Tensor) -> Tensor:
        return words

    def clamp(self, values: Tensor) -> Tensor:
        return values.clamp(-self.largest, self.largest)


SINGLE: Form = _Single()
"""32 bits, nothing rounded."""


def width(form: Form) -> int:
    """Bytes of a word."""
    return form.encode(torch.zeros(1)).element_size()


def mean_of_all(words: Sequence[Tensor], form: Form, group: dist.ProcessGroup | None, traffic: Traffic) -> list[Tensor]:
    """One grouped all-reduce of words: the mean of every tensor over the processes of a group.

    Args:
        words: of any shapes, the same on all processes.
        form: of the words. A sum is single precision's; its mean is rounded to the format once, and infinity or what
            is no number on any process is so in the mean.
        group: None is this process alone.
        traffic: is told of the bytes.

    Returns:
        words of the same shapes, bit for bit the same on all processes.
    """
    count = dist.get_world_size(group) if group is not None else 1
    flat = torch.cat([each.reshape(-1) for each in words]) if words else torch.empty(0)
    if count == 1 or not flat.numel():
        return list(words)
    part = -(-flat.numel() // count)
    own = torch.zeros(part * count, dtype=flat.dtype, device=flat.device)
    own[: flat.numel()] = flat
    received, sent = torch.empty_like(own), (count - 1) * part * own.element_size()
    with traffic.sending(sent, own.device):  # as bytes: neither gloo nor NCCL takes int16
        dist.all_to_all_single(received.view(torch.uint8), own.view(torch.uint8), group=group)
    total = torch.zeros(part, device=own.device)
    for each in received.view(count, part):
        total += form.decode(each)
    mean = form.encode(total / count)
    with traffic.sending(sent, own.device):
        dist.all_gather_into_tensor(own.view(torch.uint8), mean.view(torch.uint8), group=group)
    pieces = own[: flat.numel()].split([each.numel() for each in words])
    return [piece.view(each.shape) for piece, each in zip(pieces, words, strict=True)]


def of_everybody(content: Tensor, group: dist.ProcessGroup | None, traffic: Traffic | None = None) -> Tensor:
    """What each process of a group has, in the order of their ranks.

    Args:
        content: [L] uint8, as long on all processes.
        group: None is this process alone.
        traffic: is told of the bytes, if given.

    Returns:
        [processes, L] uint8, on all processes.
    """
    count = dist.get_world_size(group) if group is not None else 1
    if count == 1:
        return content[None]
    everybody = torch.empty(count * content.numel(), dtype=torch.uint8, device=content.device)
    with (traffic or Traffic()).sending((count - 1) * content.numel(), content.device):
        dist.all_gather_into_tensor(everybody, content.contiguous(), group=group)
    return everybody.view(count, -1)
