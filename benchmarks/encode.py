"""How fast are pictures encoded at full size, beside OpenAI's package and this machine's own matrix product?

    python benchmarks/encode.py

The released encoder's architecture with random weights, 256 x 256 pixels, 272.3 GFLOP a picture. Ours runs as
`pipelines.encode` runs it: a process for each core, one thread each, bf16, all at once. The PyPI package `DALL-E` runs
as released, fp32, with all threads. The matrix product is bf16, 4096 squared, a process for each core, as ours. On a
CUDA GPU all three run there in one process. Writes results/encode.json.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.record import record, spread
from dalle.dvae.image_encoders import DVAEEncoder, default_device
from dalle.dvae.network import DVAE, DVAEConfig

GFLOP = 272.3
SIDE = 4096


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """How long is measured."""

    pictures: int = 8
    """By each process, each time."""
    repeats: int = 3
    """How often."""


def ours(device: str, count: int) -> Callable[[], float]:
    """Pictures a second of one process."""
    torch.manual_seed(0)
    with torch.device("cpu"):
        encoder = DVAEEncoder(DVAE(DVAEConfig()), "bf16", device)
    size = 64 if device == "cuda" else 4
    images = torch.randint(0, 256, (size, 3, 256, 256), dtype=torch.uint8)
    return lambda: _rate(lambda: encoder.encode(images), size, max(1, count // size), device)


def product(device: str, count: int) -> Callable[[], float]:
    """Pictures a second that the matrix product would allow."""
    a, b = (torch.randn(SIDE, SIDE, dtype=torch.bfloat16, device=device) for _ in range(2))
    per = 2 * SIDE**3 / (GFLOP * 1e9)
    return lambda: _rate(lambda: a @ b, per, max(4, int(count / per)), device)


def as_released(device: str, count: int) -> Callable[[], float]:
    """Pictures a second of the package, as its notebook encodes."""
    import dall_e

    torch.manual_seed(0)
    encoder = dall_e.Encoder().to(device)
    images = dall_e.map_pixels(torch.rand(1, 3, 256, 256, device=device))

    def encode() -> torch.Tensor:
        with torch.no_grad():
            return torch.argmax(encoder(images), axis=1)

    return lambda: _rate(encode, 1, max(1, count // 4), device)


WAYS = {"ours": ours, "product": product, "as_released": as_released}


def _rate(do: Callable[[], object], each: float, times: int, device: str) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        do()
    if device == "cuda":
        torch.cuda.synchronize()
    return each * times / (time.perf_counter() - begun)


def _measure(way: str, device: str, options: BenchmarkOptions, threads: int, gate: Any, answers: Any) -> None:
    torch.set_num_threads(threads)
    rate = WAYS[way](device, options.pictures if device == "cpu" else 512)
    rate()  # warm up
    for _ in range(options.repeats):
        gate.wait()
        answers.put(rate())


def measured(way: str, device: str, options: BenchmarkOptions) -> list[float]:
    """Pictures a second of all processes together, of each repeat."""
    cores = len(os.sched_getaffinity(0))
    processes = 1 if device == "cuda" or way == "as_released" else cores
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(processes), context.Queue()
    threads = cores // processes
    workers = [
        context.Process(target=_measure, args=(way, device, options, threads, gate, answers)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    rates = [sum(answers.get() for _ in range(processes)) for _ in range(options.repeats)]
    for worker in workers:
        worker.join()
    return rates


def main(options: BenchmarkOptions) -> None:
    """Measure, print and write."""
    device = default_device()
    rates = {way: measured(way, device, options) for way in WAYS}
    median = {way: spread(values)["median"] for way, values in rates.items()}
    figures = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "pictures_per_s": {way: spread(values) for way, values in rates.items()},
        "times_as_released": round(median["ours"] / median["as_released"], 2),
        "share_of_product": round(median["ours"] / median["product"], 3),
    }
    record("encode", figures, ["torch", "DALL-E"])


if __name__ == "__main__":
    main(tyro.cli(BenchmarkOptions))
