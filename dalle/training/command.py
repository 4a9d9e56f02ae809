"""A training as a command: its flags, a user's mistake in one sentence, an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dalle.flags import parse
from dalle.training.logs import print_messages
from dalle.training.options import LoopOptions
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.printing import coloured
from schemas.planning import only_says, planned, writes_to
from schemas.sample import is_there, sample_folder

OptionsT = TypeVar("OptionsT", bound="_Trains")


class _Trains(Protocol):
    """Options of any training."""

    @property
    def loop(self) -> LoopOptions:
        """What every training is told."""
        ...


STOPPED = "stopped; the same command goes on from the last checkpoint, or begins again if there is none"

RENAMED = {
    "average": "ema_decay",
    "batch": "batch_size",
    "beta_updates": "beta_steps",
    "checkpoint_every": "save_every",
    "clip": "grad_clip",
    "entropy": "entropy_weight",
    "hold_out": "hold_out_every",
    "last_step_size": "min_learning_rate",
    "least_b": "min_scale",
    "output": "output_folder",
    "pictures_at_once": "micro_batch_size",
    "start_from": "init_from",
    "step_size": "learning_rate",
    "step_size_updates": "decay_steps",
    "tau_updates": "tau_steps",
    "train_photos": "images",
    "updates": "steps",
    "warm_up": "warmup_steps",
    "watch_every": "eval_every",
}
"""Flags of version 0.1 and what they are called now."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is trained, and where, if no arguments are given."""

    dataset: str
    """A folder of the sample that the pipelines left."""
    model: str
    """Where the model goes."""
    vocabulary: str | None = None
    """Folder of the vocabulary that the dataset was made with, if it is there; --vocabulary names it."""

    def flags(self) -> list[str]:
        """Those that stand for none; the training begins anew if the dataset has changed since."""
        flags = ["tiny", "--input_folder", self.dataset, "--output_folder", self.model, "--incremental_mode", "renew"]
        if self.vocabulary is not None and is_there(self.vocabulary):
            flags += ["--vocabulary", self.vocabulary]
        return flags

    def check(self) -> None:
        """Check that it can be trained.

        Raises:
            ValueError: if the dataset is not there yet.
        """
        writes_to(self.model)
        sample_folder(self.dataset)


@dataclass(frozen=True, kw_only=True)
class TrainingCommand(Generic[OptionsT]):
    """What is trained by which command."""

    name: str
    """As it is called, such as `dalle.train_dvae`."""
    manual: str
    """Its docstring, shown by --help."""
    presets: Mapping[str, tuple[str, OptionsT]]
    """By name, one sentence and the options, which are the defaults of the flags after it."""
    train: Callable[[OptionsT], int]
    """Does it; gives the exit code."""
    sample: Sample | None = None
    """What no arguments at all stand for."""

    def run(self, argv: Sequence[str] | None) -> int:
        """Train; gives the exit code.

        Args:
            argv: the words after the command's name, or None for the process's own.
        """
        words, asked = list(sys.argv[1:] if argv is None else argv), list[OptionsT]()

        def work() -> int:
            print_messages()
            sample = self.sample if only_says(words) else None
            if sample is not None:
                words[:0] = sample.flags()
            check_renamed(words)
            with coloured(words):
                options = parse(self.name, self.manual, self.presets, words)
            asked.append(options)

            def train() -> int:
                if options.loop.say.quiet:
                    logging.getLogger("dalle").setLevel(logging.WARNING)
                if sample is not None and not options.loop.say.quiet:
                    print(f"no arguments given: {' '.join(words)}")
                if sample is not None:
                    sample.check()
                return self.train(options)

            return planned(self.name.rpartition(".")[2], options.loop.say, train)

        def only_prints() -> bool:
            return any(options.loop.say.plan for options in asked)

        return conclude(CommandWords(name=self.name, stopped=STOPPED), work, only_prints)


def check_renamed(words: Sequence[str]) -> None:
    """Say the new name of a flag that was renamed.

    Raises:
        ValueError: naming it.
    """
    for word in words:
        flag = word.partition("=")[0]
        name = RENAMED.get(flag.removeprefix("--").replace("-", "_"))
        if flag.startswith("--") and name is not None:
            raise ValueError(f"{flag} is called --{name} now; use that")
