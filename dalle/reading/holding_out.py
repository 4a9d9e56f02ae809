"""Which examples are held out of a training to validate it on: those whose uid has a small hash.

So the same pairs are held out whatever the order and the size of the shards, and whatever else is collected with them;
pairs of one uid are held out together. Every process looks at its share of the shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from dalle.reading.identities import Identities

LEAST = 64
"""Examples that are held out at least, unless a training asks for more."""
MOST = 4
"""At most one of so many is held out."""


class Processes(Protocol):
    """Those that train together, as one of them sees it; see `dalle.training.ranks.Ranks`."""

    @property
    def rank(self) -> int:
        """Which one this is."""

    @property
    def count(self) -> int:
        """How many there are."""

    def total(self, number: int) -> int:
        """The sum over all of them."""

    def from_all(self, content: bytes) -> list[bytes]:
        """What each of them has, in order."""


class Divisible(Protocol):
    """Shards of which some rows can be read alone: `ExampleShards`, `CaptionedPairs`."""

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard."""

    def identities(self, shard: int) -> Identities:
        """By what the examples of a shard are told apart."""

    def only(self, rows: Sequence[np.ndarray]) -> Self:
        """Some of the examples, as shards of their own."""


ShardsT = TypeVar("ShardsT", bound=Divisible)


@dataclass(frozen=True)
class Split(Generic[ShardsT]):
    """A dataset in two parts."""

    training: ShardsT
    validation: ShardsT | None
    """None if nothing is held out."""
    equal_pictures: int = 0
    """Examples of the training that have the very picture, or the very codes, of one that is held out."""

    @property
    def held_out(self) -> int:
        """Examples that are held out."""
        return sum(self.validation.counts) if self.validation else 0


def hold_out(shards: ShardsT, share: float, ranks: Processes, least: int = LEAST) -> Split[ShardsT]:
    """Hold out a share of the examples, at least so many, at most a quarter.

    Nothing is held out where that cannot be: of fewer than 4 examples, or where more than a quarter have one uid.

    Args:
        shards: all examples.
        share: of the examples, 0 to 1; 0 holds out nothing.
        ranks: the processes that train; all of them call this.
        least: examples that are held out, if that is no more than a quarter.

    Raises:
        ValueError: if a shard is broken.
    """
    if not share:
        return Split(shards, None)
    mine = {shard: shards.identities(shard) for shard in range(ranks.rank, len(shards.counts), ranks.count)}
    limit = _limit([some.uids for some in mine.values()], share, (sum(shards.counts), least), ranks)
    if limit is None:
        return Split(shards, None)
    held = {shard: np.flatnonzero(some.uids <= limit) for shard, some in mine.items()}
    rows = rows_of_all(held, len(shards.counts), ranks)
    rest = [np.delete(np.arange(count), some) for count, some in zip(shards.counts, rows, strict=True)]
    return Split(
        training=shards.only(rest), validation=shards.only(rows), equal_pictures=_equal_pictures(mine, held, ranks)
    )


def rows_of_all(mine: Mapping[int, np.ndarray], shards: int, ranks: Processes) -> list[np.ndarray]:
    """Some rows of every shard, [n] int64 each, ascending, from those of this process's shards."""
    pairs = [np.stack([np.full(len(rows), shard), rows]) for shard, rows in mine.items()]
    flat = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1).T.astype(np.uint64)
    of_shard = _from_all(flat.reshape(-1), ranks).reshape(-1, 2).astype(np.int64)
    return [np.sort(of_shard[of_shard[:, 0] == shard, 1]) for shard in range(shards)]


def _limit(uids: Sequence[np.ndarray], share: float, sizes: tuple[int, int], ranks: Processes) -> np.uint64 | None:
    """The largest hash of a uid that is held out, from the hashes of this process's shards.

    Args:
        uids: of each of this process's shards the hashes, [n] uint64.
        share: that is to be held out.
        sizes: how many examples there are, and how many are to be held out at least.
        ranks: the processes.
    """
    total, least = sizes
    of_share = np.uint64(min(int(share * 2**64), 2**64 - 1))
    below = ranks.total(sum(int((some <= of_share).sum()) for some in uids))
    most = total // MOST
    wanted = min(max(below, least), most)
    if wanted == below:
        return of_share if below else None
    smallest = _from_all(np.sort(np.concatenate([np.zeros(0, np.uint64), *uids]))[: most + 1], ranks)
    smallest = np.sort(smallest)[: most + 1]
    if not wanted:
        return None
    first, end = (int(np.searchsorted(smallest, smallest[wanted - 1], side)) for side in ("left", "right"))
    if end <= most:
        return smallest[end - 1]
    return smallest[first - 1] if first else None  # pairs of one uid stay together


def _equal_pictures(mine: Mapping[int, Identities], held: Mapping[int, np.ndarray], ranks: Processes) -> int:
    """How many examples that are trained on have a picture, of as many as there are, that one held out has as well."""
    pictures = [mine[shard].pictures.take(rows).values for shard, rows in held.items()]
    of_held = np.unique(_from_all(np.concatenate([np.zeros(0, np.uint64), *pictures]), ranks))
    count = 0
    for shard, rows in held.items():
        of_shard = mine[shard].pictures
        equal = np.concatenate([[0], np.isin(of_shard.values, of_held).cumsum()])
        count += int((np.delete(np.diff(equal[of_shard.starts]), rows) > 0).sum())
    return ranks.total(count)


def _from_all(numbers: np.ndarray, ranks: Processes) -> np.ndarray:
    """The numbers of all processes, [n] uint64, one after the other."""
    return np.frombuffer(b"".join(ranks.from_all(numbers.astype("<u8").tobytes())), "<u8").astype(np.uint64)
