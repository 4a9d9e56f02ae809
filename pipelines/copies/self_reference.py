"""A reference set that is the dataset itself, or what that was collected from: nearly all of it would be taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.copies.reference_sets import ReferenceSetOnDisk
from pipelines.copies.stored_vectors import StoredVectors
from schemas.folder import Folder
from schemas.pair_shards import read_ledger
from schemas.pairs import SUCCESS

_TOO_MANY = 0.5
"""Share of a dataset's pictures above which it is not believed that they are in a reference set, byte for byte."""
_SUMS = ("sha256", "stored_sha256")
"""A reference may be what was fetched, or what lies in the shard."""


def check_no_self_reference(sets: Sequence[ReferenceSetOnDisk], pairs: Folder, manifest: Mapping[str, Any]) -> None:
    """Check that no reference set has most of the dataset's pictures, byte for byte.

    Args:
        sets: of the run.
        pairs: the dataset that is to be cleaned.
        manifest: its own.

    Raises:
        ValueError: naming the set that has.
    """
    known = {one.name: pa.array(sorted(_sums(one)), pa.string()) for one in sets}
    same, kept = dict.fromkeys(known, 0), 0
    for shard in manifest["shards"]:
        ledger = read_ledger(pairs, shard["name"]).select([*_SUMS, "status"])
        ledger = ledger.filter(pc.equal(ledger["status"], SUCCESS))
        kept += ledger.num_rows
        for name, sums in known.items():
            is_there = [pc.fill_null(pc.is_in(ledger[column], sums), False) for column in _SUMS]
            same[name] += pc.sum(pc.or_(*is_there)).as_py() or 0
    for name, number in same.items():
        if number > _TOO_MANY * kept:
            raise ValueError(
                f"--reference {name}: {number:,} of the {kept:,} pictures of {pairs} are in it, byte for byte, so it "
                "seems to be what they were collected from; give pictures that are to be kept out of it, or say "
                "--allow_self_reference to take them out all the same"
            )


def _sums(one: ReferenceSetOnDisk) -> set[str]:
    """sha256 of each picture of a set, as far as it is known."""
    if isinstance(one.content, StoredVectors):
        return {sha256 for sha256 in one.content.picture_sums() if sha256}
    return set(one.sums)
