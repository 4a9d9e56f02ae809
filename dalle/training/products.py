"""How fast a machine multiplies matrices, which is the most that a training could reach on it."""

from __future__ import annotations

import time

import torch

SIDE = 1_024
"""Of the matrices: large enough for a processor to be at its best."""


def product_flops(device: torch.device, dtype: torch.dtype, *, repeats: int = 7, side: int = SIDE) -> float:
    """FLOP a second of the product of two square matrices, the median of several.

    Args:
        device: that multiplies; a processor with as many threads as torch uses now.
        dtype: of the matrices.
        repeats: products that are timed, after one that is not.
        side: rows and columns of each.
    """
    one, other = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    seconds = []
    for _ in range(repeats + 1):
        _wait(device)
        begun = time.perf_counter()
        one @ other
        _wait(device)
        seconds.append(time.perf_counter() - begun)
    return float(2 * side**3 / sorted(seconds[1:])[repeats // 2])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
