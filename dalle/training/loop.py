"""The loop of every training: steps, a log, evaluations, checkpoints, and going on after an interruption."""

from __future__ import annotations

import contextlib
import io
import math
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from dalle.training import checkpoint, checkpoint_store, stored
from dalle.training.checkpoint_store import CheckpointStore
from dalle.training.cuts import Piece
from dalle.training.logs import TENSORBOARD, Log, NoLog, time_left
from dalle.training.model_folder import ModelRecipe, Resumption, begin, decide, finish
from dalle.training.options import LoopOptions
from dalle.training.planning import Stretch, Trying, plan, plan_of_many
from dalle.training.ranks import Ranks, is_broken_line, is_first
from dalle.training.set_aside import CHECKPOINTS, is_set_aside, settle
from dalle.training.standing import SpoiltTraining, Standing
from dalle.training.step_clock import StepClock
from dalle.training.together import next_batch, stop_together
from schemas import opening
from schemas.commands.ending import CommandFailed, cause_outside
from schemas.commands.guard import ask_for_patience
from schemas.commands.printing import said_by
from schemas.commands.stopping import asked_to_stop, deferred
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.manifest import WEIGHTS, fingerprint
from schemas.output_place import Reads, check_output, made
from schemas.planning import Planned

BatchT = TypeVar("BatchT")
BatchOut = TypeVar("BatchOut", covariant=True)


_COPIES, _SLOWEST_DISK = 4, 20e6
"""Of the weights in a checkpoint (average, two moments), and bytes a second: how long a checkpoint may take."""


class Batches(Protocol[BatchOut]):
    """Where a training gets its data."""

    def __iter__(self) -> Generator[BatchOut, None, None]:
        """This process's share of each batch, for ever."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come: what it took, not what was made ahead."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        ...


class Run(Protocol[BatchT]):
    """A training as the loop sees it: everything that changes with a step."""

    @property
    def batches(self) -> Batches[BatchT]:
        """What it is trained on."""
        ...

    def step(self, batch: BatchT, step: int) -> None:
        """Change the weights once; `step` counts from 0. What comes before that, and takes long, is done `at_once`."""
        ...

    def figures(self, step: int, samples_per_second: float) -> dict[str, float]:
        """Means over the steps since the last call, of all processes; called on all of them after so many steps."""
        ...

    def summary(self, figures: Mapping[str, float]) -> str:
        """What a person is told of some figures."""
        ...

    def watch(self, step: int, log: Log) -> None:
        """Evaluate what there is after so many steps; called on the first process alone, unless they act together."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All of it but the batches'; `weights` are the network's own."""
        ...

    def tallies(self) -> dict[str, Any]:
        """Copies of the parts of `state_dict` that a step changes before its last part, in which a signal waits."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        ...

    def save(self, folder: Path) -> Path:
        """Write the weights for use into the folder, averaged; gives the file. Called as `watch` is."""
        ...


def check_place(options: LoopOptions, job: str, reads: Reads) -> None:
    """Check that a training may write where it is told to, before anything is read.

    Args:
        options: that say where.
        job: the training, such as `train_prior`.
        reads: what it reads, by the flag that names it.

    Raises:
        ValueError: if it may not, or the folder is another job's.
    """
    if is_first():  # others write nothing, and may have another disk
        check_output(options.output_folder, job, reads, on_disk=True)
        if options.checkpoint_store is not None:
            checkpoint_store.checked_place(options.checkpoint_store, options.output_folder)


def train(
    run: Run[Any],
    options: LoopOptions,
    ranks: Ranks,
    recipe: ModelRecipe,
    introduce: Callable[[], None] = lambda: None,
    trying: Callable[[], Trying] | None = None,
) -> bool:
    """Train from the last checkpoint, or from the beginning, to the weights and the manifest.

    Args:
        run: what is trained.
        options: how long and how often.
        ranks: the processes that train; the first of them alone reads and writes the output folder, unless they hold
            the weights together: then a checkpoint's parts in it are read and written by the first group of them.
        recipe: what the model is made from.
        introduce: tells the user what will be trained, on the first process, once it is known that it may be.
        trying: steps that a plan may try; by default those of the run.

    Returns:
        whether there was anything to do.

    Raises:
        ValueError: if the output folder holds something else, or processes were started with different things.
        FolderInUse: if another run is at work there.
    """
    if options.say.plan and ranks.first:
        tries = trying or (lambda: Trying([Stretch(until=options.steps, run=run)], options.batch_size))
        raise Planned(plan(options, recipe, tries) if ranks.count == 1 else plan_of_many(options, recipe))
    if options.say.plan:
        return False
    # how often the log is written as well: all ranks add up its figures, and may save and evaluate together
    every = [options.log_every]
    if ranks.together:
        every += [options.eval_every, options.save_every, options.checkpoint_store is not None]
    ranks.check_same(fingerprint([recipe.to_json(), *every]), "the options or the data")
    if ranks.first and not is_set_aside(options.output_folder):
        decide(options.output_folder, recipe, options.steps, options.incremental_mode)  # refuses, before it is made
    with (
        _alone(options.output_folder) if ranks.first else contextlib.nullcontext(),
        checkpoint_store.opened(options, ranks) as store,
    ):
        said = ""
        if store is not None and ranks.first:
            mode = options.incremental_mode
            is_anew = mode == "overwrite"
            if mode == "renew":
                is_anew = decide(options.output_folder, recipe, options.steps, mode).anew
            fetched = store.fetch(recipe, options.steps, anew=is_anew)
            said = f"  fetched {fetched}" if fetched else "  the store of checkpoints has none that is later"

        def say_what_begins() -> None:
            if not options.say.quiet:
                introduce()
            if said:
                print(said)

        begun = _start(run, options, ranks, recipe, say_what_begins)
        if begun is None:
            return False
        try:
            with _log(options, begun, ranks) as log:
                last = _take_steps(run, options, begun, _Saving(options.output_folder, ranks, recipe, store), log)
            if ranks.first:
                finish(options.output_folder, recipe, run.save)
            elif ranks.together:
                run.save(options.output_folder)
        except OSError as error:  # something was written by now: it is no mistake in what was asked for
            raise CommandFailed(cause_outside(error)) from error
        if ranks.first:
            if options.say.quiet and last:
                print(f"  {options.steps:,} steps: {last}")
            print(f"  weights: {options.output_folder / WEIGHTS}")
        if ranks.first and not options.say.quiet:
            print(f"  look at: tensorboard --logdir {options.output_folder / TENSORBOARD}")
    return True


def _log(options: LoopOptions, begun: _Begun, ranks: Ranks) -> contextlib.AbstractContextManager[Log | None]:
    """Of the first process; of others one that writes nothing, if they take part in evaluations, or none."""
    if ranks.first:
        return Log(options.output_folder, begun.step)
    return NoLog() if ranks.together else contextlib.nullcontext()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One training at a time in a folder; a model that it was to replace and could not is put back at its end."""
    with made(Folder(folder)), only_run(Folder(folder)) as held:
        opening.settle(held)
        settle(folder)
        try:
            yield
        finally:
            settle(folder)


@dataclass(frozen=True)
class _Begun:
    """Where a training goes on from."""

    step: int = 0
    """Steps that are done."""
    evaluation_is_due: bool = False
    """Whether it was stopped between the last of them and its evaluation."""


def _start(
    run: Run[Any], options: LoopOptions, ranks: Ranks, recipe: ModelRecipe, introduce: Callable[[], None]
) -> _Begun | None:
    """Put the run where the first process's checkpoint is, and say so if nothing is wrong; None if all is finished."""
    folder, resumption = options.output_folder, Resumption()
    if ranks.first:
        resumption = decide(folder, recipe, options.steps, options.incremental_mode)
        if resumption.finished:
            introduce()
            print(f"  {folder}: is finished already, nothing to do")
    if ranks.from_first(b"finished" if resumption.finished else None) is not None:
        return None
    with stored.state(resumption.checkpoint, folder, ranks) as state:
        if state is not None:
            _go_on(run, state, f"{resumption.checkpoint or 'the checkpoint of rank 0'}")
    if ranks.first:
        if resumption.notice:
            print(resumption.notice, file=sys.stderr)
        introduce()
        begin(folder, resumption, recipe)
        if state is not None:
            print(f"  goes on from {resumption.checkpoint}, {state['step']:,} of {options.steps:,} steps are done")
    stored.check_shared(folder, ranks)
    return _Begun(int(state["step"]), bool(state.get("evaluation_is_due"))) if state is not None else _Begun()


def _go_on(run: Run[Any], state: Mapping[str, Any], name: str) -> None:
    try:
        run.load_state_dict(state["run"])
        batches, _ = state["batches"], int(state["step"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        if is_broken_line(error):
            raise  # its parts are read by many, and one that was lost is no fault of the checkpoint
        last = (str(error).strip().splitlines() or [""])[-1].strip()  # torch lists all that is wrong
        reason = said_by(error) if isinstance(error, KeyError) else last
        raise ValueError(
            f"{name}: does not hold what this training needs ({reason}); delete it to go on from another"
        ) from None
    try:
        run.batches.load_state_dict(batches)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name}: does not say how far the batches were taken ({said_by(error)}); delete it") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _take_steps(run: Run[Any], options: LoopOptions, begun: _Begun, saving: _Saving, log: Log | None) -> str:
    """The steps that are left. A signal that asks to end waits for nothing that is long, and for all that changes.

    Returns:
        what was last said of the training.
    """
    evaluation_is_due, ranks, summary = begun.evaluation_is_due, saving.ranks, ""

    def remember() -> dict[str, Any]:
        return {
            "run": run.tallies(),
            "batches": dict(run.batches.state_dict()),
            "evaluation_is_due": evaluation_is_due,
        }

    def save(step: int, remembered: Mapping[str, Any]) -> Path:
        state = {**remembered, "run": {**run.state_dict(), **remembered["run"]}}
        return _save(state, step, saving)

    clock = StepClock()
    with (
        deferred(takes=clock.longest if ranks.together else None),
        contextlib.closing(iter(run.batches)) as batches,
        Standing(begun.step, remember, save if log is not None else None, together=ranks.together) as standing,
    ):

        def evaluate() -> None:
            nonlocal evaluation_is_due
            if log is not None:
                with clock.elsewhere(), _said(options):
                    run.watch(standing.step, log)
            evaluation_is_due = False
            standing.whole(standing.step)

        if evaluation_is_due:
            evaluate()
            if log is not None:
                standing.saved(save(standing.step, remember()))
        while standing.step < options.steps:
            step = standing.step + 1
            with clock.waiting():
                batch = next_batch(batches, ranks)
            standing.begins()
            run.step(batch, step - 1)
            evaluation_is_due = options.eval_every > 0 and step % options.eval_every == 0
            standing.whole(step)
            clock.steps += 1
            if step % options.log_every == 0:
                seconds, waiting = clock.take()
                speed = options.batch_size / seconds
                figures = run.figures(step, speed)  # by all processes, for they add up
                figures |= {"samples_per_second": speed, "waiting_for_data": waiting}
                standing.whole(step)
                if log is not None:
                    log.figures(step, figures)
                summary = run.summary(figures)
                if ranks.first and not options.say.quiet:
                    left = time_left((options.steps - step) * seconds)
                    print(f"  step {step:,} of {options.steps:,}, {left} left: {summary}", flush=True)
                _check_finite(figures["loss"], step, options.output_folder)
            if evaluation_is_due:
                evaluate()
            if log is not None and (step == options.steps or step % options.save_every == 0):
                standing.saved(save(step, remember()))
        stop_together(ranks)
    return summary


def _said(options: LoopOptions) -> contextlib.AbstractContextManager[object]:
    """Inside the block nothing is printed on standard output, if it is to be quiet: the log has it."""
    return contextlib.redirect_stdout(io.StringIO()) if options.say.quiet else contextlib.nullcontext()


def _check_finite(loss: float, step: int, folder: Path) -> None:
    if not math.isfinite(loss):
        raise SpoiltTraining(
            f"step {step}: the loss is {loss}; {_what_is_kept(folder)} with a lower --learning_rate, more "
            "--warmup_steps or a lower --grad_clip"
        )


def _what_is_kept(folder: Path) -> str:
    if checkpoint.latest(folder / CHECKPOINTS) is None:
        return "there is no checkpoint yet, begin again"
    return "the checkpoints before it are kept, go on from there"


@dataclass(frozen=True)
class _Saving:
    """Where checkpoints go, and by whom."""

    folder: Path
    ranks: Ranks
    recipe: ModelRecipe
    store: CheckpointStore | None


def _save(state: Mapping[str, Any], step: int, saving: _Saving) -> Path:
    """A checkpoint, unless its weights are spoilt; with the first of them a model that is replaced can go."""
    folder, ranks = saving.folder, saving.ranks
    weights: dict[str, Any] = state["run"]["weights"]
    numbers = {name: value.part if isinstance(value, Piece) else value for name, value in weights.items()}
    spoilt = [name for name, value in numbers.items() if not bool(torch.isfinite(value).all())]
    if spoilt or (ranks.together and ranks.most(len(spoilt))):
        where = f"the first is {spoilt[0]}" if spoilt else "of which another process has parts"
        raise SpoiltTraining(
            f"step {step}: {len(spoilt)} of {len(weights)} weights are not finite, {where}; "
            f"{_what_is_kept(folder)} with a lower --learning_rate"
        )
    if asked_to_stop():
        ask_for_patience(_COPIES * sum(value.nbytes for value in numbers.values()) / _SLOWEST_DISK)
    path = stored.save(folder, step, {"step": step, **state}, ranks)
    if ranks.first:
        settle(folder)
    if saving.store is not None:
        saving.store.keep(saving.recipe)
    return path


def seed_everything(seed: int) -> None:
    """Make the global generators start from a seed: initial weights are drawn from them, and nothing after."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
