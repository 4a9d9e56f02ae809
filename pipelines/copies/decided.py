"""A person's decisions against the dataset and the reference sets that they are about: none is passed over in silence.

A decision that names a picture or a reference that is not there is an error, for then it is about other data. One that
is about a set that this run does not look at, or about a picture that was not kept, is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.copies.reference_sets import ReferenceSetOnDisk
from pipelines.copies.within.numbering import Numbering
from schemas.folder import Folder
from schemas.matches import WITHIN_SET, Decisions
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet

_REVIEW = "review its pairs again"


def check_decisions(
    decisions: Decisions,
    sets: Sequence[ReferenceSetOnDisk],
    pairs: Folder,
    manifest: Mapping[str, Any],
    *,
    within: bool,
) -> list[str]:
    """Look up whatever decisions name.

    Args:
        decisions: a person's.
        sets: the reference sets of the run.
        pairs: the dataset.
        manifest: its manifest.
        within: whether copies inside the dataset are looked for.

    Returns:
        a sentence for each kind of decision that is not applied.

    Raises:
        ValueError: if a picture or a reference is not there.
    """
    here = {one.name for one in sets} | ({WITHIN_SET} if within else set())
    keys = {key for name, key, _ in decisions.pairs if name in here}
    keys |= {other for name, _, other in decisions.pairs if name == WITHIN_SET and within}
    kept = _kept(keys, pairs, manifest)
    for one in sets:
        named = {reference for name, _, reference in decisions.pairs if name == one.name}
        if missing := sorted(named - set(one.ids())) if named else []:
            raise ValueError(f"decisions: the reference set {one.name} has no '{missing[0]}'{_and(missing)}; {_REVIEW}")
    return [*_of_other_sets(decisions, here), *_of_no_picture(decisions, here, kept)]


def _kept(keys: set[str], pairs: Folder, manifest: Mapping[str, Any]) -> set[str]:
    """Those of these pictures that the dataset keeps.

    Raises:
        ValueError: if it has no row of one.
    """
    digits = Numbering.of_manifest(manifest).digits
    shards = {shard["name"] for shard in manifest["shards"]}
    by_shard: dict[str, set[str]] = {}
    for key in keys:
        by_shard.setdefault(key[:-digits], set()).add(key)
    there: dict[str, str] = {}
    for shard in sorted(shards & by_shard.keys()):
        rows = read_parquet(pairs, f"{shard}.parquet", ["key", "status"]).to_pylist()
        there |= {row["key"]: row["status"] for row in rows if row["key"] in by_shard[shard]}
    if missing := sorted(keys - there.keys()):
        raise ValueError(f"decisions: the dataset has no picture '{missing[0]}'{_and(missing)}; {_REVIEW}")
    return {key for key, status in there.items() if status == SUCCESS}


def _of_other_sets(decisions: Decisions, here: set[str]) -> list[str]:
    counts = Counter(name for name, _, _ in decisions.pairs if name not in here)
    others = f"this run has {', '.join(sorted(here))}"
    return [
        f"decisions: {count:,} are about {_spell(name)}; {others}, and they are not applied"
        for name, count in sorted(counts.items())
    ]


def _of_no_picture(decisions: Decisions, here: set[str], kept: set[str]) -> list[str]:
    lost = [
        key
        for name, *pair in sorted(decisions.pairs)
        for key in (pair if name == WITHIN_SET else pair[:1])
        if name in here and key not in kept
    ]
    if not lost:
        return []
    return [f"decisions: {len(lost):,} are about pictures that the dataset does not keep, first '{lost[0]}'"]


def _spell(name: str) -> str:
    return "copies inside the dataset, for --within" if name == WITHIN_SET else f"the reference set '{name}'"


def _and(names: Sequence[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""
