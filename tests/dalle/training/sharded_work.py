"""What one of several processes does in the tests of shards; called by `tests.dalle.training.worlds`."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from dalle import train_prior
from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.memory import GLOO_COPIES, held_by
from dalle.prior.network import Prior
from dalle.prior.resblock import Recompute
from dalle.prior.sent import NOT_COMPRESSED, sent_by, units
from dalle.prior.sharded import save as save_whole
from dalle.prior.sharded import shard
from dalle.training import sharded_checkpoint
from dalle.training.cuts import marked, read
from dalle.training.ema import Ema
from dalle.training.machine import prepare
from dalle.training.ranks import Ranks, alone, joined
from dalle.training.reduction import BufferPart, Compressor, mean
from dalle.training.steps import OptimizerOptions, OptimizerStep
from dalle.training.stored_checkpoint import names, opened
from dalle.training.tensor_reader import read_header
from schemas.folder import Folder

CONFIG = PriorConfig(vocab_size=21, image_vocab_size=30, text_length=5, codes=9, layers=2, heads=2, head_size=6)
"""Of sizes that two and four parts do not go into: 21 words and 5 positions, 3 rows."""
OPTIONS = OptimizerOptions(learning_rate=3e-3, weight_decay=0.05, grad_clip=0.5, precision="float32", betas=(0.9, 0.96))
BATCH = 8
KEY_BIASES = "query_key_value.bias"
"""Keys' biases, the middle third, have no gradient but for rounding, of which Adam makes steps."""


def tokens(step: int) -> tuple[Tensor, Tensor]:
    """A batch of texts, with padding, and codes."""
    drawn = torch.Generator().manual_seed(step % 5)
    text = torch.randint(0, CONFIG.vocab_size, (BATCH, CONFIG.text_length), generator=drawn)
    position, length = torch.arange(CONFIG.text_length), torch.randint(1, 6, (BATCH, 1), generator=drawn)
    codes = torch.randint(0, CONFIG.image_vocab_size, (BATCH, CONFIG.codes), generator=drawn)
    return torch.where(position < length, text, CONFIG.vocab_size + position), codes


def begin(dtype: torch.dtype, *, meta: bool = False) -> Prior:
    """The same weights on all processes, or, on the meta device, none yet."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device("meta" if meta else "cpu"):
        return Prior(CONFIG, recompute="blocks")


class Training:
    """A prior in training, of one process alone or of several that hold its weights together."""

    def __init__(
        self,
        ranks: Ranks | None,
        dtype: torch.dtype,
        compressor: Compressor | None = None,
        options: OptimizerOptions = OPTIONS,
    ) -> None:
        self.prior, self.ranks = (
            begin(max(dtype, torch.float32, key=lambda kind: kind.itemsize), meta=bool(ranks)),
            ranks,
        )
        self.portion = BATCH // (1 if ranks is None else 2 * ranks.count)
        self.autocast = torch.autocast("cpu", dtype, enabled=dtype.itemsize < 4)
        self.shards = None if ranks is None else shard(self.prior, ranks, dtype)
        if self.shards is not None and compressor is not None:
            self.shards.reduce_by(compressor)
        self.optimizer = OptimizerStep(
            self.prior, options, ranks or alone(), blocks=self.prior.resblocks(), shards=self.shards
        )
        self.ema = Ema(self.prior, 0.9, weights=self.shards.weights if self.shards else None)

    def backward(self, step: int) -> float:
        """Gradients of this process's share, in portions; gives the loss of the whole batch."""
        rank, count = (0, 1) if self.ranks is None else (self.ranks.rank, self.ranks.count)
        own = BATCH // count
        total = torch.zeros((), dtype=torch.float64)
        of_text = (tokens(step)[0] < CONFIG.vocab_size).sum()
        for place in range(rank * own, (rank + 1) * own, self.portion):
            text, codes = (some[place : place + self.portion] for some in tokens(step))
            with self.autocast:
                nats_of_text, nats_of_codes = self.prior.losses(text, codes)
            share = (text < CONFIG.vocab_size).sum() * count / of_text
            loss = weighted(nats_of_text * share, nats_of_codes * len(text) / own)
            last = place + self.portion == (rank + 1) * own
            with self.shards.portion(last=last) if self.shards else contextlib.nullcontext():
                self.optimizer.backward(loss)
            total += loss.detach()
        return float(total if self.ranks is None else self.ranks.mean(total))

    def update(self, step: int) -> None:
        self.optimizer(step)
        self.ema.update(step + 1)

    def steps(self, first: int, end: int) -> None:
        for step in range(first, end):
            self.backward(step)
            self.update(step)

    def whole(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors of parts."""
        return parts if self.shards is None else {name: self.shards.whole(name, part) for name, part in parts.items()}

    def gradients(self) -> dict[str, Tensor]:
        named = dict(self.prior.named_parameters()) if self.shards is None else self.shards.parameters
        return self.whole({name: value.grad for name, value in named.items() if value.grad is not None})

    def weights(self) -> dict[str, Tensor]:
        return self.prior.state_dict() if self.shards is None else self.whole(self.shards.weights())

    def state(self) -> dict[str, Any]:
        weights = self.prior.state_dict() if self.shards is None else self.shards.weights()
        state = {"weights": weights, "ema": self.ema.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state if self.shards is None else marked(state, self.shards.cuts_of(self.optimizer.parameters))

    def load(self, state: dict[str, Any]) -> None:
        if self.shards is None:
            state = read(state, {})
            self.prior.load_state_dict(state["weights"])
        else:
            state = read(state, self.shards.cuts_of(self.optimizer.parameters))
            self.shards.load(state["weights"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])


def difference(some: dict[str, Tensor], others: dict[str, Tensor]) -> tuple[float, float]:
    """The largest relative, by tensor, and absolute difference of two states, biases of keys apart."""
    assert list(some) == list(others)
    relative, absolute = 0.0, 0.0
    for name, value in others.items():
        one, other = some[name].double(), value.double()
        if name.endswith(KEY_BIASES):
            one, other = (torch.cat([each.chunk(3)[0], each.chunk(3)[2]]) for each in (one, other))
        relative = max(relative, float((one - other).norm() / other.norm().clamp(min=1e-12)))
        absolute = max(absolute, float((one - other).abs().max()))
    return relative, absolute


def train_as_one(group: int, dtype: str, steps: int) -> dict[str, Any]:
    """A sharded training beside that of one process: differences of the start, a gradient, losses, weights, average."""
    kind = getattr(torch, dtype)
    with joined("cpu", group) as ranks:
        together = Training(ranks, kind)
        states, losses = [together.weights()], []
        for step in range(steps):
            losses.append(together.backward(step))
            if step == 0:
                states.append(together.gradients())
            together.update(step)
        states += [together.weights(), together.whole(dict(together.ema.state_dict()))]
        parts = together.shards.weights() if together.shards else {}
        if not ranks.first:
            return {}
    alone = Training(None, kind)
    alone.portion = together.portion  # of which each is rounded, where that is shorter
    expected, of_loss = [alone.weights()], 0.0
    expected = [{name: value.clone() for name, value in expected[0].items()}]
    for step in range(steps):
        loss = alone.backward(step)
        of_loss = max(of_loss, abs(loss - losses[step]) / loss)
        if step == 0:
            expected.append({name: value.clone() for name, value in alone.gradients().items()})
        alone.update(step)
    expected += [alone.weights(), dict(alone.ema.state_dict())]
    start, gradient, weights, average = itertools.starmap(difference, zip(states, expected, strict=True))
    held = sum(part.numel() for part in parts.values()) / sum(value.numel() for value in alone.prior.parameters())
    return {
        "start": start[1], "gradient": gradient[0], "loss": of_loss, "fell": losses[-1] / losses[0],
        "weights": weights[1], "average": average[1], "held": held,
        "norms": [float(together.optimizer.grad_norm), float(alone.optimizer.grad_norm)],
    }  # fmt: skip


def hooks(group: int) -> dict[str, Any]:
    """What a compressor is handed, and that one that takes the mean changes nothing."""
    seen: list[tuple[list[BufferPart], Tensor, int]] = []

    def record(gradient: Tensor, parts: Sequence[BufferPart], replicas: dist.ProcessGroup) -> None:
        before = gradient.clone()
        mean(gradient, parts, replicas)
        seen.append((list(parts), gradient.clone(), replicas.size()))
        assert not torch.equal(before, gradient)

    with joined("cpu", group) as ranks:
        plain, hooked = Training(ranks, torch.float32), Training(ranks, torch.float32, record)
        for training in (plain, hooked):
            training.backward(0)
        assert hooked.shards is not None
        found = dict[str, Tensor]()
        for parts, gradient, _ in seen:
            sizes = [torch.Size(part.shape).numel() for part in parts]
            for part, values in zip(parts, gradient.split(sizes), strict=True):
                found[part.name] = values.view(part.shape)
        pairs = zip(plain.shards.parameters.values(), hooked.shards.parameters.values(), strict=True)  # type: ignore[union-attr]
        own = {name: value.grad for name, value in hooked.shards.parameters.items()}
        return {
            "same": all(torch.equal(one.grad, other.grad) for one, other in pairs),  # type: ignore[arg-type]
            "calls": len(seen), "names": sorted(found) == sorted(own), "copies": seen[0][2],
            "values": all(torch.equal(found[name].flatten()[: part.numel()], part.flatten()) for name, part in own.items()),
        }  # fmt: skip


def other_groups() -> str:
    """What processes are told that were asked to form groups of one and of two."""
    try:
        with joined("cpu", 1 + int(os.environ["RANK"])):
            return "nothing"
    except ValueError as error:
        return str(error)


def overflow(group: int, precision: str) -> dict[str, Any]:
    """Two steps in float16, in the second a gradient is not finite in the last process's part; and one process's."""
    options = replace(OPTIONS, precision=precision)  # type: ignore[arg-type]
    with joined("cpu", group) as ranks:
        together, moved, scales = Training(ranks, torch.float16, options=options), [], []
        assert together.shards is not None
        for spoil in (False, True):
            before = {name: value.clone() for name, value in together.shards.weights().items()}
            together.backward(0)
            if spoil and ranks.rank == ranks.count - 1:
                together.shards.parameters["layers.1.mlp.inner.output.weight"].grad.view(-1)[-1] = torch.nan  # type: ignore[union-attr]
            together.update(0)
            after = together.shards.weights()
            moved.append(bool(ranks.most(any(not torch.equal(after[name], value) for name, value in before.items()))))
            scales.append(together.optimizer.figures())
        weights = together.weights()
        if not ranks.first:
            return {}
    lone = Training(None, torch.float16, options=options)
    lone.portion = together.portion
    lone.steps(0, 1)
    return {"moved": moved, "scales": scales, "apart": difference(weights, lone.weights())[1]}


def owing(group: int, rank: int, precision: str, folder: str, steps: int, goes_on: bool) -> dict[str, Any]:
    """Some steps of the same batch that move no weight, with gradients compressed between groups if there are several.

    Returns:
        how far, relative to what all steps made of the gradient and what was owed before, is what was handed to the
        optimizer and is owed now; whether anything was owed before, and now; bytes sent in a step, and by the formula.
    """
    options = replace(OPTIONS, precision=precision, learning_rate=1e-30, weight_decay=0.0, grad_clip=0.0)  # type: ignore[arg-type]
    with joined("cpu", group) as ranks:
        training, checkpoints = (
            Training(ranks, getattr(torch, precision.removesuffix("_scaled")), options=options),
            Folder(folder),
        )
        assert training.shards is not None
        compression = training.optimizer.compress(rank, 0, NOT_COMPRESSED) if ranks.groups > 1 else None
        if goes_on:
            header = read_header(checkpoints, names(checkpoints)[-1]).content
            with opened(checkpoints, names(checkpoints)[-1], header, ranks.from_first_copy) as tree:
                training.load(tree["run"])
        owed = {name: value.clone() for name, value in training.optimizer.state_dict()["owed"].items()}
        handed = {name: torch.zeros_like(value) for name, value in training.shards.parameters.items()}

        def hand(*_: object) -> None:
            for name, value in training.shards.parameters.items():  # type: ignore[union-attr]
                assert value.grad is not None
                handed[name] += value.grad

        training.optimizer._optimizer.register_step_pre_hook(hand)
        for traffic in (training.shards.within, training.shards.between):
            traffic.take()
        for step in range(steps):
            training.backward(0)
            training.update(step)
        (within, _), (sent, _) = training.shards.within.take(), training.shards.between.take()
        left = training.optimizer.state_dict()["owed"]
        sharded_checkpoint.save(checkpoints, 1, {"step": 1, "run": training.state()}, ranks)
        zeros = {name: torch.zeros_like(value) for name, value in handed.items()}
        was, still = (training.whole({**zeros, **each}) for each in (owed, left))
        found = {name: value + still[name] for name, value in training.whole(handed).items()}
        portions = BATCH // ranks.count // training.portion
        dtype, used = getattr(torch, precision.removesuffix("_scaled")), rank if compression else 0
        formula = sent_by(
            units(CONFIG, group, used), dtype, shard=group, groups=ranks.groups, rank=used, portions=portions
        )
        if not ranks.first:
            return {}
    lone = Training(None, torch.float32)
    lone.backward(0)
    expected = {name: steps * value + was[name] for name, value in lone.gradients().items()}
    return {
        "apart": difference(found, expected)[0], "owed": [sum(float(v.abs().sum()) for v in each.values()) for each in (was, still)],
        "bytes": [[within / steps, sent / steps], [formula.within, formula.between]], "figures": training.optimizer.figures(),
    }  # fmt: skip


def write_checkpoint(group: int, url: str, steps: int, model: str) -> bool:
    """Train a few steps and save where they stand, and the weights in one file."""
    with joined("cpu", group) as ranks:
        training = Training(ranks, torch.float32)
        training.steps(0, steps)
        sharded_checkpoint.save(Folder(url), steps, {"step": steps, "run": training.state()}, ranks)
        assert training.shards is not None
        parts = training.shards.weights()
        save_whole(training.prior, training.shards, parts, model if ranks.first else None, {"dvae": "d"})
        return True


def read_checkpoint(group: int, url: str, steps: int) -> dict[str, float]:
    """Go on from a checkpoint that others wrote, for one step, beside one process that was never interrupted."""
    with joined("cpu", group) as ranks:
        together, folder = Training(ranks, torch.float32), Folder(url)
        header = read_header(folder, names(folder)[-1]).content
        reads = folder if ranks.rank < ranks.shard else None
        with opened(reads, names(folder)[-1], header, ranks.from_first_copy) as tree:
            together.load(tree["run"])
        together.steps(steps, steps + 1)
        states = [together.weights(), together.whole(dict(together.ema.state_dict()))]
        if not ranks.first:
            return {}
    return _beside_one_process(states, steps + 1)


def _beside_one_process(states: list[dict[str, Tensor]], steps: int) -> dict[str, float]:
    alone = Training(None, torch.float32)
    alone.steps(0, steps)
    weights, average = itertools.starmap(
        difference, zip(states, [alone.weights(), dict(alone.ema.state_dict())], strict=True)
    )
    return {"weights": weights[1], "average": average[1]}


def memory(group: int, dtype: str, recompute: Recompute, size: dict[str, int], micro: int) -> dict[str, float]:
    """Bytes that a process of a sharded training comes to hold, and those that the plan counts."""
    prepare()
    config, kind = PriorConfig(**size), getattr(torch, dtype)
    with joined("cpu", group) as ranks:
        with torch.device("meta"):
            prior = Prior(config, recompute=recompute)
        ranks.most(0)
        before = _resident("VmRSS")
        shards = shard(prior, ranks, kind)
        optimizer = OptimizerStep(prior, replace(OPTIONS, precision=dtype), ranks, shards=shards)  # type: ignore[arg-type]
        ema = Ema(prior, 0.9, weights=shards.weights)
        text = torch.randint(0, config.vocab_size, (micro, config.text_length))
        codes = torch.randint(0, config.image_vocab_size, (micro, config.codes))
        for step in range(3):
            for last in (False, True):
                with optimizer.autocast():
                    loss = weighted(*prior.losses(text, codes))
                with shards.portion(last=last):
                    optimizer.backward(loss)
                del loss
            optimizer(step)
            ema.update(step + 1)
        found = _resident("VmHWM") - before
    said = held_by(config, micro, kind, recompute=recompute, shard=group, copies=GLOO_COPIES)
    return {"found": found, "said": said.total, "share": said.total / found, **dataclasses.asdict(said)}


def _resident(name: str) -> int:
    """Bytes, as the kernel counts them: now, or at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def command(flags: list[str], fault: dict[str, Any] | None = None) -> int:
    """`dalle.train_prior`; with a fault: a signal to itself at a process's step, or at its writes to a checkpoint."""
    if fault is not None and int(os.environ["RANK"]) == fault["rank"]:
        _arrange(fault)
    return train_prior.main(flags)


def _arrange(fault: dict[str, Any]) -> None:
    """Have a signal come when a function is called for the n-th time, before or after it has done its work."""
    owner: Any = {"write": sharded_checkpoint, "backward": OptimizerStep}[fault["in"]]
    name = {"write": "_write", "backward": "backward"}[fault["in"]]
    original, calls = getattr(owner, name), 0

    def strike(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault["call"] and not fault.get("after"):
            os.kill(os.getpid(), getattr(signal, fault["signal"]))
        value = original(*arguments)
        if calls == fault["call"] and fault.get("after"):
            os.kill(os.getpid(), getattr(signal, fault["signal"]))
        return value

    setattr(owner, name, strike)
