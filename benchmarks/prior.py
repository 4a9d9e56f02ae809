"""What does the prior's training cost, in time and memory, beside dense attention and other networks?

    python benchmarks/prior.py --dalle_pytorch FOLDER         # all parts, in one run; the folder: see prior_rivals.py
    python benchmarks/prior.py --parts layer --threads 1

`layer`: one layer's attention, forward and backward, 4 examples of 256 text tokens and 32 x 32 codes, 8 heads of 64:
ours, torch's `scaled_dot_product_attention` under the plan's dense mask, and the same merely causal; in turn, so that a
disturbance meets all of them. With one thread processor time is measured, which others' work disturbs least.

`memory`: a training step of 12 layers, D = 512, 2 examples, bfloat16, in processes of their own: the peak of resident
memory in it above what weights, gradients and moments take (and in all). `masked product` is our network but with
scores of all pairs, a mask and a softmax, as ruDALL-E has it; `masked sdpa` with torch's fused attention under a mask.

`step`: whole training steps of the same size, loss, gradients, AdamW, each network in a process of its own: ours, set
up as `train_prior` sets itself up, one as nanoGPT writes it, and DALLE-pytorch with row and column attention in turn
and as it comes; in turn, with the machine's own matrix product probed beside each of our steps. Once with the others in
processes as torch comes, and once with all set up like ours.

Writes `results/prior.json` beside this file.
"""

from dalle.training.machine import ENVIRONMENT, prepare

if __name__ in ("__main__", "__mp_main__"):
    prepare()  # before torch is imported, as the trainings do it

import contextlib
import ctypes
import gc
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import tyro
from prior_steps import EXAMPLES, NETWORK, NetworkName
from record import record, spread
from torch import Tensor
from torch.nn import functional as F

from dalle.prior.attention import Attention, attend
from dalle.prior.config import PriorConfig
from dalle.prior.flops import TRAINING, forward_flops
from dalle.prior.losses import weighted
from dalle.prior.masks import Kind, dense_mask
from dalle.prior.network import Prior
from dalle.training.products import product_flops
from dalle.training.ranks import alone
from dalle.training.steps import OptimizerOptions, OptimizerStep

TEXT, SIDE = 256, 32
KINDS: tuple[Kind, ...] = ("row", "column", "convolution")
BARS = {
    "float32": {"row": 2.3, "column": 3.0, "convolution": 2.0},
    "bfloat16": {"row": 2.8, "column": 3.5, "convolution": 1.6},
}
"""Times as fast as under a dense mask that are expected; and 1.4 times as fast as merely causal."""
Way = Literal["ours", "ours, recomputed", "masked product", "masked sdpa", "masked sdpa, recomputed"]
WAYS: tuple[Way, ...] = ("ours", "ours, recomputed", "masked product", "masked sdpa", "masked sdpa, recomputed")


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured."""

    parts: tuple[Literal["layer", "memory", "step"], ...] = ("layer", "memory", "step")
    """Parts of the benchmark."""
    dalle_pytorch: Path | None = None
    """Folder that DALLE-pytorch is installed in; without it, it is not measured."""
    threads: int = 2
    """Threads of torch."""
    repeats: int = 7
    """Rounds of the parts that take time."""
    name: str = "prior"
    """Of the file of results."""


def layer(options: BenchmarkOptions) -> dict[str, Any]:
    """Milliseconds of forward and backward, and how many times as fast we are; medians of rounds."""
    return {name: _layer_in(getattr(torch, name), options) for name in BARS}


def _layer_in(dtype: torch.dtype, options: BenchmarkOptions) -> dict[str, Any]:
    length = TEXT + SIDE * SIDE
    heads = torch.randn(4, length, 3, 8, 64, dtype=dtype, requires_grad=True)
    gradient = torch.randn(4, length, 8, 64, dtype=dtype)
    ways: dict[str, Callable[[], Tensor]] = {"causal": lambda: _sdpa(heads, None)}
    for kind in KINDS:
        mask = dense_mask(kind, text_length=TEXT, side=SIDE)[:-1, :-1]
        ways[f"{kind}, masked"] = lambda mask=mask: _sdpa(heads, mask)
        ways[kind] = lambda kind=kind: attend(heads, kind, text_length=TEXT, side=SIDE)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats + 1):
        for name, way in ways.items():
            since = clock()
            way().backward(gradient)
            times[name].append(1e3 * (clock() - since))
            heads.grad = None
    times = {name: each[1:] for name, each in times.items()}  # the first round warms up
    medians = {name: statistics.median(each) for name, each in times.items()}
    return {
        "milliseconds": {name: spread(each, 1) for name, each in times.items()},
        "times_as_fast_as_masked": {kind: round(medians[f"{kind}, masked"] / medians[kind], 2) for kind in KINDS},
        "expected": BARS[str(dtype).removeprefix("torch.")],
        "times_as_fast_as_causal": {kind: round(medians["causal"] / medians[kind], 2) for kind in KINDS},
    }


def _sdpa(heads: Tensor, mask: Tensor | None) -> Tensor:
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None).transpose(1, 2)


class MaskedProduct(Attention):
    """Scores of all pairs of positions."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self._project(x).permute(2, 0, 3, 1, 4)
        mask = dense_mask(self.kind, text_length=self._text_length, side=self._side)[:-1, :-1]
        scores = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).masked_fill(~mask, -math.inf)
        return self.output((scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).flatten(2))


class MaskedSDPA(Attention):
    """The fused attention of torch."""

    def forward(self, x: Tensor) -> Tensor:
        mask = dense_mask(self.kind, text_length=self._text_length, side=self._side)[:-1, :-1]
        return self.output(_sdpa(self._project(x), mask).flatten(2))


def memory(options: BenchmarkOptions) -> dict[str, Any]:
    """MiB of a step in processes of their own, and shares of that of the dense masked implementations."""
    figures: dict[str, Any] = {}
    for way in WAYS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a fresh process: nothing is in its heap
            figures[way] = pool.apply(memory_of_a_step, (way, options.threads, NETWORK))
    ours = {way: figures[way]["step"] for way in WAYS}
    figures["share_of_masked_product"] = {
        way: round(ours[way] / ours["masked product"], 3) for way in ("ours", "ours, recomputed")
    }
    figures["share_of_masked_sdpa"] = {
        "ours": round(ours["ours"] / ours["masked sdpa"], 3),
        "both recomputed": round(ours["ours, recomputed"] / ours["masked sdpa, recomputed"], 3),
    }
    figures["expected"] = {"ours": 0.6, "ours, recomputed": 0.25}
    return figures


def memory_of_a_step(way: Way, threads: int, config: PriorConfig, batch: int = EXAMPLES) -> dict[str, float]:
    """MiB: the peak in a step above weights, gradients and moments, and in all.

    Args:
        way: which network.
        threads: of torch.
        config: its sizes.
        batch: examples of the step.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    prior = Prior(config, recompute="blocks" if way.endswith("recomputed") else "none")
    for block in prior.layers if way.startswith("masked") else ():
        kind = MaskedProduct if way == "masked product" else MaskedSDPA
        block.attention.inner = kind(config, block.kind)
    step = OptimizerStep(prior, OptimizerOptions(precision="bfloat16"), alone())
    text = torch.randint(0, config.vocab_size, (batch, config.text_length))
    codes = torch.randint(0, config.image_vocab_size, (batch, config.codes))
    for index in range(2):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        held = _resident("VmRSS")
        with step.autocast():
            loss = weighted(*prior.losses(text, codes))
        step.backward(loss)
        step(index)
        del loss
    gradients = sum(value.nbytes for value in prior.parameters()) / 2**20
    peak = _resident("VmHWM")
    return {"step": round(peak - held - gradients, 1), "gradients": round(gradients, 1), "in_all": round(peak, 1)}


def step(options: BenchmarkOptions) -> dict[str, Any]:
    """Ours beside others as they come, and beside others in processes that are set up as ours."""
    names: tuple[NetworkName, ...] = get_args(NetworkName)
    names = names if options.dalle_pytorch is not None else names[:2]
    return {
        "others_as_they_come": _steps_of(names, ("ours",), options),
        "all_in_processes_as_ours": _steps_of(names, names, options),
        "expected": {"nanoGPT": 1.25, "DALLE-pytorch, row and column": 1.7, "DALLE-pytorch": 2.3},
        "expected_share_of_product": 0.62,
    }


def _steps_of(names: Sequence[NetworkName], prepared: Sequence[str], options: BenchmarkOptions) -> dict[str, Any]:
    """Tokens a second of each network's steps, how many times as fast ours are, and their share of the product."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    weights, products = dict[str, int](), list[float]()
    with contextlib.ExitStack() as stack:
        processes = {name: stack.enter_context(_process(name, name in prepared, options)) for name in names}
        for name, process in processes.items():
            weights[name] = int(_line(process))
        for _ in range(options.repeats + 1):
            for name, process in processes.items():
                if name == "ours":
                    products.append(product_flops(torch.device("cpu"), torch.bfloat16))
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
                seconds[name].append(float(_line(process)))
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
    seconds = {name: each[1:] for name, each in seconds.items()}  # the first round warms up
    tokens = EXAMPLES * (NETWORK.text_length + NETWORK.codes)
    flops = TRAINING * forward_flops(NETWORK) * EXAMPLES
    shares = [flops / taken / product for taken, product in zip(seconds["ours"], products[1:], strict=True)]
    ours = statistics.median(seconds["ours"])
    return {
        "weights": weights,
        "tokens_per_second": {name: spread([tokens / each for each in some], 1) for name, some in seconds.items()},
        "times_as_fast": {name: round(statistics.median(each) / ours, 2) for name, each in seconds.items()},
        "share_of_product": spread(shares, 3),
        "product_gflops": spread([each / 1e9 for each in products[1:]], 0),
    }


def _process(name: NetworkName, prepared: bool, options: BenchmarkOptions) -> subprocess.Popen[str]:
    """One that takes a step for each line."""
    command = [sys.executable, str(Path(__file__).parent / "prior_steps.py"), name, "--threads", str(options.threads)]
    command += ["--prepared"] if prepared else []
    command += ["--dalle_pytorch", str(options.dalle_pytorch)] if options.dalle_pytorch is not None else []
    plain = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _resident(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def main(options: BenchmarkOptions) -> None:
    """Measure, print and write."""
    torch.set_num_threads(options.threads)
    parts = {"layer": layer, "memory": memory, "step": step}
    figures = {name: parts[name](options) for name in options.parts}
    record(options.name, {"threads": options.threads, **figures}, ["torch"])


if __name__ == "__main__":
    main(tyro.cli(BenchmarkOptions))
