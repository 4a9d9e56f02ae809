"""Does one scale for all gradients lose them in float16 where a scale of each residual block keeps them?

    python benchmarks/gradient_scales.py

A prior of 64 layers, 16 wide, learns sequences of a small grammar: in single precision; in float16 with one scale for
all gradients (by the rule of torch's `GradScaler`, which begins with 2^16 and doubles it after 2,000 good steps); and
in float16 with the scales of `dalle.training.gradient_scales`. From the same weights, on the same batches.

The loss is divided by the overall batch (Ramesh et al. 2021, App. D.4): this process stands for one of M that have the
same, and what is divided is multiplied back before the optimizer, which so gets the same gradients in all ways, but for
what was lost. M is 2^13 where all processes together have the paper's 1,024 x 1,280 tokens; a network of this size has
larger gradients a number than the paper's (3,968 wide, attention over 1,280 positions), so larger M are tried as well.
With small M one scale is enough for it, which is measured too: what fails is one scale that does not fit, and that has
to be found by hand for each size, not a spread between blocks that no scale could fit.

Of each residual block: which share of the gradients of its products is 0 in the first step, half-way, and in the last.
Of each way: its loss, the mean of the last 20 steps, and by how much that is above single precision's, and the mean of
all steps above its; steps skipped. Trainings whose gradients differ by rounding alone part for a while where the loss
falls fast, and come together again as the learning rate falls.

Writes `results/gradient_scales.json` beside this file, and the shares and losses as a picture, `gradient_scales.png`.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.record import RESULTS, record
from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.masks import Kind
from dalle.prior.network import Prior
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerOptions, OptimizerStep, Precision

CPU = torch.device("cpu")
LAST = 20
"""Steps whose mean loss is compared."""


@dataclass(frozen=True, kw_only=True)
class ScalesOptions:
    """How much is tried."""

    layers: int = 64
    """Layers of the network."""
    heads: int = 2
    """Heads of attention, of 8 dimensions each."""
    batch_size: int = 8
    """Examples of a step."""
    steps: int = 300
    """Steps of the optimizer."""
    learning_rate: float = 5e-3
    """At its peak."""
    initial_scale: float = 4.0
    """What initial matrices are multiplied by: deviations of 0.02 are for wide ones, and so narrow ones would learn
    nothing."""
    replicas: tuple[int, ...] = (1, 2**13, 2**20, 2**26)
    """M that one scale is tried with; scales of each block with the last of them."""
    processes: int = 2
    """Ways that are trained at a time, with one thread each."""
    name: str = "gradient_scales"
    """Of the files of results."""


class OneOfMany(Ranks):
    """A process that stands for many, which all have the same."""

    def mean(self, values: Tensor) -> Tensor:
        """Of equal values."""
        return values


def examples(config: PriorConfig, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Texts, by chance; and codes: one more than the code before in half of the columns, three less in the others.

    One in ten is by chance. That it depends on code and column together is nothing embeddings alone can learn.
    """
    text = torch.randint(0, config.vocab_size, (count, config.text_length), generator=rng)
    codes = torch.randint(0, config.image_vocab_size, (count, config.codes), generator=rng)
    chance = torch.rand(codes.shape, generator=rng) < 0.1
    for place in range(1, config.codes):
        following = (
            codes[:, place - 1] + (1 if place % config.side < config.side // 2 else -3)
        ) % config.image_vocab_size
        codes[:, place] = torch.where(chance[:, place], codes[:, place], following)
    return text, codes


class Watched:
    """Shares of zeros in the gradients of what each block's products make, while it watches."""

    def __init__(self, prior: Prior) -> None:
        self.watches = False
        self._zeros: dict[str, list[int]] = {name: [0, 0] for name in prior.resblocks()}
        for name, block in prior.resblocks().items():
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    layer.register_full_backward_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def count(_layer: nn.Module, _of_input: Any, of_output: tuple[Tensor, ...]) -> None:
            if self.watches:
                zeros = self._zeros[name]
                zeros[0] += int((of_output[0] == 0).sum())
                zeros[1] += of_output[0].numel()

        return count

    def take(self) -> dict[str, float]:
        """Since it was last asked."""
        shares = {name: round(zeros / max(1, number), 4) for name, (zeros, number) in self._zeros.items()}
        self._zeros = {name: [0, 0] for name in self._zeros}
        return shares


def network(options: ScalesOptions) -> Prior:
    """The same one for each way."""
    torch.manual_seed(0)
    config = PriorConfig(
        vocab_size=16,
        image_vocab_size=16,
        text_length=4,
        codes=16,
        layers=options.layers,
        heads=options.heads,
        head_size=8,
    )
    kinds: list[Kind] = ["dense"] * options.layers
    prior = Prior(config, kinds=kinds)
    with torch.no_grad():
        for value in prior.parameters():
            if value.ndim > 1:
                value.mul_(options.initial_scale)
    return prior


def multiply_gradients(prior: Prior, factor: int) -> None:
    """In place."""
    torch._foreach_mul_([value.grad for value in prior.parameters() if value.grad is not None], float(factor))


def learn(options: ScalesOptions, precision: Precision, replicas: int) -> dict[str, Any]:
    """Train one way; gives its losses and shares."""
    prior, rng = network(options), torch.Generator().manual_seed(1)
    watched, ranks = Watched(prior), OneOfMany(rank=0, count=replicas, device=CPU)
    adamw = OptimizerOptions(
        precision=precision,
        learning_rate=options.learning_rate,
        decay_steps=options.steps,
        warmup_steps=20,
        betas=(0.9, 0.96),
    )
    step = OptimizerStep(prior, adamw, ranks, blocks=prior.resblocks())
    divided = 1 if precision == "float16_scaled" else replicas  # there it is divided already
    step._optimizer.register_step_pre_hook(lambda *_: multiply_gradients(prior, divided))
    losses, skipped, shares, since = [], 0, {}, time.process_time()
    for index in range(options.steps):
        watched.watches = index in (0, options.steps // 2, options.steps - 1)
        with step.autocast():
            loss = weighted(*prior.losses(*examples(prior.config, options.batch_size, rng)))
        step.backward(loss / divided)
        step(index)
        losses.append(float(loss.detach()))
        skipped += not bool(step.grad_norm.isfinite())
        if watched.watches:
            shares[index + 1] = watched.take()
    return {
        "loss": losses,
        "skipped": skipped,
        "zeros": shares,
        "figures": step.figures(),
        "seconds": round(time.process_time() - since, 1),
    }


def compared(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is written of each way: loss, difference from single precision, shares of zeros."""
    final = {way: statistics.mean(one["loss"][-LAST:]) for way, one in found.items()}
    whole = {way: statistics.mean(one["loss"]) for way, one in found.items()}
    return {
        way: {
            "loss": round(final[way], 4),
            "above float32": round(final[way] - final["float32"], 4),
            "above float32, mean of all steps": round(whole[way] - whole["float32"], 4),
            "skipped": one["skipped"],
            "zeros": {step: round(statistics.mean(shares.values()), 4) for step, shares in one["zeros"].items()},
            "zeros by resblock, last step": list(one["zeros"][max(one["zeros"])].values()),
            "losses": [round(loss, 4) for loss in one["loss"][:: max(1, len(one["loss"]) // 30)]],
            "processor seconds": one["seconds"],
        }
        for way, one in found.items()
    }


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Shares of zeros by resblock in the last step, and losses."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    zeros, losses = figure.subplots(1, 2)
    for way, one in found.items():
        zeros.plot(list(one["zeros"][max(one["zeros"])].values()), label=way)
        losses.plot(one["loss"], label=way, linewidth=0.8)
    zeros.set_xlabel("resblock, from first to last: attention, MLP, ...")
    zeros.set_ylabel("share of activation gradients that are 0")
    losses.set_xlabel("step")
    losses.set_ylabel("nats a token")
    losses.legend(fontsize=7)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})


def main(options: ScalesOptions) -> dict[str, Any]:
    """Train all ways, compare, draw and write."""
    most = options.replicas[-1]
    ways: dict[str, tuple[Precision, int]] = {"float32": ("float32", 1)}
    ways[f"float16, a scale of each resblock, M = {most:,}"] = "float16_scaled", most
    ways |= {f"float16, one scale, M = {replicas:,}": ("float16", replicas) for replicas in options.replicas}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawn, torch.set_num_threads, (1,)) as pool:
        running = {name: pool.submit(learn, options, *way) for name, way in ways.items()}
        found = {name: each.result() for name, each in running.items()}
    RESULTS.mkdir(exist_ok=True)
    draw(found, RESULTS / f"{options.name}.png")
    figures = compared(found)
    record(options.name, figures, ["torch"])
    return figures


if __name__ == "__main__":
    main(tyro.cli(ScalesOptions))
