"""Batches for a training, from the shards that the pipelines left or from folders of pictures.

    batches = Batches(ExampleShards("examples", vocabulary=..., dvae=...), batch_size=256, seed=0)
    for batch in batches:                                # one epoch; the next `for` is the next epoch
        batch["text_tokens"], batch["image_codes"]       # [B, 256] and [B, 1024] int64
    state = batches.state_dict()                         # at any moment: what was consumed, not what was prefetched

What stands at which position follows from the dataset, the seed and the epoch alone: not from the batch size, nor from
how many processes (ranks) train or how many workers read. So no example comes twice in an epoch, every rank has as many
batches as the others, and a training goes on in mid-epoch with another number of ranks exactly where it was. What is
left over at an epoch's end is less than one batch of all ranks, and is said. Every rank loads the windows that its
share lies in, which are all: examples are small, and loading them is some hundred times faster than training on them;
pictures are decoded by the rank that takes them. `dalle.reading.endless` reads epoch after epoch.
"""

from __future__ import annotations

import logging
import operator
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from dalle.reading.ahead import read_ahead
from dalle.reading.epoch_order import EpochOrder, Piece
from schemas.ranges import MOST_STEPS

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


class Shards(Protocol):
    """Where examples come from: `ExampleShards`, `PairShards`, `PictureFolders`."""

    fingerprint: str
    """The same for the same examples in the same shards."""

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard."""

    def too_few(self, batch_size: int) -> str:
        """The sentence that says that the dataset does not fill a batch, and what to do."""
        ...

    def load(self, pieces: Sequence[Piece]) -> Any:
        """The examples of some pieces, one after the other; what a process holds of a window."""
        ...

    def batch(self, examples: Any, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """Arrays [B, ...] of those examples that `load` gave at some indices, [B] int64."""
        ...


class Batches:
    """Batches of a dataset, an epoch for each `for`.

    Any object with the members of `Shards` is a dataset, such as the numbers from 0 to 8 in three shards:

        >>> class Numbers:
        ...     counts, fingerprint = [4, 2, 3], "the numbers from 0 to 8"
        ...     def too_few(self, batch_size):
        ...         return f"there are 9 numbers, expected at least the {batch_size} of one batch"
        ...     def load(self, pieces):
        ...         first = [0, 4, 6]
        ...         return np.concatenate([first[p.shard] + np.arange(p.first, p.end) for p in pieces])
        ...     def batch(self, examples, index, seed, epoch):
        ...         return {"numbers": examples[index]}
        >>> batches = Batches(Numbers(), batch_size=4, seed=0)
        >>> len(batches), batches.left_over
        (2, 1)
        >>> for batch in batches:
        ...     print(batch["numbers"], batches.state_dict()["consumed"])
        tensor([2, 7, 3, 0]) 4
        tensor([1, 4, 5, 8]) 8

    Two processes share the same batches:

        >>> shares = [Batches(Numbers(), batch_size=4, seed=0, rank=rank, ranks=2) for rank in (0, 1)]
        >>> [next(iter(share))["numbers"] for share in shares]
        [tensor([2, 7]), tensor([3, 0])]

    Args:
        shards: the dataset.
        batch_size: examples of a batch, of all ranks together.
        seed: of the order, and of what is drawn of each example.
        window: examples that are shuffled together and held in memory.
        rank, ranks: this process among those that train together; its share of each batch is `batch_size / ranks`.
        workers: processes that read ahead; 0 reads in this one.
        announced: log how many batches there are and what is left over.

    Raises:
        ValueError: if the batch cannot be shared out, a number is none, or the dataset does not fill one.
    """

    def __init__(
        self,
        shards: Shards,
        *,
        batch_size: int,
        seed: int = 0,
        window: int = 16_384,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        announced: bool = True,
    ) -> None:
        total = int(sum(shards.counts))
        batch_size, seed, window, rank, ranks, workers = (
            _whole(name, number)
            for name, number in (
                ("batch_size", batch_size),
                ("seed", seed),
                ("window", window),
                ("rank", rank),
                ("ranks", ranks),
                ("workers", workers),
            )
        )
        if batch_size < 1 or not 0 <= rank < ranks or batch_size % ranks or window < 1 or seed < 0 or workers < 0:
            raise ValueError(
                f"batch_size {batch_size}, rank {rank} of {ranks}, window {window}, seed {seed}, workers {workers}: "
                "expected a batch that is shared out equally, and nothing negative"
            )
        if total < batch_size:
            raise ValueError(shards.too_few(batch_size))
        self._shards, self._workers, self._total = shards, workers, total
        self._order = (batch_size, seed, window)
        self._share = (rank, ranks)
        self._epoch = self._consumed = 0
        if rank == 0 and announced:
            log.info("%d examples: %d batches of %d, %d left over", total, len(self), batch_size, self.left_over)

    def __len__(self) -> int:
        """Batches that are left of this epoch; the same on every rank."""
        return (self._total - self._consumed) // self._order[0]

    @property
    def epoch(self) -> int:
        """The epoch that the next batch is of."""
        return self._epoch

    @property
    def left_over(self) -> int:
        """Examples at the end of this epoch that fill no batch; other ones each epoch."""
        return (self._total - self._consumed) % self._order[0]

    def __getitem__(self, _index: object) -> NoReturn:
        """Batches come in their order: a `DataLoader` around this, which asks for items by number, is told so.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "Batches gives whole batches in their order and none by number: read it by `for batch in batches`, without "
            "a DataLoader around it; Batches(..., workers=N) reads ahead in N processes"
        )

    def __iter__(self) -> Generator[Batch]:
        """What is left of this epoch."""
        yield from self._taken(endless=False)
        self._epoch, self._consumed = self._epoch + 1, 0

    def for_ever(self) -> Generator[Batch]:
        """What is left of this epoch and then all epochs after it; workers read on over an epoch's end."""
        return self._taken(endless=True)

    def _taken(self, *, endless: bool) -> Generator[Batch]:
        """The batches to come, each counted as consumed before it is handed out."""
        size = self._order[0]
        for batch in self._loader(endless=endless):
            if isinstance(batch, ValueError):
                raise batch
            if self._consumed + size > self._total:
                self._epoch, self._consumed = self._epoch + 1, 0
            self._consumed += size
            yield batch

    def _loader(self, *, endless: bool) -> Any:
        size, seed, window = self._order
        reading = Reading(self._shards, size, seed, window, self._epoch, self._consumed, *self._share, endless=endless)
        return read_ahead(reading, self._workers) if self._workers else reading

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come."""
        _, seed, window = self._order
        return {
            "epoch": self._epoch,
            "consumed": self._consumed,
            "seed": seed,
            "window": window,
            "data": self._shards.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with any number of ranks and workers.

        Raises:
            ValueError: if it was a reading of another dataset or in another order, or of none at all.
            TypeError: if it is no mapping.
        """
        _, seed, window = self._order
        if not isinstance(state, Mapping):
            raise TypeError(f"the state is of type {type(state).__name__}, expected what state_dict() gave, a mapping")
        if missing := [name for name in self.state_dict() if name not in state]:
            raise ValueError(
                f"the state has no {' and no '.join(missing)}: it is not what state_dict() of Batches gave; give what "
                "the training saved, or begin anew"
            )
        for name, mine in (("data", self._shards.fingerprint), ("seed", seed), ("window", window)):
            if state[name] != mine:
                raise ValueError(
                    f"the state is of a reading with {name} {state[name]}, expected {mine}; give what the training "
                    "began with, or begin anew"
                )
        epoch, consumed = (_whole(f"the state's {name}", state[name]) for name in ("epoch", "consumed"))
        if not 0 <= epoch <= MOST_STEPS or not 0 <= consumed <= self._total:
            raise ValueError(
                f"the state has consumed {consumed} of {self._total} examples in epoch {epoch}, which cannot be; give "
                "what the training saved, or begin anew"
            )
        self._epoch, self._consumed = epoch, consumed


def _whole(name: str, number: Any) -> int:
    try:
        if not isinstance(number, bool):
            return operator.index(number)
    except TypeError:
        pass
    raise ValueError(f"{name} is {number!r:.60}, expected a whole number")


@dataclass
class Reading(IterableDataset[Any]):
    """A rank's share of what is left of an epoch; of several workers of a `DataLoader` each takes its turn."""

    shards: Shards
    batch_size: int
    seed: int
    window: int
    epoch: int
    consumed: int
    rank: int
    ranks: int
    endless: bool = False
    """Go on with the epochs after it."""

    def __iter__(self) -> Iterator[Batch | ValueError]:
        info = torch.utils.data.get_worker_info()
        return _with_error_last(self.batches(info.id, info.num_workers)) if info else self.batches(0, 1)

    def batches(self, worker: int, workers: int) -> Iterator[Batch]:
        """The batches of one worker, in order: of all batches to come every `workers`-th, from number `worker` on."""
        epoch, consumed, number = self.epoch, self.consumed, 0
        while True:
            order = EpochOrder(self.shards.counts, self.window, self.seed, epoch)
            whole = (order.total - consumed) // self.batch_size
            starts = range(consumed, order.total, self.batch_size)[(worker - number) % workers : whole : workers]
            yield from self._of_epoch(order, epoch, starts)
            if not self.endless:
                return
            epoch, consumed, number = epoch + 1, 0, number + whole

    def _of_epoch(self, order: EpochOrder, epoch: int, starts: Sequence[int]) -> Iterator[Batch]:
        """This rank's share of the batches that begin at some positions; a window is loaded once."""
        share = self.batch_size // self.ranks
        held: dict[int, Any] = {}
        for start in starts:
            first = start + self.rank * share
            windows = order.windows(first, first + share)
            held = {n: held[n] if n in held else self.shards.load(order.pieces(n)) for n, _ in windows}
            parts = [self.shards.batch(held[n], index, self.seed, epoch) for n, index in windows]
            yield {
                name: torch.from_numpy(np.ascontiguousarray(np.concatenate([part[name] for part in parts])))
                for name in parts[0]
            }


def _with_error_last(batches: Iterator[Batch]) -> Iterator[Batch | ValueError]:
    """The batches, and a complaint about the data as the last item: raised, `DataLoader` would bury its sentence."""
    try:
        yield from batches
    except ValueError as error:
        error.add_note(f"In a process that reads ahead:\n{traceback.format_exc()}")
        yield error
