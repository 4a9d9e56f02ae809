"""Where a training stands when it ends in the middle of a step: at the end of the step before, which is saved.

Weights, their average and the optimizer change in the last part of a step only, which is not interrupted. What else
changes during one, such as the sums for the log and how far the batches were taken, is remembered from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from dalle.training.together import StoppedTogether
from schemas.commands.ending import CommandFailed
from schemas.commands.stopping import Stopped, asked_to_stop, changed_nothing

State = dict[str, Any]

_ALONE = "which not all processes have come to the end of; the same command goes on from the last checkpoint"


class Standing:
    """The last whole step of a training, saved if the block that takes steps does not end well.

    Args:
        step: how many steps are done.
        remember: gives what a step changes before it is whole.
        save: writes a checkpoint of so many steps, in which what was remembered takes the place of what is; gives its
            path. None on processes that write nothing.
        together: whether it takes all processes to save, so that it can be done only where all of them stop.
    """

    def __init__(
        self,
        step: int,
        remember: Callable[[], State],
        save: Callable[[int, State], Path] | None,
        *,
        together: bool = False,
    ) -> None:
        self.step, self._first, self._together = step, step, together
        self._remember, self._save = remember, save
        self._remembered = remember()
        self._saved: Path | None = None
        self._in_a_step = False

    def __enter__(self) -> Standing:
        return self

    def begins(self) -> None:
        """The next step begins to change things, unless it says otherwise (`schemas.commands.stopping.at_once`)."""
        self._in_a_step = True

    def whole(self, step: int) -> None:
        """So many steps are whole now."""
        self._in_a_step = False
        self.step, self._remembered, self._saved = step, self._remember(), None

    def saved(self, path: Path) -> None:
        """The last whole step was saved."""
        self._saved = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SpoiltTraining) or (self._in_a_step and not changed_nothing(error)):
            return
        alone = self._together and not isinstance(error, StoppedTogether)
        words = f"stopped after step {self.step:,}, {_ALONE if alone else self._save_now()}"
        if number := error.number if isinstance(error, Stopped) else asked_to_stop():
            raise Stopped(number, words) from None
        if isinstance(error, KeyboardInterrupt):
            raise Stopped(words=words) from None
        if self._saved is not None:
            print(f"  {words}", flush=True)

    def _save_now(self) -> str:
        """Save the last whole step if that is not done yet; says what came of it."""
        goes_on = "the same command goes on from there"
        if self.step == self._first and self._saved is None:
            return f"where it began; {goes_on}"
        if self._save is None:
            return "which the first process saves"
        if self._saved is None:
            try:
                self._saved = self._save(self.step, self._remembered)
            except (OSError, CommandFailed) as error:
                return f"which could not be saved ({error}); the same command goes on from the last checkpoint"
        return f"which is saved in {self._saved}; {goes_on}"


class SpoiltTraining(CommandFailed):
    """Weights or loss are not finite: nothing that is worth a checkpoint."""
