"""What a training says: figures as lines of `log.jsonl` and in TensorBoard, means between two lines, messages."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from dalle.training.checkpoint import like
from dalle.training.ranks import Ranks
from schemas.json_text import parse_json
from schemas.shapes import TEXT, Kind, Names, misfit
from schemas.whole_file import whole_file

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"
_LINE = Names(TEXT, Kind("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)))


class Log:
    """A run's figures, as lines of `log.jsonl` and in TensorBoard's files beside it.

    Args:
        folder: the output folder, made if need be.
        resumed_at: how many steps are done; lines of later ones, which an interrupted run wrote, are dropped.
    """

    def __init__(self, folder: Path, resumed_at: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOG
        self._drop_after(resumed_at)
        self._file = self._path.open("a")
        self._board = SummaryWriter(folder / TENSORBOARD, purge_step=resumed_at + 1)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def _drop_after(self, step: int) -> None:
        if self._path.exists():
            lines = self._path.read_text(errors="replace").splitlines()
            with whole_file(self._path) as unfinished:
                unfinished.write_text("".join(line + "\n" for line in lines if _step_of(line) <= step))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """One line; `step` is how many steps are done. What is no number, which JSON has not, is for TensorBoard."""
        numbers = {name: float(f"{value:.6g}") for name, value in values.items() if math.isfinite(value)}
        self._file.write(json.dumps({"step": step, **numbers}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def images(self, step: int, name: str, images: Tensor) -> None:
        """[B, 3, H, W] float in [0, 1]."""
        self._board.add_images(name, images.float().cpu().numpy(), step)


class NoLog(Log):
    """Of a process that takes part in evaluations and writes nothing."""

    def __init__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def images(self, step: int, name: str, images: Tensor) -> None:
        """Nothing."""


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines of a folder's `log.jsonl`, oldest first; none if there is no such file.

    Raises:
        ValueError: naming the first line that is not of such a file.
    """
    path, lines = folder / LOG, list[dict[str, float]]()
    for number, line in enumerate(path.read_text(errors="replace").splitlines() if path.is_file() else (), 1):
        try:
            value = parse_json(line)
        except ValueError:
            value = None
        if misfit(value, _LINE):
            raise ValueError(f"{path}, line {number}: is no line of a log; it was changed after writing")
        lines.append(value)
    return lines


def _step_of(line: str) -> int:
    try:
        return int(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return 2**62  # cut short by a kill


class Means:
    """Means of some figures over the steps since they were last taken, in float64.

    What is not finite is counted and never added: a checkpoint with such sums would be refused when it is read.

    Args:
        names: of the figures.
        forgiving: whether steps with such a value are skipped ones, which the mean of the others leaves out; otherwise
            one of them makes the mean NaN.
    """

    def __init__(self, names: Sequence[str], *, forgiving: bool = False) -> None:
        self.names = tuple(names)
        self._forgiving = forgiving
        self._begin()

    def _begin(self) -> None:
        self._sums = torch.zeros(len(self.names), dtype=torch.float64)
        self._missing = torch.zeros_like(self._sums)
        self._steps = 0.0

    def add(self, values: Tensor, weight: float = 1.0) -> None:
        """Take in the values of a step, [len(names)], or of a part of one that weighs less than 1."""
        values = values.detach().double().cpu()
        self._sums += values.nan_to_num(0.0, 0.0, 0.0) * weight
        self._missing += ~values.isfinite() * weight
        self._steps += weight

    def missing(self) -> float:
        """The largest share of steps whose value of a figure was not finite, on this process."""
        return float(self._missing.max()) / max(self._steps, 1e-12)

    def take(self, ranks: Ranks) -> dict[str, float]:
        """The means over steps and processes; they begin anew."""
        means = self._sums / (self._steps - self._missing).clamp(min=1e-12)
        spoilt = self._missing >= (max(self._steps, 1e-12) if self._forgiving else 1e-12)
        means = ranks.mean(means.masked_fill(spoilt, torch.nan))
        self._begin()
        return dict(zip(self.names, means.tolist(), strict=True))

    def state_dict(self) -> dict[str, object]:
        """Sums so far."""
        return {"sums": self._sums, "missing": self._missing, "steps": self._steps}

    def copy(self) -> dict[str, object]:
        """Sums so far, which do not change with what is added later."""
        return {"sums": self._sums.clone(), "missing": self._missing.clone(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from there."""
        sums, steps = state["sums"], state["steps"]
        missing = state.get("missing", torch.zeros_like(self._missing))  # of before there was any
        if not isinstance(sums, Tensor) or not isinstance(missing, Tensor) or not isinstance(steps, float):
            raise TypeError("the sums for the log are no numbers")
        self._sums, self._missing, self._steps = like(sums, self._sums), like(missing, self._missing), steps


def time_left(seconds: float) -> str:
    """A time as a person says it.

    >>> [time_left(seconds) for seconds in (40, 600, 20_000, 1e6)]
    ['40 s', '10 min', '5.6 h', '11.6 days']
    """
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("h", 3_600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86_400:,.1f} days"


def print_messages() -> None:
    """Print what modules of this package log, such as what an epoch leaves over, among a job's output."""
    logger = logging.getLogger("dalle")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(_Printed())


class _Printed(logging.Handler):
    """On what is standard output now, as `print` does; a test may have changed it since the handler was made."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"  {record.getMessage()}", file=sys.stdout, flush=True)
