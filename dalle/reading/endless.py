"""Epoch after epoch of a dataset, for a training that counts its steps.

    batches = Endless(Batches(shards, batch_size=512, seed=0, workers=2))
    for step, batch in enumerate(batches):
        batch["images"]                              # [B, 3, H, W] uint8
    state = batches.state_dict()                     # kept with the checkpoint of this step

A batch's names and arrays are those of its shards.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from dalle.reading.batches import Batch, Batches


class Endless:
    """The batches of a dataset, for ever.

    At an epoch's end the examples that fill no batch are left out and the next batch is the first of the next epoch,
    which has another order. Nothing else happens: processes that read ahead are not started anew and have read over
    the end before the training reaches it.

    Args:
        batches: of one epoch; read it through this object only.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Generator[Batch]:
        """From the first batch that was not taken yet; closing it ends the processes that read ahead."""
        return self._batches.for_ever()

    @property
    def epoch(self) -> int:
        """The epoch that the last batch was of, from 0."""
        return self._batches.epoch

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come: what it took, not what was read ahead."""
        return self._batches.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with any number of ranks and workers.

        Raises:
            ValueError: if it was a reading of another dataset or in another order.
        """
        self._batches.load_state_dict(state)
