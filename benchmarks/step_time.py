"""How long does a training step of a prior take, on this machine and on a thousand GPUs?

    python benchmarks/step_time.py                                      # both parts
    python benchmarks/step_time.py --part check                         # what is said beside what is found, here
    python benchmarks/step_time.py --part scale                         # all presets on 1, 8, 64 and 1,024 GPUs
    python benchmarks/step_time.py --part own --own.tflops 312 --own.within 300 --own.between 200 --own.memory 2000

A step is simulated (`step_times/schedule.py`) from FLOP and bytes, which are those of the training itself
(`step_times/units.py`), and from rates (`step_times/times.py`). Check: rates are measured with as many processes at
work as the training has, none of them by taking a step (`step_times/rates.py`); then the step is simulated, and then
taken by `dalle.train_prior`, over gloo with 2 and 4 processes. Much to compute for each weight, 1,280 positions, and
little, 80, where most of the time is something else than products. Scale: the same with rates of GPUs and networks as
their makers publish them (`step_times/machines.py`), nothing of which was run.

Writes `results/step_time.json` beside this file; a part that is not asked for is kept as it was there.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import tyro

from benchmarks.record import RESULTS, record
from benchmarks.step_times import runs, scale
from benchmarks.step_times.machines import MACHINES, V100, Machine
from benchmarks.step_times.moved import phases
from benchmarks.step_times.units import Layout, Work
from dalle.prior.options import PRESETS
from dalle.prior.resblock import Recompute

RANK = 128
"""Of PowerSGD in the runs: a quarter of the width."""
PLACES = ((2, 2, 0), (2, 1, RANK), (4, 2, 0), (4, 2, RANK))
"""Processes, how many hold the weights together, rank."""
LONG, SHORT = runs.Lengths(text_length=256, side=32), runs.Lengths(text_length=16, side=8)


@dataclass(frozen=True, kw_only=True)
class StepTimeOptions:
    """What is done."""

    part: Literal["all", "check", "scale", "own"] = "all"
    """`own` is `scale` for the machine that `--own` describes, printed only."""
    layers: int = 4
    """Of `small` in the runs."""
    steps: int = 8
    """Of each run, the first of which is not counted."""
    attempts: int = 3
    """At a run, as long as other work takes a tenth of the processors; the one with the least of it counts."""
    wait: float = 0.0
    """Seconds for which each run waits at most for other work to end."""
    own: Machine = V100
    presets: tuple[str, ...] = field(default_factory=lambda: tuple(PRESETS))
    name: str = "step_time"
    """Of the file in `results/`."""


def checked(options: StepTimeOptions, keep: Any) -> None:
    """Each run in turn, rates first; `keep` is given all that is there after each."""
    ways: list[tuple[runs.Lengths, tuple[int, int, int], int, Recompute]] = [
        *((SHORT, place, 1, "none") for place in PLACES),
        *((LONG, place, 1, "none") for place in PLACES),
        (LONG, (2, 2, 0), 2, "blocks"),
    ]
    found = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as made:
        examples = {each: runs.write_examples(Path(made) / each.name, each) for each in (LONG, SHORT)}
        for lengths, (processes, shard, rank), portions, recompute in ways:
            run = runs.RealRun(
                layout=Layout(processes=processes, shard=shard, rank=rank),
                work=Work(examples=1, portions=portions, recompute=recompute),
                lengths=lengths,
                layers=options.layers,
            )
            tries = list[dict[str, Any]]()
            while len(tries) < options.attempts and all(_others(each) > runs.QUIET for each in tries):
                runs.wait_for_quiet(options.wait)
                out = Path(made) / f"run {len(found)} {len(tries)}"
                tries.append(runs.check(run, examples[lengths], out, options.steps))
                print(runs.table(tries[-1:]), flush=True)
            found.append(min(tries, key=_others))
            keep({"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}", "table": runs.table(found), "runs": found})


def _others(row: dict[str, Any]) -> float:
    return float(row["processors_of_others"]["of_normal_priority"])


def scaled(machines: dict[str, Machine], presets: tuple[str, ...]) -> dict[str, Any]:
    """All presets on these machines."""
    found, tables = list[dict[str, Any]](), {}
    for name, machine in machines.items():
        rows = list(scale.rows({name: machine}, presets))
        found += rows
        tables[name] = scale.table(rows)
        print(f"\n{name}\n\n{tables[name]}", flush=True)
    return {
        "machines": {name: dataclasses.asdict(machine) for name, machine in machines.items()},
        "bytes PowerSGD's operators move for each number": phases().moved,
        "tables": tables,
        "steps": found,
    }


def main(options: StepTimeOptions) -> None:
    """Do what is asked for and write."""
    if options.part == "own":
        scaled({"own": options.own}, options.presets)
        return
    path = RESULTS / f"{options.name}.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}

    def keep(name: str, value: Any) -> None:
        figures[name] = value
        record(options.name, figures, ["torch"])

    if options.part in ("all", "scale"):
        keep("scale", scaled(MACHINES, options.presets))
    if options.part in ("all", "check"):
        checked(options, lambda value: keep("check", value))


if __name__ == "__main__":
    main(tyro.cli(StepTimeOptions))
