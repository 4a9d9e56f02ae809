"""Batches for a training, from the shards that the pipelines left.

    batches = Batches(ExampleShards("examples", vocabulary=..., dvae=...), batch_size=256, seed=0)
    for batch in batches:                                # one epoch; the next `for` is the next epoch
        batch["text_tokens"], batch["image_codes"]       # [B, 256] and [B, 1024] int64
    state = batches.state_dict()                         # at any moment: what was consumed, not what was prefetched

What stands where follows from the dataset, the seed and the epoch alone: not from the batch size, nor from how many
processes (ranks) train or how many workers read. So no example comes twice in an epoch, every rank has as many batches
as the others, and a training goes on in mid-epoch with another number of ranks exactly where it was. What is left over
at an epoch's end is less than one batch of all ranks, and is said. Every rank decodes the windows that its share lies
in, which are all; examples are small and decoding is some hundred times faster than training on them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from dalle.reading.epoch_order import EpochOrder, Piece

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


class Shards(Protocol):
    """Where examples come from: `ExampleShards`, `PairShards`."""

    fingerprint: str

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard."""

    def load(self, pieces: Sequence[Piece]) -> Any:
        """The examples of some pieces."""
        ...

    def batch(self, rows: Any, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """Arrays of the examples at some indices of what `load` gave."""
        ...


class Batches:
    """Batches of a dataset, an epoch for each `for`.

    Args:
        shards: the dataset.
        batch_size: examples of a batch, of all ranks together.
        seed: of the order, and of what is drawn of each example.
        window: examples that are shuffled together and held in memory.
        rank, ranks: this process among those that train together; its share of each batch is `batch_size / ranks`.
        workers: processes that read ahead; 0 reads in this one.

    Raises:
        ValueError: if the batch cannot be shared out, or the dataset does not fill one.
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
    ) -> None:
        total = sum(shards.counts)
        if batch_size < 1 or batch_size % ranks or not 0 <= rank < ranks or window < 1 or seed < 0 or workers < 0:
            raise ValueError(
                f"batch_size {batch_size}, rank {rank} of {ranks}, window {window}, seed {seed}, workers {workers}: "
                "expected a batch that is shared out equally, and nothing negative"
            )
        if total < batch_size:
            raise ValueError(f"the dataset has {total} examples, expected at least the {batch_size} of one batch")
        self._shards, self._workers, self._total = shards, workers, total
        self._order = (batch_size, seed, window)
        self._share = (rank, ranks)
        self._epoch = self._consumed = 0
        if rank == 0:
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

    def __iter__(self) -> Iterator[Batch]:
        """What is left of this epoch."""
        size, seed, window = self._order
        reading = Reading(self._shards, size, seed, window, self._epoch, self._consumed, *self._share)
        loader: Any = reading
        if self._workers:
            loader = DataLoader(
                reading, batch_size=None, num_workers=self._workers, multiprocessing_context="spawn", prefetch_factor=4
            )
        for batch in loader:
            self._consumed += size
            yield batch
        self._epoch, self._consumed = self._epoch + 1, 0

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
            ValueError: if it was a reading of another dataset or in another order.
        """
        _, seed, window = self._order
        for name, mine in (("data", self._shards.fingerprint), ("seed", seed), ("window", window)):
            if state[name] != mine:
                raise ValueError(
                    f"the state is of a reading with {name} {state[name]}, expected {mine}; give what the training "
                    "began with, or begin anew"
                )
        self._epoch, self._consumed = int(state["epoch"]), int(state["consumed"])


@dataclass
class Reading(IterableDataset[Batch]):
    """A rank's share of what is left of an epoch; a worker of `DataLoader` takes every so manieth batch of it."""

    shards: Shards
    batch_size: int
    seed: int
    window: int
    epoch: int
    consumed: int
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[Batch]:
        info = torch.utils.data.get_worker_info()
        return self.batches(info.id, info.num_workers) if info else self.batches(0, 1)

    def batches(self, worker: int, workers: int) -> Iterator[Batch]:
        """The batches of one worker, in order."""
        order = EpochOrder(self.shards.counts, self.window, self.seed, self.epoch)
        held: dict[int, Any] = {}
        share = self.batch_size // self.ranks
        whole = (order.total - self.consumed) // self.batch_size
        for number in range(worker, whole, workers):
            first = self.consumed + number * self.batch_size + self.rank * share
            places = order.windows(first, first + share)
            held = {n: held[n] if n in held else self.shards.load(order.pieces(n)) for n, _ in places}
            parts = [self.shards.batch(held[n], index, self.seed, self.epoch) for n, index in places]
            yield {
                name: torch.from_numpy(np.ascontiguousarray(np.concatenate([part[name] for part in parts])))
                for name in parts[0]
            }
