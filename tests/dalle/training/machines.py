"""Processes that average gradients as machines do, forked from one that has imported torch already: a program.

    python -m tests.dalle.training.machines CASE COUNT FOLDER

Each process does the case by its rank and leaves what it found in `<rank>.json`; the program prints their exit codes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed.nn  # here and not in each process: see `joined`
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from dalle.training.bandwidth import GradientShape, exchange_bytes, settle_bytes
from dalle.training.formats import ONE_SIX_NINE
from dalle.training.powersgd import Neighbours, PowerSGD
from dalle.training.ranks import Ranks, joined
from dalle.training.words import SINGLE, width
from schemas.commands.ending import CommandWords, conclude
from tests.dalle.training.powersgd_oracle import Oracle

STEPS = 4
FOLDER = Path(sys.argv[-1])


def drawn(seed: int) -> tuple[list[GradientShape], int, int]:
    """Gradients, a rank, and how likely one is spoilt."""
    draw = random.Random(seed)
    shapes = [
        GradientShape(name=f"m{i}", shape=(draw.randint(1, 12), draw.randint(1, 12)), is_compressed=True)
        for i in range(draw.randint(0, 3))
    ]
    shapes += [
        GradientShape(name=f"v{i}", shape=(draw.randint(1, 9),), is_compressed=False) for i in range(draw.randint(0, 2))
    ]
    shapes.append(GradientShape(name="none", shape=(0, 4), is_compressed=True))  # a shard of few rows may have none
    return shapes, draw.randint(1, 8), draw.choice([0, 0, 10])


def gradients(shapes: list[GradientShape], key: tuple[int, ...], spoilt: int) -> list[Tensor]:
    """Of one machine in one step; each of them is not finite, or overflows 1-6-9, so often in a hundred."""
    draw = random.Random(repr(key))
    generator = torch.Generator().manual_seed(draw.getrandbits(60))
    values = [torch.randn(shape.shape, generator=generator) for shape in shapes]
    for value in values:
        if value.numel() and draw.randrange(100) < spoilt:
            value.view(-1)[draw.randrange(value.numel())] = draw.choice([torch.inf, -torch.inf, torch.nan, 1000.0])
    return values


def against_the_oracle(ranks: Ranks) -> dict[str, Any]:
    """Every process knows what all are given, so that it knows what each has to get."""
    worst, skipped, alike, problems = {"single": 0.0, "1-6-9": 0.0}, 0, 0, []
    seeds = range(60 // ranks.count)
    for seed in seeds:
        shapes, rank, spoilt = drawn(seed)
        name, form = ("single", SINGLE) if seed % 2 else ("1-6-9", ONE_SIX_NINE)
        ours = PowerSGD(shapes, rank, Neighbours(machines=dist.group.WORLD), seed=seed, form=form)
        directions = {each: form.decode(matrix.directions) for each, matrix in ours.matrices.items()}
        oracle = Oracle(directions, ranks.count, form)
        for step in range(STEPS):
            given = [gradients(shapes, (seed, step, machine), spoilt) for machine in range(ranks.count)]
            expected = oracle.step([dict(zip([s.name for s in shapes], each, strict=True)) for each in given])
            own = given[ranks.rank]
            report = ours.average(own)
            skipped, alike = skipped + report.skipped, alike + report.alike
            bytes_sent = exchange_bytes(shapes, rank, ranks.count, width(form)) + settle_bytes(len(shapes), ranks.count)
            if (report.bytes_sent, report.skipped, list(report.not_finite)) != (
                bytes_sent, bool(expected.not_finite), expected.not_finite,
            ):  # fmt: skip
                problems.append(f"{seed} {step}: {report}, expected {expected.not_finite}, {bytes_sent} bytes")
            pairs = [(form.decode(ours.matrices[n].errors), oracle.buffers[ranks.rank][n]) for n in ours.matrices]
            if not report.skipped:
                pairs += [(value, expected.means[s.name]) for value, s in zip(own, shapes, strict=True)]
                pairs.append((torch.tensor(report.norm), torch.tensor(expected.norm)))
            worst[name] = max([worst[name], *(distance(a, b) for a, b in pairs)])
    return {"worst": worst, "skipped": skipped, "alike": alike, "problems": problems, "steps": STEPS * len(seeds)}


def distance(value: Tensor, expected: Tensor) -> float:
    """Greatest difference, beside the greatest number expected or 1."""
    if not value.isfinite().all():
        return float("inf")
    greatest = float(expected.abs().max()) if value.numel() else 1.0
    return float((value.double() - expected.double()).abs().max()) / max(1.0, greatest) if value.numel() else 0.0


def full_rank(ranks: Ranks) -> dict[str, Any]:
    """The plain all-reduce's mean, for matrices of any condition."""
    sizes = ((24, 8), (8, 24), (16, 16), (1, 9), (5, 2, 3))
    shapes = [GradientShape(name=str(size), shape=size, is_compressed=True) for size in sizes]
    shapes.append(GradientShape(name="gain", shape=(7,), is_compressed=False))
    worst = 0.0
    for step in range(6):
        if step % 2 == 0:  # what the rounding of great gradients leaves would be great beside small ones
            ours = PowerSGD(shapes, 24, Neighbours(machines=dist.group.WORLD), form=SINGLE)
        own = gradients(shapes, (7, step, ranks.rank), 0)
        if step in (2, 3):  # of low rank, and tiny
            own = [1e-9 * value[..., :1].expand_as(value).contiguous() for value in own]
        plain = [value.clone() for value in own]
        for value in plain:
            dist.all_reduce(value)
        ours.average(own)
        for value, total in zip(own, plain, strict=True):
            worst = max(worst, float((value - total / ranks.count).norm() / (total / ranks.count).norm()))
    return {"worst": worst}


def restart(ranks: Ranks) -> dict[str, Any]:
    """What each machine had, what all know of it, and what they go on with."""
    shapes, found = [GradientShape(name="m", shape=(6, 9), is_compressed=True)], {}
    for name, form in (("single", SINGLE), ("1-6-9", ONE_SIX_NINE)):
        ours = PowerSGD(shapes, 2, Neighbours(machines=dist.group.WORLD), form=form)
        for step in range(3):
            ours.average(gradients(shapes, (1, step, ranks.rank), 0))
        owed = ours.buffers.owed()
        other = PowerSGD(shapes, 2, Neighbours(machines=dist.group.WORLD), form=form)
        other.buffers.owe(owed)
        value = gradients(shapes, (1, 9, ranks.rank), 0)
        twice = [value[0].clone()]
        found[name] = {
            "own": form.decode(ours.matrices["m"].errors).tolist(),
            "owed": owed["m"].tolist(),
            "loaded": form.decode(other.matrices["m"].errors).tolist(),
        }
        ours.average(value)
        other.average(twice)
        found[name]["apart"] = float((value[0] - twice[0]).norm() / value[0].norm())
    return found


def other_hardware(ranks: Ranks) -> list[bool]:
    """Whether averages are the same, of three steps; in the second P is one word another on the second machine."""
    shapes, alike = [GradientShape(name="m", shape=(6, 9), is_compressed=True)], []
    ours = PowerSGD(shapes, 2, Neighbours(machines=dist.group.WORLD))
    matrix = ours.matrices["m"]
    orthogonalize = matrix.orthogonalize

    def otherwise(words: Tensor) -> None:
        orthogonalize(words)
        matrix._basis[0, 0] += 1

    for step in range(3):
        matrix.orthogonalize = otherwise if (step, ranks.rank) == (1, 1) else orthogonalize
        alike.append(ours.average(gradients(shapes, (3, step, ranks.rank), 0)).alike)
    return alike


def spoilt_on_the_way(ranks: Ranks) -> list[Any]:
    """P, then Q, are not finite on the second machine although its buffer is: what is said, what the buffers gained."""
    shapes, found = [GradientShape(name="m", shape=(6, 9), is_compressed=True)], []
    ours = PowerSGD(shapes, 2, Neighbours(machines=dist.group.WORLD))
    matrix = ours.matrices["m"]
    for step, name in enumerate(("projected", "weighed", "nothing")):
        whole = getattr(matrix, name, None)
        if whole is not None and ranks.rank == 1:
            setattr(matrix, name, lambda whole=whole: ONE_SIX_NINE.encode(torch.full(whole().shape, torch.nan)))
        before, given = ONE_SIX_NINE.decode(matrix.errors), gradients(shapes, (4, step, ranks.rank), 0)
        added = ONE_SIX_NINE.round(before + given[0])
        report = ours.average(given)
        found.append([report.skipped, report.norm, torch.equal(added, ONE_SIX_NINE.decode(matrix.errors))])
        if whole is not None:
            setattr(matrix, name, whole)
    return found


def shards_and_machines(ranks: Ranks) -> dict[str, Any]:
    """FSDP inside of a machine, PowerSGD between two of them, at full rank: the gradients of one process."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("machines", "shards"))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5))  # 7 and 5 rows: one shard has padding
    inputs, targets = torch.randn(4, 3, 6), torch.randn(4, 3, 5)
    nn.functional.mse_loss(network(inputs.flatten(0, 1)), targets.flatten(0, 1)).backward()
    expected = {name: value.grad for name, value in network.named_parameters()}
    network.zero_grad()
    blocks = [network[0], network[2]]
    for block in blocks:
        fully_shard(block, mesh=mesh["shards"])
    local = {name: cast(Any, value).to_local() for name, value in network.named_parameters()}
    shapes = [
        GradientShape(name=name, shape=tuple(value.shape), is_compressed=value.ndim > 1)
        for name, value in local.items()
    ]
    neighbours = Neighbours(machines=mesh["machines"].get_group(), shards=mesh["shards"].get_group())
    ours = PowerSGD(shapes, 8, neighbours, form=SINGLE)
    for index, block in zip(("0", "2"), blocks, strict=True):
        rows, columns = block.weight.shape
        room = [-(-rows // 2) * columns, -(-rows // 2)]
        block.set_all_reduce_hook(ours.hook([f"{index}.weight", f"{index}.bias"], room))
    nn.functional.mse_loss(network(inputs[ranks.rank]), targets[ranks.rank]).backward()
    report = ours.settle()
    worst = max(distance(value.grad.full_tensor(), expected[name]) for name, value in network.named_parameters())
    norm = float(torch.stack([value.norm() for value in expected.values()]).norm())
    own = [torch.ones(shape.shape) for shape in shapes]
    if ranks.rank == 3:
        own[2][0, 0] = torch.nan
    spoilt = ours.average(own)
    directions = {name: matrix.directions.sum().item() for name, matrix in ours.matrices.items()}
    return {
        "worst": worst, "norm": abs(report.norm - norm), "skipped": report.skipped, "alike": report.alike,
        "after NaN": [spoilt.skipped, spoilt.norm, list(spoilt.not_finite)], "directions": directions,
    }  # fmt: skip


def one_is_killed(ranks: Ranks) -> dict[str, Any]:
    """In the middle of a training, without a word."""
    shapes = [GradientShape(name="m", shape=(6, 9), is_compressed=True)]
    ours = PowerSGD(shapes, 2, Neighbours(machines=dist.new_group()))
    for step in range(1000):
        if (ranks.rank, step) == (1, 20):
            (FOLDER / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        ours.average(gradients(shapes, (1, step, ranks.rank), 0))
    return {}


CASES: dict[str, Callable[[Ranks], Any]] = {
    each.__name__: each
    for each in (
        against_the_oracle,
        full_rank,
        restart,
        other_hardware,
        spoilt_on_the_way,
        shards_and_machines,
        one_is_killed,
    )
}


def do(cases: str, rank: int, count: int, port: int, folder: Path) -> int:
    """Be one of the processes; gives the exit code."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    with (folder / f"{rank}.txt").open("w") as said, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):

        def work() -> int:
            with joined("cpu") as ranks:
                found = {case: CASES[case](ranks) for case in cases.split(",")}
            (folder / f"{rank}.json").write_text(json.dumps(found))
            return 0

        return conclude(CommandWords(name="machines"), work)


def main(cases: str, count: int, folder: Path) -> None:
    """Fork the processes and wait for them."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if not child:
            code = 70
            try:
                torch.set_num_threads(1)
                code = do(cases, rank, count, port, folder)
            finally:
                os._exit(code)
        children.append(child)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
