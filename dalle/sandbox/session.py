"""Items go in one by one and come out answered, some at a time, whatever becomes of the workers in between."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from dalle.sandbox.limits import Limits, processor_time
from dalle.sandbox.nursery import Worker, nursery
from dalle.sandbox.work import (
    LOAD,
    NOBODYS,
    OUT_OF_MEMORY,
    SLOTS,
    TROUBLE,
    Function,
    pack_sizes,
    put_items,
    take_answers,
    turn,
    unpack_sizes,
)

T = TypeVar("T")

Fault = Literal["crashed", "memory", "time"]

_ITEMS, _BYTES = 32, 4 << 20
"""Of a batch, at most; a single item may be larger."""
_KEPT = 16 << 20
"""Bytes of a batch's memory that are not given back after it."""
_STILL = 60.0
"""Seconds after which it is asked whether a worker takes processor time at all."""
_PATIENCE = 3
"""Times that workers may die without an item's doing."""
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}


class WorkersDie(RuntimeError):
    """Workers end, and not because of what they work on: somebody kills them, or the machine has no memory left."""

    def __init__(self, message: str, token: Any) -> None:
        super().__init__(message)
        self.token = token
        """Of the item that was worked on, or of the next one."""


@dataclass(frozen=True)
class Answer:
    """What became of an item."""

    value: Any = None
    """What the function said of it."""
    data: bytes = b""
    """The bytes that it made of it."""
    raised: str | None = None
    """What the function raised, with its type, if it did."""
    fault: Fault | None = None
    """Why there is no answer: it ended its workers, or took more memory or processor time than an item may; twice."""
    message: str = ""
    """The same with what was seen."""
    seconds: float = 0.0
    """Of the processor's time, that it took."""


@dataclass(frozen=True, eq=False)
class _Item(Generic[T]):
    token: T
    data: bytes


@dataclass(frozen=True)
class _Death(Generic[T]):
    """Of a worker."""

    item: _Item[T] | None
    """What it died of."""
    fault: Fault | None
    message: str


class Session(Generic[T]):
    """Runs one function of bytes in a worker.

    Args:
        function: a function of a module, or a `functools.partial` of one; gives what JSON can say, and bytes.
        limits: what a worker may take.
    """

    def __init__(self, function: Function, limits: Limits) -> None:
        self._limits = limits
        self._function = pickle.dumps(function)
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        self._module = inner.__module__
        if self._module == "__main__":
            raise ValueError(f"{inner}: is of the program that was started, which workers are not; put it in a module")
        self._worker: Worker | None = None
        self._waiting: deque[_Item[T]] = deque()
        self._flying: deque[tuple[int, list[_Item[T]]]] = deque()
        """Batches that the worker has, each with its slot, in the order in which it answers them."""
        self._deaths = 0
        """That no item is to blame for."""
        self._fresh = self._hung = False

    def __enter__(self) -> Self:
        self._ready()
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._worker is None:
            return
        if self._flying:
            self._worker.kill()
            self._worker.close()
        else:
            self._worker.give_back()
        self._worker = None

    def push(self, token: T, data: bytes) -> Iterator[tuple[T, Answer]]:
        """Have an item worked on; gives the answers that have come in the meantime, to it and to earlier ones."""
        self._waiting.append(_Item(token, data))
        while self._flying and self._ready().has_something():
            yield from self._receive()
        if len(self._flying) < SLOTS:
            self._send()
        elif len(self._waiting) >= _ITEMS or sum(len(item.data) for item in self._waiting) >= _BYTES:
            yield from self._receive()
            self._send()

    def flush(self) -> Iterator[tuple[T, Answer]]:
        """The answers that are still open."""
        while self._waiting or self._flying:
            while self._waiting and len(self._flying) < SLOTS:
                self._send()
            yield from self._receive()

    def _ready(self) -> Worker:
        """The worker, with the function."""
        if self._worker is None:
            self._worker = nursery().worker(self._limits, self._module, fresh=self._fresh)
        if self._worker.loaded != self._function:
            self._tell(self._worker, LOAD + self._function)
            self._worker.loaded = self._function
        return self._worker

    def _send(self) -> None:
        """As many items as make a batch."""
        batch: list[_Item[T]] = []
        size = 0
        while self._waiting and len(batch) < _ITEMS and (not batch or size + len(self._waiting[0].data) <= _BYTES):
            batch.append(self._waiting.popleft())
            size += len(batch[-1].data)
        if batch:
            self._begin(batch)

    def _begin(self, batch: list[_Item[T]]) -> None:
        worker = self._ready()
        used = {slot for slot, _ in self._flying}
        slot = next(slot for slot in range(SLOTS) if slot not in used)
        put_items(worker.slots[slot], [item.data for item in batch])
        self._flying.append((slot, batch))
        self._tell(worker, pack_sizes(slot, [len(item.data) for item in batch]))

    @staticmethod
    def _tell(worker: Worker, message: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended; whoever waits for its answer finds out why
            worker.line.send_bytes(message)

    def _receive(self) -> Iterator[tuple[T, Answer]]:
        """Wait for the answers to a batch, or for what can be said of the item that the worker died of."""
        answers = self._answers()
        if answers is None:
            death = self._bury()
            answers = [(death.item, self._alone(death.item))] if death.item is not None else []
        yield from ((item.token, answer) for item, answer in answers)

    def _answers(self) -> list[tuple[_Item[T], Answer]] | None:
        """To the first of the batches that the worker has; None if it has died."""
        worker = self._ready()
        message = self._message(worker)
        if message is None:
            return None
        if message[:1] == TROUBLE:
            raise WorkersDie(message[1:].decode("utf-8", "replace"), self._flying[0][1][0].token)
        slot, sizes = unpack_sizes(message)
        flown, batch = self._flying.popleft()
        assert slot == flown, "a worker answers batches in their order"
        answers = take_answers(worker.slots[slot], [item.data for item in batch], sizes)
        if os.fstat(worker.slots[slot]).st_size > _KEPT:
            os.ftruncate(worker.slots[slot], 0)
        return [
            (item, Answer(value, data, raised=raised, seconds=seconds))
            for item, ((value, raised, seconds), data) in zip(batch, answers, strict=True)
        ]

    def _message(self, worker: Worker) -> bytes | None:
        """The worker's next; None if it has died. One that waits for what never comes is ended."""
        taken = -1.0
        while not worker.has_something(_STILL):
            before, taken = taken, processor_time(worker.pid) or 0.0
            if taken == before:
                self._hung = True
                worker.kill()
        try:
            return worker.line.recv_bytes()
        except (EOFError, OSError):
            return None

    def _alone(self, item: _Item[T]) -> Answer:
        """The answer to an item that a worker has died of, from a new one that has nothing else."""
        while True:
            self._begin([item])
            answers = self._answers()
            if answers is not None:
                return answers[0][1]
            death = self._bury()
            if death.item is item:
                return Answer(fault=death.fault, message=death.message)
            self._waiting.popleft()  # this very item, which the worker had not come to

    def _bury(self) -> _Death[T]:
        """Let go of a worker that has died; what it had waits again, but for the item that it died of, if it did."""
        worker, code = self._ready(), self._ready().how_it_ended()
        slot, batch = self._flying[0]
        number = turn(worker.slots[slot])
        worker.close()
        self._worker, self._fresh = None, True
        death = _Death(batch[number] if number != NOBODYS else None, *_cause(code, hung=self._hung))
        self._hung = False
        if death.item is None or death.fault is None:
            self._deaths += 1
            if self._deaths > _PATIENCE:
                token = batch[max(number, 0)].token
                raise WorkersDie(f"workers keep ending ({death.message}), as they do when memory runs out", token)
            death = replace(death, item=None)
        open_ = [item for _, batch in self._flying for item in batch if item is not death.item]
        self._flying.clear()
        self._waiting.extendleft(reversed(open_))
        return death


def one_by_one(function: Function, limits: Limits, items: Iterable[tuple[T, bytes]]) -> Iterator[tuple[T, Answer]]:
    """The answers to items, in their order."""
    early: dict[int, tuple[T, Answer]] = {}
    """Answers that wait for one before them: an item that a worker has died of is answered before its neighbours."""
    following = 0

    def in_turn(answers: Iterable[tuple[tuple[int, T], Answer]]) -> Iterator[tuple[T, Answer]]:
        nonlocal following
        for (number, token), answer in answers:
            early[number] = token, answer
            while following in early:
                yield early.pop(following)
                following += 1

    with Session[tuple[int, T]](function, limits) as session:
        for number, (token, data) in enumerate(items):
            yield from in_turn(session.push((number, token), data))
        yield from in_turn(session.flush())


def _cause(code: int, *, hung: bool) -> tuple[Fault | None, str]:
    """Why a worker died, if it was by what it worked on."""
    if hung:
        return "time", "it waited for what never came"
    if code == OUT_OF_MEMORY:
        return "memory", "it wanted more memory than it may have"
    if code >= 0:
        return "crashed", f"the process ended with exit code {code}"
    name = signal.strsignal(-code) or "signal"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    if -code == signal.SIGPROF:
        return "time", "it took more processor time than it may"
    return (None if -code in _FROM_OUTSIDE else "crashed"), f"the process died of {name}"
