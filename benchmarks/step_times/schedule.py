"""When each part of a training step begins and ends, given how long each takes: a simulation without a clock.

Three things are busy or free: what computes, the network within a group of processes that hold the weights together,
and the network between groups. Each does what it is given in the order in which it is given. So all that is known of
overlap is which part waits for which, as `dalle.training.sharding` and `compression` have it:

- a unit computes when its weights are gathered; those of the next are, from when this one begins to compute
- on the way back likewise, with the one before; embeddings, which need no weights there, and the output layers, which
  are kept, are not gathered again
- a unit's gradient is reduced and scattered when it is whole, once that of the unit before it is (torch waits)
- with the last portion of a batch it is averaged between groups: computed, sent, computed, sent, ... (`Stage`)
- gradients of output layers and embeddings come last, then the optimizer

As every part waits only for ends, the step is never shorter than what any one of the three does, never longer than all
of it together, and no shorter part makes it longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Overlap = Literal["none", "gathers", "all"]
"""What is sent while something is computed: nothing; weights, as with gloo on a processor; all, as with NCCL."""
COMPUTE, WITHIN, BETWEEN = "compute", "within groups", "between groups"
LAGS = (0, 1, 2, 4, 8, 16, 32, 64, 1 << 30)
"""By how many units' gradients the next stage of an exchange may be put off: the best is taken, for a GPU computes
what is ready. Each of these is a fixed order, and so the best of them obeys the laws above as well."""
_SIMULATED = 4
"""Portions of a batch that are gone through; each one more takes as long as the last of these that is not the last."""


@dataclass(frozen=True)
class Stage:
    """A part of the average between groups."""

    compute: float
    """Seconds, before anything is sent."""
    send: float


@dataclass(frozen=True, kw_only=True)
class UnitTimes:
    """Seconds that a unit takes of each thing, by itself."""

    gather: float = 0.0
    """Its weights on the network within the group."""
    unpack: float = 0.0
    """Of computing, to put gathered weights in place."""
    stolen: float = 0.0
    """Of computing, that gathering takes where it goes on meanwhile: a processor sends, too, and a GPU hardly."""
    forward: float = 0.0
    backward: float = 0.0
    """And what is computed again for it."""
    pack: float = 0.0
    """Of computing, to lay out gradients for the others."""
    reduce: float = 0.0
    """Its gradient on the network within the group."""
    exchange: tuple[Stage, ...] = ()
    """Its gradient between groups, once a step."""


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Seconds of all that is done in a step."""

    blocks: Sequence[UnitTimes]
    """Residual blocks, in the order in which they compute; one or more."""
    embeddings: UnitTimes = UnitTimes()
    outputs: UnitTimes = UnitTimes()
    """The output layers, whose gradients are computed with the losses: `forward` is all of it."""
    optimizer: float = 0.0
    portions: int = 1
    """Of a batch, one after the other."""


@dataclass
class Timeline:
    """Until when each thing is busy, and for how long it was."""

    free: dict[str, float] = field(default_factory=lambda: dict.fromkeys((COMPUTE, WITHIN, BETWEEN), 0.0))
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys((COMPUTE, WITHIN, BETWEEN), 0.0))

    def does(self, what: str, seconds: float, after: float = 0.0) -> float:
        """One more part, when what it waits for has ended; gives its end."""
        self.free[what] = max(self.free[what], after) + seconds
        self.busy[what] += seconds
        return self.free[what]

    def waits(self, until: float) -> None:
        """Nothing more is computed before."""
        self.free[COMPUTE] = max(self.free[COMPUTE], until)

    def sends(self, what: str, seconds: float, after: float, *, meanwhile: bool) -> float:
        """Something on a network, while computing goes on or waits; gives its end."""
        end = self.does(what, seconds, after if meanwhile else max(after, self.free[COMPUTE]))
        if not meanwhile:
            self.waits(end)
        return end


@dataclass(frozen=True)
class Simulated:
    """A step as it went."""

    seconds: float
    busy: dict[str, float]
    """Seconds, by what was busy."""

    @property
    def share_of_communication(self) -> float:
        """Of the time, in which nothing was computed, for something was sent."""
        return 1 - self.busy[COMPUTE] / self.seconds if self.seconds else 0.0


def simulate(times: StepTimes, overlap: Overlap) -> Simulated:
    """A step, in the best of the orders that there are."""
    is_put_off = overlap == "all" and any(stage.compute for unit in times.blocks for stage in unit.exchange)
    return min((_in_order(times, overlap, lag) for lag in (LAGS if is_put_off else (0,))), key=lambda s: s.seconds)


def _in_order(times: StepTimes, overlap: Overlap, lag: int) -> Simulated:
    step = _Step(times, overlap, lag)
    missing = max(0, times.portions - _SIMULATED)
    marks = [(0.0, step.line.busy.copy())]
    for portion in range(times.portions - missing):
        step.portion(last=portion + 1 == times.portions - missing)
        marks.append((step.line.free[COMPUTE], step.line.busy.copy()))
    step.finish()
    seconds, busy = max(step.line.free.values()), step.line.busy
    if missing:  # the last but one was as those that are missing
        (before, done_before), (after, done_after) = marks[-3:-1]
        seconds += missing * (after - before)
        busy = {what: busy[what] + missing * (done_after[what] - done_before[what]) for what in busy}
    return Simulated(seconds, busy)


class _Step:
    """A step in progress."""

    def __init__(self, times: StepTimes, overlap: Overlap, lag: int) -> None:
        self._times, self._lag, self.line = times, lag, Timeline()
        self._gathers_meanwhile, self._all_meanwhile = overlap != "none", overlap == "all"
        self._put_off: list[tuple[int, UnitTimes, int, float]] = []  # when it is due, of which, stage, after what

    def portion(self, *, last: bool) -> None:
        """There and back."""
        times, line = self._times, self.line
        line.waits(self._gather(times.outputs))
        line.does(COMPUTE, times.outputs.unpack)
        units = [times.embeddings, *times.blocks]
        ready = self._gather(units[0])
        for unit, following in zip(units, [*units[1:], None], strict=True):
            ready = self._unpacked(unit, following, ready)
            line.does(COMPUTE, unit.forward)
        line.does(COMPUTE, times.outputs.forward)
        ready, reduced = self._gather(units[-1]), 0.0
        for done, (unit, following) in enumerate(zip(units[:0:-1], [*units[-2:0:-1], None], strict=True)):
            ready = self._unpacked(unit, following, ready)
            line.does(COMPUTE, unit.backward)
            line.waits(reduced)
            reduced = self._reduce(unit, done, last=last)
            self._do_due(done)
        line.does(COMPUTE, times.embeddings.backward)
        for unit in (times.outputs, times.embeddings):
            line.waits(reduced)
            reduced = self._reduce(unit, len(times.blocks), last=last)
        line.waits(reduced)

    def finish(self) -> None:
        """What was put off, and the optimizer."""
        while self._put_off:
            self._do_due(min(due for due, *_ in self._put_off))
        self.line.waits(max(self.line.free.values()))
        self.line.does(COMPUTE, self._times.optimizer)

    def _gather(self, unit: UnitTimes) -> float:
        """Begins now; gives when the weights are there."""
        return self.line.sends(WITHIN, unit.gather, self.line.free[COMPUTE], meanwhile=self._gathers_meanwhile)

    def _unpacked(self, unit: UnitTimes, following: UnitTimes | None, ready: float) -> float:
        """Wait for a unit's weights and have those of the next gathered; gives when they are there."""
        self.line.waits(ready)
        self.line.does(COMPUTE, unit.unpack)
        if following is None:
            return 0.0
        then = self._gather(following)
        if self._gathers_meanwhile:
            self.line.does(COMPUTE, following.stolen)
        return then

    def _reduce(self, unit: UnitTimes, done: int, *, last: bool) -> float:
        """A gradient that is whole now, so many units' before it were; gives when it is reduced."""
        whole = self.line.does(COMPUTE, unit.pack)
        end = self.line.sends(WITHIN, unit.reduce, whole, meanwhile=self._all_meanwhile)
        if last and unit.exchange:
            if self._all_meanwhile:
                self._put_off.append((done + self._lag * bool(unit.exchange[0].compute), unit, 0, end))
            else:
                for stage in unit.exchange:
                    self.line.does(COMPUTE, stage.compute)
                    self.line.sends(BETWEEN, stage.send, 0.0, meanwhile=False)
        return end

    def _do_due(self, done: int) -> None:
        """The stages that are due after so many units; what follows them at once as well."""
        while due := [each for each in self._put_off if each[0] <= done]:
            first = min(due, key=lambda each: (each[0], -each[2]))
            self._put_off.remove(first)
            when, unit, index, after = first
            stage = unit.exchange[index]
            if stage.compute:
                after = self.line.does(COMPUTE, stage.compute, after)
            sent = self.line.does(BETWEEN, stage.send, after)
            if index + 1 < len(unit.exchange):
                waits = self._lag if unit.exchange[index + 1].compute else 0
                self._put_off.append((when + waits, unit, index + 1, sent))
