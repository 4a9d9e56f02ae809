"""What PowerSGD computes of a matrix on its way, counted from its own code: bytes that operators move."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dalle.training.formats import ONE_SIX_NINE
from dalle.training.low_rank import LowRankMatrix

_SIDE, _RANK = 512, 4
_PRODUCTS = ("mm", "addmm", "bmm", "qr", "linalg_qr")


@dataclass(frozen=True)
class Phases:
    """Of a square matrix of large side and small rank."""

    moved: tuple[float, float, float]
    """Bytes that operators read and write for each number of the matrix, until P, from there to Q, and to the end;
    products apart, and nothing fused."""


class _Moved(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in _PRODUCTS:
            tensors = (each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor))
            self.count += sum(each.nbytes for each in tensors)
        return result


@functools.cache
def phases() -> Phases:
    """Counted once; factors are so small beside the matrix that only its own numbers count."""
    matrix, gradient = LowRankMatrix((_SIDE, _SIDE), _RANK, (0,), ONE_SIX_NINE), torch.randn(_SIDE, _SIDE)

    def moved(work: Callable[[], torch.Tensor | None]) -> tuple[torch.Tensor | None, float]:
        with _Moved() as counter:
            result = work()
        return result, counter.count / _SIDE**2

    def project() -> torch.Tensor:
        matrix.add(gradient)
        return matrix.projected()

    first, of_first = moved(project)
    assert first is not None

    def weigh() -> torch.Tensor:
        matrix.orthogonalize(first)
        return matrix.weighed()

    second, of_second = moved(weigh)
    assert second is not None
    _, of_third = moved(lambda: matrix.decompress(second))
    return Phases((of_first, of_second, of_third))
