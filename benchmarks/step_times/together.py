"""One real run, with its rates measured before and after, in processes that are forked from one: torch takes seconds.

    python -m benchmarks.step_times.together OUT EXAMPLES STEPS RUN     # RUN is a `runs.RealRun` as JSON

Its last line is JSON, the two measurements; what the training found is in OUT.
"""

from __future__ import annotations

from dalle.training.machine import prepare

if __name__ == "__main__":
    prepare()

import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.step_times.measuring import measure
from benchmarks.step_times.rates import Measured
from benchmarks.step_times.runs import Lengths, RealRun, options_of
from benchmarks.step_times.units import Layout, Work
from dalle.train_prior import train_prior
from tests.dalle.training.worlds import world


def run_of(words: str) -> RealRun:
    """As it was given."""
    given = json.loads(words)
    layout, work, lengths = Layout(**given["layout"]), Work(**given["work"]), Lengths(**given["lengths"])
    return RealRun(layout=layout, work=work, lengths=lengths, layers=given["layers"])


def main(out: str, examples: str, steps: str, words: str) -> None:
    """Three times as many processes, one after the other."""
    importlib.import_module("torch._dynamo")  # what torch would import in each process
    importlib.import_module("torch.distributed.nn")
    torch.set_num_threads(1)
    run = run_of(words)
    measured = Measured(config=run.config, work=run.work, layout=run.layout)
    options = options_of(run, examples, Path(out), int(steps))

    def train() -> int:
        with contextlib.redirect_stdout(sys.stderr):
            return train_prior(options)

    def rates() -> Any:
        done = world(run.layout.processes, measure, measured)
        assert not any(done["codes"]), done
        return done["returned"][0]

    before = rates()
    codes = world(run.layout.processes, train)["codes"]
    assert set(codes) <= {0, 1}, codes  # few steps need not have lowered the loss
    print(json.dumps([before, rates()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
