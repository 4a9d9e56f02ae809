"""The order of an epoch: which example stands at which position, a function of the seed and the epoch alone.

Shards come in a new order each epoch, and the sequence of examples that they make is cut into windows, which are
shuffled inside. So what stands at a position is known without reading anything before it: a reading may go on from any
position, and any number of processes can share it without speaking to each other. A window is what a process has in
memory. Shards of one example each make every epoch a permutation of all of them.

    >>> order = EpochOrder([4, 2, 3], window=5, seed=0, epoch=0)
    >>> order.pieces(0)                          # the first window is made of the third shard and half the first
    [Piece(shard=2, first=0, end=3), Piece(shard=0, first=0, end=2)]
    >>> order.windows(3, 7)                      # positions 3 to 6: two of the first window, two of the second
    [(0, array([2, 0])), (1, array([1, 2]))]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Piece:
    """Examples `first` to `end` of a shard."""

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
        """Where the examples of positions `first` to `end` are: for each window its number and indices into it."""
        stretches = []
        while first < end:
            number = first // self._window
            start = number * self._window
            last = min(end - start, self._size(number))
            stretches.append((number, self._shuffled(number)[first - start : last]))
            first = start + last
        return stretches

    def pieces(self, number: int) -> list[Piece]:
        """What a window is made of."""
        start = number * self._window
        end, pieces = start + self._size(number), []
        index = int(np.searchsorted(self._ends, start, side="right"))
        while start < end:
            shard_end = int(self._ends[index])
            shard_start = int(self._ends[index - 1]) if index else 0
            stop = min(end, shard_end)
            if stop > start:
                pieces.append(Piece(int(self._shards[index]), start - shard_start, stop - shard_start))
            start, index = stop, index + 1
        return pieces

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
