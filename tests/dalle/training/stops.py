"""Stops a toy training at each of its steps that touch storage: a program of its own, for it forks and uses torch.

    python -m tests.dalle.training.stops /tmp/place

Prints one line of JSON for each change: its name, how many steps were stopped at, and how many states that left.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dalle.training import checkpoint
from dalle.training.loop import train
from dalle.training.model_folder import ModelRecipe
from dalle.training.options import LoopOptions
from schemas.folder import Folder
from schemas.manifest import WEIGHTS, read_manifest
from tests.dalle.training.test_stopping import ALONE, Toy
from tests.stopping import attempt, must

STEPS = 4
OURS = ("checkpoints", "log.jsonl", WEIGHTS, "manifest.json", "tensorboard")


@dataclass(frozen=True)
class Training:
    """One command."""

    seed: int = 0
    steps: int = STEPS
    mode: Any = "incremental"

    def __call__(self, folder: Path) -> None:
        """As a command does it."""
        recipe = ModelRecipe(job="train_toy", network={}, inputs=[], options={"seed": self.seed})
        options = LoopOptions(
            **{"output_folder": folder, "steps": self.steps, "batch_size": 2, "log_every": 2, "eval_every": 3},
            **{"save_every": 2, "incremental_mode": self.mode},
        )
        train(Toy(lambda: None, self.seed), options, ALONE, recipe)


CHANGES: dict[str, tuple[Training | None, Training]] = {
    "fresh": (None, Training()),
    "longer": (Training(steps=2), Training()),
    "overwrite": (Training(), Training(seed=1, mode="overwrite")),
}
"""What there was before, and the command."""


def model(folder: Path) -> bytes | str:
    """The finished weights, or the sentence that says that there are none."""
    try:
        files = read_manifest(Folder(folder), table="model")["files"]
    except ValueError as error:
        return str(error)
    assert files[WEIGHTS]["sha256"] == Folder(folder).sha256(WEIGHTS), "weights and manifest are of two trainings"
    return (folder / WEIGHTS).read_bytes()


def left(folder: Path) -> tuple[Any, ...]:
    """All that is compared: weights, figures without times, where it stands, and what lies there."""
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = checkpoint.latest(folder / "checkpoints")
    names = sorted(path.name for path in folder.iterdir())
    assert set(names) <= set(OURS), names
    assert not list(folder.rglob("*.tmp-*"))
    figures = [(line["step"], line.get("loss")) for line in log]
    return model(folder), figures, last and (last.name, last.read_bytes())


def stop_at_each_step(place: Path, before: Training | None, run: Training, draw: random.Random) -> tuple[int, int]:
    """The law of `tests.stopping`, for a training; gives how many steps and how many states."""
    whole, new, there = place / "before", place / "new", place / "there"
    if before is not None:
        must(functools.partial(before, whole))
    copied(whole, new)
    must(functools.partial(run, new))
    old, expected, seen, step = before and model(whole), left(new), set[bytes | str](), 0
    while True:
        copied(whole, there)
        if not attempt(functools.partial(run, there), step).stopped:
            return step, len(seen)
        seen.add(check(there, old, expected[0]) + str(sorted(str(p) for p in there.rglob("*"))))
        if draw.random() < 0.3:
            attempt(functools.partial(run, there), draw.randrange(40))
            check(there, old, expected[0])
        must(functools.partial(run, there))
        assert expected == left(there), f"stopped at step {step}"
        step += 1


def check(folder: Path, old: bytes | str | None, new: bytes | str) -> str:
    """What was a model still is one, or the new one is, or it is just being put in place."""
    now = model(folder)
    if isinstance(now, bytes):
        assert now in (old, new)
    else:
        assert ("is not all in place yet" in now) or (old is None and "so it is not a finished" in now), now
    return repr(now)


def copied(source: Path, target: Path) -> None:
    """A folder once more."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)


def main(place: Path) -> None:
    """All changes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=place) as inside:
        Training()(Path(inside))  # imports what a training needs, which takes seconds, before there are forks
    for name in CHANGES:
        with tempfile.TemporaryDirectory(dir=place) as inside:
            points, states = stop_at_each_step(Path(inside), *CHANGES[name], random.Random(name))
        print(json.dumps([name, points, states]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
