"""The order of an epoch: which example stands at which place, a function of the seed and the epoch alone.

Shards come in a new order each epoch, and the row of examples that they make is cut into windows, which are shuffled
inside. So what stands at a place is known without reading anything before it: a reading may go on from any place,
and any number of processes can share it without speaking to each other. A window is what a process has in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Piece:
    """Rows of a shard, one after the other."""

    shard: int
    first: int
    end: int


class EpochOrder:
    """An epoch's order of examples.

    Args:
        counts: examples of each shard.
        window: examples that are shuffled together.
        seed, epoch: give the order.
    """

    def __init__(self, counts: Sequence[int], window: int, seed: int, epoch: int) -> None:
        self._window, self._key = window, (seed, epoch)
        self._shards = np.random.default_rng((*self._key, 0)).permutation(len(counts))
        self._ends = np.cumsum(np.asarray(counts, np.int64)[self._shards])
        self._last: tuple[int, np.ndarray] | None = None
        self.total = int(self._ends[-1]) if len(counts) else 0

    def windows(self, first: int, end: int) -> list[tuple[int, np.ndarray]]:
        """Where the examples of places `first` to `end` are: for each window its number and indices into it."""
        found = []
        while first < end:
            number = first // self._window
            start = number * self._window
            last = min(end - start, self._size(number))
            found.append((number, self._shuffled(number)[first - start : last]))
            first = start + last
        return found

    def pieces(self, number: int) -> list[Piece]:
        """What a window is made of."""
        start = number * self._window
        end, found = start + self._size(number), []
        at = int(np.searchsorted(self._ends, start, side="right"))
        while start < end:
            shard_end = int(self._ends[at])
            shard_start = int(self._ends[at - 1]) if at else 0
            stop = min(end, shard_end)
            if stop > start:
                found.append(Piece(int(self._shards[at]), start - shard_start, stop - shard_start))
            start, at = stop, at + 1
        return found

    def _shuffled(self, number: int) -> np.ndarray:
        if self._last is None or self._last[0] != number:
            rng = np.random.default_rng((*self._key, 1 + number))
            self._last = number, rng.permutation(self._size(number))
        return self._last[1]

    def _size(self, number: int) -> int:
        return min(self._window, self.total - number * self._window)


def draws(seed: int, epoch: int, ids: np.ndarray, purpose: int) -> np.ndarray:
    """[B] uint64, uniform: one number for each example, whatever batch it is in (splitmix64 of all that decides)."""
    with np.errstate(over="ignore"):
        key = np.full(len(ids), 0x9E3779B97F4A7C15, np.uint64)
        for part in (np.uint64(seed % 2**64), np.uint64(epoch), np.uint64(purpose), ids.astype(np.uint64)):
            key = _mix(key + part + np.uint64(0x9E3779B97F4A7C15))
    return key


def _mix(value: np.ndarray) -> np.ndarray:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
