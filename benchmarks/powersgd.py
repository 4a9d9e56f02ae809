"""Does PowerSGD as the paper does it cost loss, what does it send, and what does torch's own do in the same run?

    python benchmarks/powersgd.py answers
    python benchmarks/powersgd.py captions

Two processes train a network of width 64 with the same batches and initial weights each time: gradients averaged as
they are (DDP); by `dalle.training.powersgd` at the paper's relative rank, 16 of 64, with directions that stay, as the
paper has them, with those of the step before (warm start), and with new ones each step; and by torch's `powerSGD_hook`
of the same rank, as it comes except that it begins at step 2 and compresses whatever becomes smaller. Loss of what is
held out, bytes that one process sends a step (counted at the call; of an all-reduce those of a ring), seconds a step.

`answers`: four layers that learn what another network answers, drawn by its probabilities, so that the loss comes near
its floor, where the paper compares. `captions`: two layers of a transformer that go on with the characters of drawn
scenes' captions, whose loss is still falling after so few steps: what comes late costs most there.

`orthogonal`: the same P of gradients of low rank made orthonormal by reflections and by Gram-Schmidt, which torch's
hook takes for 16 bits: the greatest error of a product of two columns, and milliseconds for 3,968 x 112.

`paper`: what the formula says of the paper's three networks, which counted bytes are checked against.

Writes `results/powersgd_<task>.json` beside this file.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import torch.distributed.nn  # before processes meet: see dalle.training.ranks
import tyro
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as torchs
from torch.nn.parallel import DistributedDataParallel

from benchmarks.record import record, spread
from dalle.scenes import compose, describe
from dalle.training.bandwidth import PAPER, GradientShape, exchange_bytes, resblock, saving, settle_bytes
from dalle.training.formats import ONE_SIX_NINE
from dalle.training.orthogonal import orthogonalized
from dalle.training.powersgd import Neighbours, PowerSGD

PROCESSES, WIDTH, RANK, LENGTH, ANSWERS, RATE, CLIP = 2, 64, 16, 48, 16, 2e-3, 4.0
VARIANTS = ("uncompressed", "fixed", "warm start", "resampled", "torch's hook")


@dataclass(frozen=True, kw_only=True)
class PowerSGDBenchmarkOptions:
    """How much is tried."""

    task: Annotated[Literal["answers", "captions"], tyro.conf.Positional]
    """What is learnt."""
    steps: int = 2_000
    """Steps of each training."""
    seeds: int = 1
    """Trainings of each kind."""
    captions: int = 6_000
    """Captions, a tenth of which are held out."""


class Characters(nn.Module):
    """A transformer of two layers over characters."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, WIDTH), nn.Embedding(LENGTH, WIDTH)
        maps = nn.ModuleList(nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4)) for _ in range(2))
        mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)) for _ in range(2)
        )
        self.inner = nn.ModuleList([maps, mlps])
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(5))
        self.output = nn.Linear(WIDTH, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] to logits [B, L, vocabulary]."""
        x = self.token(tokens) + self.position.weight
        for index, (maps, mlp) in enumerate(zip(*self.inner, strict=True)):
            normed = self.norms[2 * index](x)
            heads = [each(normed).unflatten(-1, (4, -1)).transpose(1, 2) for each in maps[:3]]
            attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
            x = x + maps[3](attended.transpose(1, 2).flatten(-2))
            x = x + mlp(self.norms[2 * index + 1](x))
        return self.output(self.norms[4](x))


class Task(Protocol):
    """What is learnt."""

    def network(self) -> nn.Module:
        """What learns it; its inner matrices are in `inner`."""
        ...

    def loss(self, network: nn.Module, key: tuple[int, ...]) -> Tensor:
        """Nats an answer, of a batch that the key decides."""
        ...

    def held_out(self, network: nn.Module) -> Tensor:
        """Nats of what no batch has."""
        ...


def drawing(key: tuple[int, ...]) -> torch.Generator:
    """Random numbers that the key decides."""
    return torch.Generator().manual_seed(hash(key) % 2**62)


class Captions:
    """The next character of drawn scenes' captions."""

    def __init__(self, count: int) -> None:
        texts = [describe(compose(seed))[0] + "\n" for seed in range(count)]
        alphabet = {character: index for index, character in enumerate(sorted(set("".join(texts))))}
        cut, self._vocabulary = count * 9 // 10, len(alphabet)
        parts = texts[:cut], texts[cut:]
        self._training, held_out = (torch.tensor([alphabet[c] for text in part for c in text]) for part in parts)
        self._watched = torch.cat([self._pieces(held_out, (9, index), 32) for index in range(16)])

    def network(self) -> nn.Module:
        """A transformer."""
        return Characters(self._vocabulary)

    def loss(self, network: nn.Module, key: tuple[int, ...]) -> Tensor:
        """Of 8 pieces."""
        return self._loss(network, self._pieces(self._training, key, 8))

    def held_out(self, network: nn.Module) -> Tensor:
        """Of 512 pieces of other captions."""
        return self._loss(network, self._watched)

    def _pieces(self, row: Tensor, key: tuple[int, ...], size: int) -> Tensor:
        starts = torch.randint(len(row) - LENGTH - 1, (size,), generator=drawing(key))
        return torch.stack([row[start : start + LENGTH + 1] for start in starts.tolist()])

    def _loss(self, network: nn.Module, pieces: Tensor) -> Tensor:
        return nn.functional.cross_entropy(network(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())


class Answers:
    """What another network answers, drawn by its probabilities."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        first, last = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, ANSWERS)
        self._teacher = nn.Sequential(first, nn.Tanh(), last).requires_grad_(False)
        last.weight *= 6
        self._watched = self._examples((9,), 8_000)

    def network(self) -> nn.Module:
        """Four layers and one more."""
        inner = [layer for _ in range(4) for layer in (nn.Linear(WIDTH, WIDTH), nn.GELU())]
        return nn.Sequential(OrderedDict(inner=nn.Sequential(*inner), output=nn.Linear(WIDTH, ANSWERS)))

    def loss(self, network: nn.Module, key: tuple[int, ...]) -> Tensor:
        """Of 128 examples."""
        return self._loss(network, self._examples(key, 128))

    def held_out(self, network: nn.Module) -> Tensor:
        """Of 8,000 other examples."""
        return self._loss(network, self._watched)

    def _examples(self, key: tuple[int, ...], size: int) -> tuple[Tensor, Tensor]:
        draw = drawing(key)
        inputs = 2 * torch.randn(size, WIDTH, generator=draw)
        answers = torch.multinomial(self._teacher(inputs).softmax(-1), 1, generator=draw)
        return inputs, answers[:, 0]

    def _loss(self, network: nn.Module, examples: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(network(examples[0]), examples[1])


class Exchange:
    """How gradients of one kind of training are averaged, and the bytes that this took."""

    def __init__(self, network: nn.Module, kind: str, seed: int) -> None:
        self.kind, self.bytes, self.weights = kind, 0, dict(network.named_parameters())
        self.network: nn.Module = network
        if kind in ("uncompressed", "torch's hook"):
            parallel = DistributedDataParallel(network)
            if kind == "torch's hook":
                state = torchs.PowerSGDState(
                    None, RANK, start_powerSGD_iter=2, min_compression_rate=1, random_seed=seed
                )
                parallel.register_comm_hook(state, torchs.powerSGD_hook)
            self.network = parallel
            return
        self.shapes = [
            GradientShape(name=n, shape=tuple(w.shape), is_compressed=w.ndim > 1 and n.startswith("inner."))
            for n, w in self.weights.items()
        ]
        self.ours = PowerSGD(self.shapes, RANK, Neighbours(machines=dist.group.WORLD), seed=seed)
        self._draw = torch.Generator().manual_seed(seed + 1)

    def average(self) -> None:
        """Put means in the place of gradients."""
        if self.kind == "uncompressed":
            self.bytes = ring(4 * sum(weight.numel() for weight in self.weights.values()))
        if self.kind in ("uncompressed", "torch's hook"):
            return  # DDP has done it
        if self.kind == "resampled":
            for matrix in self.ours.matrices.values():
                drawn = torch.randn(matrix.directions.shape, generator=self._draw)
                matrix.directions = ONE_SIX_NINE.encode(drawn)
        report = self.ours.average([weight.grad for weight in self.weights.values() if weight.grad is not None])
        assert not report.skipped, report
        assert report.alike
        self.bytes = report.bytes_sent
        expected = exchange_bytes(self.shapes, RANK, PROCESSES) + settle_bytes(len(self.shapes), PROCESSES)
        assert report.bytes_sent == expected, "the formula is another"
        if self.kind == "warm start":
            self._follow()

    def _follow(self) -> None:
        """Directions that span what was sent: those of torch's warm start, Q."""
        for name, matrix in self.ours.matrices.items():
            sent = self.weights[name].grad
            assert sent is not None
            wide = sent if sent.shape[0] <= sent.shape[1] else sent.mT
            spanned = wide.mT @ torch.randn(wide.shape[0], matrix.rank, generator=self._draw)
            matrix.directions = ONE_SIX_NINE.encode(orthogonalized(spanned / spanned.abs().max()))


def ring(count: int) -> int:
    """Bytes that a process sends for an all-reduce of so many."""
    return 2 * (PROCESSES - 1) * count // PROCESSES


def counted(exchange: Exchange) -> Callable[..., Any]:
    """`all_reduce`, counting for torch's hook."""
    original = dist.all_reduce

    def all_reduce(tensor: Tensor, *rest: Any, **more: Any) -> Any:
        exchange.bytes += ring(tensor.numel() * tensor.element_size())
        return original(tensor, *rest, **more)

    return all_reduce


def train(task: Task, kind: str, seed: int, steps: int) -> dict[str, Any]:
    """One training; its losses, bytes and seconds."""
    torch.manual_seed(seed)
    exchange = Exchange(task.network(), kind, seed)
    optimizer = torch.optim.AdamW(exchange.weights.values(), lr=RATE)
    original, seconds, losses = dist.all_reduce, [], {}
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100, 2 * (1 - step / steps))
        since, exchange.bytes = time.perf_counter(), 0
        loss = task.loss(exchange.network, (seed, step, dist.get_rank()))
        optimizer.zero_grad()
        dist.all_reduce = counted(exchange) if kind == "torch's hook" else original
        loss.backward()
        dist.all_reduce = original
        exchange.average()
        nn.utils.clip_grad_norm_(exchange.weights.values(), CLIP)
        optimizer.step()
        seconds.append(time.perf_counter() - since)
        if (step + 1) % max(1, steps // 4) == 0:
            with torch.no_grad():
                losses[str(step + 1)] = round(float(task.held_out(exchange.network)), 5)
    return {"held_out_nats": losses, "bytes_a_step": exchange.bytes, "seconds_a_step": spread(seconds)}


def gram_schmidt(matrix: Tensor, epsilon: float) -> Tensor:
    """As torch's hook does it."""
    columns = matrix.clone()[None]
    torchs._orthogonalize_gram_schmidt(columns, epsilon)
    return columns[0]


def error(columns: Tensor) -> float | str:
    """The greatest of a product of two columns."""
    found = float((columns.double().mT @ columns.double() - torch.eye(columns.shape[1])).abs().max())
    return found if found == found else "NaN"


def orthogonal() -> dict[str, Any]:
    """Errors and times of reflections and Gram-Schmidt."""
    torch.manual_seed(0)
    gradient = torch.randn(992, 16) @ torch.randn(16, 496)
    p = gradient @ torch.randn(496, 112)
    wide = torch.randn(3968, 112)
    ways = {
        "Householder": lambda each: orthogonalized(each / each.abs().max()),
        "Gram-Schmidt, float32": lambda each: gram_schmidt(each, 0.0),
        "Gram-Schmidt, bfloat16": lambda each: gram_schmidt(each.bfloat16(), 0.0),
        "Gram-Schmidt, bfloat16, epsilon 1e-6": lambda each: gram_schmidt(each.bfloat16(), 1e-6),
    }
    figures = {}
    for name, way in ways.items():
        times = []
        for _ in range(5):
            since = time.perf_counter()
            way(wide)
            times.append(1000 * (time.perf_counter() - since))
        figures[name] = {"error_of_rank_16": error(way(p)), "milliseconds": spread(times, 1)}
    return figures


def paper() -> dict[str, Any]:
    """Tables 1 and 2 by the formula, on machines of 8 GPUs."""
    return {
        f"width {width}, rank {rank}": {
            "saving_percent": round(100 * saving(width, rank, 8), 2),
            "numbers_of_a_shard": {
                name: [row.gradient, row.rows_factor, row.columns_factor]
                for name, row in resblock(width, rank, 8).items()
            },
        }
        for width, rank in PAPER
    }


def work(rank: int, port: int, options: PowerSGDBenchmarkOptions, folder: Path) -> None:
    """Be one of the processes."""
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    task = Answers() if options.task == "answers" else Captions(options.captions)
    found: dict[str, list[Any]] = {kind: [] for kind in VARIANTS}
    for seed in range(options.seeds):
        for kind in VARIANTS:
            found[kind].append(train(task, kind, seed, options.steps))
            if rank == 0:
                print(f"  seed {seed}, {kind}: {found[kind][-1]}", flush=True)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def main(options: PowerSGDBenchmarkOptions) -> None:
    """Train, measure, write down."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        arguments = (port, options, Path(folder))
        torch.multiprocessing.start_processes(work, arguments, nprocs=PROCESSES, start_method="fork")
        found = json.loads((Path(folder) / "found.json").read_text())
    plain = [each["held_out_nats"][str(options.steps)] for each in found["uncompressed"]]
    worse = {
        kind: [
            round(100 * (each["held_out_nats"][str(options.steps)] / least - 1), 3)
            for each, least in zip(found[kind], plain, strict=True)
        ]
        for kind in VARIANTS[1:]
    }
    figures = {
        "trainings": found,
        "loss_above_uncompressed_percent": worse,
        "orthogonal": orthogonal(),
        "paper": paper(),
    }
    record(f"powersgd_{options.task}", figures, ["torch", "numpy"])


if __name__ == "__main__":
    main(tyro.cli(PowerSGDBenchmarkOptions))
