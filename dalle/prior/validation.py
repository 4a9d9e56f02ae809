"""Which examples are held out of a prior's training to validate it on (`dalle.reading.holding_out`).

They are read with the tokens that the dataset holds, so that every evaluation sees the same ones.
"""

from __future__ import annotations

from dataclasses import replace

from dalle.reading.example_shards import ExampleShards
from dalle.reading.holding_out import Split, hold_out
from dalle.training.ranks import Ranks


def split(shards: ExampleShards, share: float, ranks: Ranks) -> Split[ExampleShards]:
    """Hold out a share of the examples, at least 64, at most a quarter; arguments and errors of `hold_out`."""
    parts = hold_out(shards, share, ranks)
    return replace(parts, validation=parts.validation.without_dropout()) if parts.validation else parts
