"""What a dataset is made from: inputs, options and library versions; from it follow its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.running.unit import Unit
from schemas.manifest import fingerprint


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a dataset is made from: everything that decides its bytes."""

    job: str
    table: str
    inputs: Sequence[Mapping[str, Any]]
    """Name and sha256 of each input."""
    cut: Mapping[str, Any]
    """How the inputs are read and cut into units."""
    options: Mapping[str, Any]
    """Of the work on a unit."""
    versions: Mapping[str, str]
    """Of the libraries that make the bytes."""
    lineage: Sequence[Mapping[str, Any]] = ()
    """Of the dataset it is made from, and that dataset."""
    rooms: Sequence[str] = ()
    """Sub-folders that the job fills beside its shards; they go with the shards when it starts anew."""
    left_out: Sequence[str] = ()
    """Options that have their defaults, of which nothing says so."""
    files: Sequence[str] = ()
    """Files that the job leaves beside its shards; without one of them the dataset is not whole."""

    @property
    def all_options(self) -> dict[str, Any]:
        """Those of the cut and those of the work, as the manifest has them."""
        return {**self.cut, **self.options}

    @property
    def identity(self) -> str:
        """Of the inputs and how they are cut: units of two recipes with the same one hold the same rows."""
        return fingerprint({"inputs": [i["sha256"] for i in self.inputs], "cut": self.cut})

    def units(self, units: Sequence[Unit], hashes: Sequence[str]) -> tuple[Unit, ...]:
        """The units with their fingerprints."""
        return tuple(
            replace(
                unit,
                fingerprint=fingerprint([self.job, unit.shard, rows, self.cut, self.options, self.versions]),
            )
            for unit, rows in zip(units, hashes, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """As an unfinished folder keeps it."""
        return {
            "job": self.job,
            "inputs": [dict(i) for i in self.inputs],
            "options": self.all_options,
        }


def merged_versions(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Versions of a dataset that was made in more than one go: all there were, in order."""
    merged = dict(new)
    for name, version in old.items():
        if version != new.get(name, version):
            merged[name] = f"{version}, {new[name]}"
    return merged
