"""A unit of a job: the rows of one shard, which one worker does wholly or not at all."""

from __future__ import annotations

from dataclasses import dataclass

PLAN = "_plan"
"""Sub-folder of the output folder where the slices of a list lie while the job runs, one for each unit."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The rows of one shard: what Beam plans, spreads and counts."""

    shard: str
    """The shard's number, in digits."""
    rows: int
    source: str = ""
    """Where its rows are: a file of the output folder's plan, or a shard of the input dataset."""
    reads: str = ""
    """Fingerprint of the files of the input dataset's shard, as its manifest had them when the job began."""
    fingerprint: str = ""
    """Of its rows, the options that change bytes and the libraries that make them."""
