"""How fast a machine multiplies matrices, which is the most that a training could reach on it."""

from __future__ import annotations

import itertools
import time

import torch

SIDE, SIDE_ON_CUDA = 1_024, 8_192
"""Of the matrices: large enough for a processor to be at its best, or a GPU."""
LEAST_SECONDS = 0.3


def product_flops(device: torch.device, dtype: torch.dtype, *, repeats: int = 7, side: int = 0) -> float:
    """FLOP a second of the product of two square matrices, the median of several.

    Args:
        device: that multiplies; a processor with as many threads as torch uses now.
        dtype: of the matrices.
        repeats: products that are timed at least, after one that is not; as many as 0.3 s take, if those are more.
        side: rows and columns of each; large ones by default.
    """
    side = side or (SIDE_ON_CUDA if device.type == "cuda" else SIDE)
    one, other = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    seconds = list[float]()
    for number in itertools.count():
        if number > repeats and sum(seconds[1:]) >= LEAST_SECONDS:
            break
        _wait(device)
        begun = time.perf_counter()
        one @ other
        _wait(device)
        seconds.append(time.perf_counter() - begun)
    return float(2 * side**3 / sorted(seconds[1:])[(len(seconds) - 1) // 2])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
