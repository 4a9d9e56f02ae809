"""A training that is asked to end, at every point of its steps: it has saved, and goes on to the bits of one that was not."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from dalle.training import checkpoint
from dalle.training.ema import Ema
from dalle.training.logs import Log, Means
from dalle.training.loop import train
from dalle.training.model_folder import ModelRecipe
from dalle.training.options import LoopOptions
from dalle.training.ranks import Ranks
from dalle.training.steps import OptimizerOptions, OptimizerStep
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.stopping import Stopped, answering, at_once
from schemas.exit_codes import FAILED
from schemas.manifest import WEIGHTS
from tests.conftest import SmallDisk

ALONE = Ranks(rank=0, count=1, device=torch.device("cpu"))
STEPS = 6
Passed = Callable[[], None]


class Numbers:
    """Batches that are a function of how many were taken."""

    def __init__(self, passed: Passed) -> None:
        self.taken, self._passed = 0, passed

    def __iter__(self) -> Generator[Tensor, None, None]:
        while True:
            self._passed()
            self.taken += 1
            self._passed()
            yield torch.full((2, 3), float(self.taken))

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.taken = state["taken"]


class Toy:
    """A linear layer, trained as all networks are; it passes a point wherever something may have changed."""

    def __init__(self, passed: Passed, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.net, self.batches, self._passed = nn.Linear(3, 1), Numbers(passed), passed
        self._optimizer = OptimizerStep(self.net, OptimizerOptions(precision="float32"), ALONE)
        self._optimizer._optimizer.register_step_pre_hook(lambda *_: passed())
        self._optimizer._optimizer.register_step_post_hook(lambda *_: passed())
        self._ema, self._means = Ema(self.net, 0.5), Means(("loss",))

    def step(self, batch: Tensor, step: int) -> None:
        self._passed()
        with at_once():
            for half in batch:
                loss = self.net(half).square().mean()
                self._optimizer.backward(loss)
                self._means.add(loss.detach()[None], 0.5)
                self._passed()
        self._optimizer(step)
        self._passed()
        self._ema.update(step + 1)
        self._passed()

    def figures(self, step: int, _samples_per_second: float) -> dict[str, float]:
        self._passed()
        means = self._means.take(ALONE)
        self._passed()
        return means

    def summary(self, figures: Mapping[str, float]) -> str:
        self._passed()
        return f"loss {figures['loss']:.3f}"

    def watch(self, step: int, log: Log) -> None:
        with self._ema.in_place(), at_once():
            self._passed()
            bias = self.net.bias.item()
        log.figures(step, {"bias": bias})
        self._passed()

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.net.state_dict(), "ema": self._ema.state_dict(), "optimizer": self._optimizer.state_dict(), **self.tallies()}  # fmt: skip

    def tallies(self) -> dict[str, Any]:
        return {"means": self._means.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["weights"])
        self._ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._means.load_state_dict(state["means"])

    def save(self, folder: Path) -> Path:
        self._passed()
        with self._ema.in_place():
            (folder / WEIGHTS).write_bytes(safetensors.torch.save(self.net.state_dict()))
        return folder / WEIGHTS


def run(folder: Path, passed: Passed = lambda: None) -> None:
    """As a command does it, from the checkpoint on if there is one."""
    recipe = ModelRecipe(job="train_toy", network={}, inputs=[], options={"seed": 0})
    options = LoopOptions(output_folder=folder, steps=STEPS, batch_size=2, log_every=2, eval_every=3, save_every=100)
    train(Toy(passed), options, ALONE, recipe)


def result(folder: Path) -> tuple[bytes, list[tuple[int, float | None]], dict[str, Any]]:
    """Weights, the log without times but with each evaluation, and where it stands."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = checkpoint.latest(folder / "checkpoints")
    assert last is not None
    return (
        (folder / WEIGHTS).read_bytes(),
        [(line["step"], line.get("loss", line.get("bias"))) for line in lines],
        checkpoint.load(last),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Its folder, and how many points it passes."""
    points, folder = list[None](), tmp_path_factory.mktemp("undisturbed") / "model"
    run(folder, lambda: points.append(None))
    return folder, len(points)


def stops(points: Iterator[int], number: int) -> Passed:
    """Asks the training to end at the first of these points that it passes."""
    left, at = [0], [next(points)]

    def passed() -> None:
        if left[0] == at[0]:
            signal.raise_signal(number)
        left[0] += 1

    return passed


def test_at_every_point(undisturbed: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each of them once, by SIGTERM or Ctrl-C: the code, the sentence, the checkpoint, and the same end."""
    whole, points = undisturbed
    assert points > 60
    expected = result(whole)
    for point in range(points):
        folder, number = tmp_path / f"{point}", (signal.SIGTERM, signal.SIGINT)[point % 2]
        passed = stops(iter([point]), number)
        code = conclude(CommandWords(name="toy"), lambda: run(folder, passed) or 0)  # type: ignore[func-returns-value]  # noqa: B023
        said = capsys.readouterr().err
        assert (128 + number, 1) == (code, len(said.splitlines())), said
        saved = checkpoint.latest(folder / "checkpoints")
        if saved is None:
            assert "toy: stopped after step 0, where it began; the same command goes on from there\n" == said
        elif (folder / WEIGHTS).exists() or "stopped after" not in said:
            assert STEPS == int(saved.stem)  # all steps were done
        else:
            assert f"toy: stopped after step {int(saved.stem)}, which is saved in {saved}; " in said
        run(folder)
        assert str(expected) == str(result(folder)), point


def test_again_and_again(undisturbed: tuple[Path, int], tmp_path: Path) -> None:
    """Some points further each time: it comes to its end, and to the same."""
    folder, times = tmp_path / "model", 0
    while not (folder / "manifest.json").exists():
        try:
            with answering():
                run(folder, stops(iter([25]), signal.SIGTERM))
        except Stopped:
            times += 1
    assert times >= 2
    assert str(result(undisturbed[0])) == str(result(folder))


def test_what_else_ends_it(undisturbed: tuple[Path, int], tmp_path: Path) -> None:
    """An error at any point: what is saved, if anything can be, is a whole step, and the training comes to the same."""
    whole, points = undisturbed
    saved_more = 0
    for point in range(0, points, 3):
        left, folder = [point], tmp_path / f"{point}"

        def broken() -> None:
            left[0] -= 1  # noqa: B023
            if left[0] == -1:  # noqa: B023
                raise ValueError("a picture is broken")

        with pytest.raises(ValueError, match="a picture is broken"):
            run(folder, broken)
        saved_more += checkpoint.latest(folder / "checkpoints") is not None
        run(folder)  # a line of the log may be missing then, where it was what could not be written
        assert (whole / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes(), point
    assert saved_more > 5


def test_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whatever cannot be written any more: exit code 1, one sentence, no manifest; with room again it goes on."""
    with SmallDisk(tmp_path / "disk", 0.016) as disk:
        folder, failed = tmp_path / "disk/out", 0
        while code := conclude(CommandWords(name="toy"), lambda: run(folder) or 0):  # type: ignore[func-returns-value]
            said = capsys.readouterr().err
            assert FAILED == code
            assert "o space left on" in said
            assert 1 == len(said.splitlines())
            assert not (folder / "manifest.json").exists()
            failed += 1
            disk.grow(0.016 + 0.012 * failed)
        assert failed
        assert (folder / "manifest.json").exists()
