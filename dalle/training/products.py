"""How fast a machine multiplies matrices, which is the most that a training could reach on it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

SIDE, SIDE_OF_HALF, SIDE_ON_CUDA = 1_024, 256, 8_192
"""Of the matrices: large enough for a processor to be at its best, or a GPU; float16 is two hundred times slower than
bfloat16 on a processor that has no instructions for it, and more so the larger they are."""
LEAST_SECONDS = 0.1
"""Every training begins with this."""


def product_flops(
    device: torch.device,
    dtype: torch.dtype,
    *,
    repeats: int = 7,
    side: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """FLOP a second of the product of two square matrices, the median of several.

    Args:
        device: that multiplies; a processor with as many threads as torch uses now.
        dtype: of the matrices; on a processor without instructions for float16 single precision is meant as well, in
            which a training's logits are faster than all else.
        repeats: products that are timed at least, after one that is not; as many as 0.1 s take, if those are more.
        side: rows and columns of each; large ones by default.
        clock: gives seconds; `time.thread_time` of one thread is disturbed least by others' work.
    """
    if not side and device.type == "cpu" and dtype == torch.float16:
        sides = {torch.float16: SIDE_OF_HALF, torch.float32: SIDE}
        return max(product_flops(device, each, repeats=repeats, side=sides[each], clock=clock) for each in sides)
    side = side or (SIDE_ON_CUDA if device.type == "cuda" else SIDE)
    one, other = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))

    def seconds_of_one() -> float:
        _wait(device)
        begun = clock()
        one @ other
        _wait(device)
        return clock() - begun

    seconds_of_one()
    seconds, end = list[float](), time.perf_counter() + LEAST_SECONDS
    while len(seconds) < repeats or time.perf_counter() < end:
        seconds.append(seconds_of_one())
    return 2 * side**3 / statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
