"""What processes that hold the weights together do at the same time: they take no step that not all of them take.

A process that gave up a step would leave the others waiting for its part of the weights, and could not save its own for
the step that they are at. So a signal that reaches any of them ends none at once: before each step all of them ask one
another, and all end there, with a checkpoint. It takes as long as a step; the guard is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from dalle.training.ranks import Ranks
from schemas.commands.stopping import Stopped, asked_to_stop, at_once

BatchT = TypeVar("BatchT")


class StoppedTogether(Stopped):
    """All processes end after the same step, because one of them was asked to."""


def at_once_unless_together(ranks: Ranks) -> contextlib.AbstractContextManager[None]:
    """A part of a step that a signal may end, but not if other processes count on it."""
    return contextlib.nullcontext() if ranks.together else at_once()


def next_batch(batches: Iterator[BatchT], ranks: Ranks) -> BatchT:
    """The next batch; if processes act together, and one was asked to end, they end before they take it.

    Raises:
        Stopped: if this process was asked to end, or they all are to.
    """
    if not ranks.together:
        with at_once():
            return next(batches)
    batch: BatchT | None = None
    try:
        with at_once():
            batch = next(batches)
    except BaseException:
        if not asked_to_stop():  # whoever reads ahead was ended with the signal
            raise
    stop_together(ranks)
    assert batch is not None
    return batch


def stop_together(ranks: Ranks) -> None:
    """End all processes here if one of them was asked to.

    Raises:
        StoppedTogether: on all of them.
    """
    if ranks.together and (number := ranks.most(asked_to_stop())):
        raise StoppedTogether(number)
