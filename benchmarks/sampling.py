"""How fast are codes drawn, beside others' caches and what the machine allows?

    python benchmarks/sampling.py --dalle_pytorch FOLDER          # the folder: see prior_rivals.py

12 layers, D = 512, 8 heads, 256 text tokens, 32 x 32 codes, bfloat16; batches of 8 and of 64 samples, for one caption
and for one each. Ours draws whole pictures; of the others a few steps are timed at several lengths of their caches,
and the whole is worked out from these (trapezoids), for they take minutes a picture. All in turn, round after round, so
that a disturbance meets all of them; with one thread processor time is measured, which others' work disturbs least.
DALLE-pytorch is measured with its cache repaired, in bfloat16, and as it is released (`as shipped`, float32, batch 8,
one step at the first and last length of one round: minutes).

The limit: seconds of a step by the machine's own read bandwidth and by its own matrix product, probed in every round,
whichever is more. Of bytes count all weights, those of the logits with 4 bytes each and the others with 2, and of keys
and values what a step has to read.

Writes `results/sampling.json` beside this file.
"""

from dalle.training.machine import prepare

if __name__ == "__main__":
    prepare()  # before torch is imported

import contextlib
import ctypes
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from record import record, spread
from sampling_rivals import DallePytorch, HuggingFace, Rival
from torch import Tensor

from dalle.prior.config import PriorConfig
from dalle.prior.masks import kinds_of
from dalle.prior.network import Prior
from dalle.prior.sampling import Sampler

NETWORK = PriorConfig(layers=12, heads=8, head_size=64)
FLAT_FROM = 33
"""The position from which on a step is to take the same time: the rings of the rows are full."""
BARS = {
    "times_as_fast_as": {"DALLE-pytorch, repaired": 3.0, "Hugging Face GPT-2": 4.5},
    "batch_64_over_batch_8": 2.5,
    "share_of_limit": 0.5,
    "dearest_over_cheapest_window": 1.15,
}
SEEN = {"row": 33, "column": 16.5, "convolution": 55.8}
"""Codes that a code sees, on average."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured."""

    dalle_pytorch: Path | None = None
    """Folder that DALLE-pytorch is installed in; without it, it is not measured."""
    as_shipped: bool = True
    """Measure DALLE-pytorch as released, too."""
    threads: int = 2
    """Threads of torch."""
    repeats: int = 3
    """Rounds."""
    steps: int = NETWORK.codes
    """Codes that ours draws of each picture; with fewer, its time is worked out from these."""
    window: int = 3
    """Steps of the others that are timed at each length."""
    lengths: tuple[int, ...] = (257, 765, 1272)
    """Positions in the others' caches where they are timed."""
    rivals_at: tuple[int, ...] = (8, 64)
    """Batches that the others are timed with."""
    name: str = "sampling"
    """Of the file of results."""


class _Enough(Exception):
    """Raised to end a draw whose first steps were wanted."""


def clock() -> float:
    """Seconds of the wall, or with one thread of the processor."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def steps_of(sampler: Sampler, steps: int) -> list[float]:
    """Milliseconds of each step of ours, choosing included; the text, before the first, is not in it."""
    batch, at = sampler.batch, list[float]()
    text = torch.randint(0, NETWORK.vocab_size, (batch.captions, NETWORK.text_length))

    def told(done: int, _: int) -> None:
        at.append(clock())
        if done > steps:
            raise _Enough

    with contextlib.suppress(_Enough):
        sampler.draw(text, [range(batch.samples)] * batch.captions, progress=told)
    return [1e3 * float(each) for each in np.diff(at)]


def rival_step(rival: Rival, batch: int, length: int, window: int) -> float:
    """Milliseconds of a step, the median of some."""
    rival.fill(batch, length)
    taken = []
    for _ in range(window):
        since = clock()
        rival.step()
        taken.append(1e3 * (clock() - since))
    rival.clear()
    ctypes.CDLL(None).malloc_trim(0)  # `prepare` keeps what was freed, for others to use
    return statistics.median(taken)


def mean_over(lengths: tuple[int, ...], milliseconds: list[float]) -> float:
    """Of a step while a picture is drawn, from steps at some lengths."""
    return float(np.trapezoid(milliseconds, lengths) / (lengths[-1] - lengths[0]))


def bandwidth() -> float:
    """Bytes a second that are read from memory: the sum of 512 MiB."""
    numbers = torch.ones(2**27)
    return numbers.nbytes / _least_seconds(numbers.sum)


def product(side: int = 1_024) -> float:
    """FLOP a second of the product of two square matrices in bfloat16."""
    one, other = (torch.ones(side, side, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / _least_seconds(lambda: one @ other)


def _least_seconds(work: Callable[[], Tensor], repeats: int = 7) -> float:
    taken = []
    for _ in range(repeats + 1):
        since = clock()
        work()
        taken.append(clock() - since)
    return min(taken[1:])


def limit(captions: int, samples: int, read: float, product: float) -> dict[str, float]:
    """Milliseconds that a step takes at least, by reading and by computing."""
    batch, width = captions * samples, NETWORK.width
    blocks, logits = NETWORK.block_weights, NETWORK.width * NETWORK.image_vocab_size
    codes = sum(count * SEEN[kind] for kind, count in Counter(kinds_of(NETWORK.layers)).items())
    text = (NETWORK.text_length + 1) * NETWORK.layers
    bytes_read = 4 * logits + 2 * (blocks + 2 * width * (captions * text + batch * codes))
    flops = 2 * batch * (blocks + logits + 2 * width * (text + codes))
    return {"by_bandwidth": 1e3 * bytes_read / read, "by_product": 1e3 * flops / product}


def rounds(options: BenchmarkOptions) -> dict[str, dict[str, list[Any]]]:
    """Whatever is measured in each round, by its name."""
    torch.manual_seed(0)
    prior = Prior(NETWORK).eval()
    shapes = {(c, s): Sampler(prior, captions=c, samples=s) for c, s in ((1, 8), (8, 1), (1, 64), (64, 1))}
    rivals: dict[str, Rival] = {"Hugging Face GPT-2": HuggingFace(NETWORK)}
    if options.dalle_pytorch is not None:
        rivals["DALLE-pytorch, repaired"] = DallePytorch(options.dalle_pytorch, NETWORK, repaired=True)
    found: dict[str, dict[str, list[Any]]] = {"ours": {}, "rivals": {}, "probes": {}}

    def add(part: str, name: str, value: Any) -> None:
        found[part].setdefault(name, []).append(value)

    for _ in range(options.repeats):
        add("probes", "read", bandwidth())
        add("probes", "product", product())
        for (captions, samples), sampler in shapes.items():
            add("ours", f"{captions} x {samples}", steps_of(sampler, options.steps))
        for batch in options.rivals_at:
            for name, rival in rivals.items():
                steps = [rival_step(rival, batch, length, options.window) for length in options.lengths]
                add("rivals", f"{name}, batch {batch}", steps)
    if options.dalle_pytorch is not None and options.as_shipped:
        shipped = DallePytorch(options.dalle_pytorch, NETWORK, repaired=False)
        ends = [rival_step(shipped, 8, length, 1) for length in (options.lengths[0], options.lengths[-1])]
        add("rivals", "DALLE-pytorch, as shipped, batch 8", ends)
    return found


def figures_of(found: dict[str, dict[str, list[Any]]], options: BenchmarkOptions) -> dict[str, Any]:
    """What was measured, and what is expected of it."""
    seen, probes = found["ours"], found["probes"]
    ours = {name: [statistics.fmean(some) for some in each] for name, each in seen.items()}
    rivals = {
        name: [mean_over(options.lengths if len(some) > 2 else (0, 1), some) for some in each]
        for name, each in found["rivals"].items()
    }
    batch = {name: int(np.prod([int(part) for part in name.split(" x ")])) for name in ours}
    median: Callable[[str], float] = lambda name: statistics.median(ours[name])  # noqa: E731
    limits = {
        name: limit(*(int(part) for part in name.split(" x ")), *(statistics.median(probes[p]) for p in probes))
        for name in ours
    }
    return {
        "ours": {
            name: {
                "milliseconds_a_step": spread(each, 2),
                "images_per_second": round(1e3 * batch[name] / NETWORK.codes / median(name), 3),
                "limit_milliseconds": {way: round(value, 2) for way, value in limits[name].items()},
                "share_of_limit": round(max(limits[name].values()) / median(name), 3),
                "dearest_over_cheapest_window": flatness(seen[name]),
            }
            for name, each in ours.items()
        },
        "others, worked out from steps at some lengths": {
            name: {
                "milliseconds_a_step": spread(each, 1),
                "first_and_last": [round(found["rivals"][name][-1][end], 1) for end in (0, -1)],
                "ours_times_as_fast": round(statistics.median(each) / median(f"1 x {name.rpartition(' ')[2]}"), 2),
                "ours_times_as_fast_one_caption_each": round(
                    statistics.median(each) / median(f"{name.rpartition(' ')[2]} x 1"), 2
                ),
            }
            for name, each in rivals.items()
        },
        "batch_64_over_batch_8": round(8 * median("1 x 8") / median("1 x 64"), 2),
        "expected": BARS,
        "probes": {
            "read_gigabytes": spread([each / 1e9 for each in probes["read"]], 1),
            "product_gflops": spread([each / 1e9 for each in probes["product"]], 0),
        },
    }


def flatness(repeats: list[list[float]], windows: int = 8) -> float | None:
    """The dearest of some windows of steps from place 33 on over the cheapest: of each its median over all repeats."""
    steps = np.array(repeats)[:, FLAT_FROM:]
    if steps.shape[1] < windows:
        return None
    means = [float(np.median(part)) for part in np.array_split(steps, windows, axis=1)]
    return round(max(means) / min(means), 3)


def main(options: BenchmarkOptions) -> None:
    """Measure, print and write."""
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        figures = figures_of(rounds(options), options)
    how = {"threads": options.threads, "steps_of_ours": options.steps, "lengths_of_others": options.lengths}
    record(options.name, {**how, **figures}, ["torch", "transformers"])


if __name__ == "__main__":
    main(tyro.cli(BenchmarkOptions))
