"""What dedup found: which pictures look like which reference, which were taken out, and what a person decided."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import pyarrow as pa

from schemas.folder import Folder

Decision = Literal["copy", "different"]
Linkage = Literal["star", "single"]
"""How pictures inside a dataset are copies of one that stays. star: each of that one; single: of it or of another
copy."""


class DecidedBy(StrEnum):
    """What decided that a picture is a copy, in the words of the denylist."""

    THRESHOLD = "threshold"
    """Their similarity reaches the threshold."""
    PERSON = "person"
    """A person said so."""
    EXACT = "exact"
    """Their files have the same bytes."""


REASON = "copy-of-"
"""Before a reference set's name: the ledger's `reason` of a row that was removed because of it."""
WITHIN = {"exact-copy": "the same picture, byte for byte", "near-copy": "the same picture, edited"}
"""The ledger's `reason` of a row that was removed because of another row."""
WITHIN_SET = "within"
"""What stands for the reference set then."""


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    return pa.field(name, kind, metadata={"description": description} | ({"unit": unit} if unit else {}))


_KEY = _field("key", pa.string(), "the picture's key")
_SET = _field("reference_set", pa.string(), "name of the reference set")
_REFERENCE = _field("reference_id", pa.string(), "the reference: its file's name with extension")
_SIMILARITY = _field("similarity", pa.float32(), "cosine of their vectors, which is decided on", "-1 to 1")

MATCHES = pa.schema(
    [_KEY, _SET, _REFERENCE, _SIMILARITY, _field("rank", pa.int32(), "1 is the reference most like this picture")]
)
"""At most ten references of a set for a picture, above the floor."""

NEAREST = pa.schema([_SET, _REFERENCE, _KEY, _SIMILARITY])
"""For each reference the picture most like it, however little."""

DENYLIST = pa.schema(
    [
        _KEY,
        _field("uid", pa.string(), "of the pair, wherever it stands in a list", "32 hex digits"),
        _field("url", pa.string(), "where the picture was, as given"),
        _field("sha256", pa.string(), "of the bytes as fetched", "hex"),
        _SET,
        _REFERENCE,
        _SIMILARITY,
        _field("decided_by", pa.string(), " | ".join(DecidedBy)),
    ]
)
"""What was taken out; with `--within`, the set is `within` and the reference the key of the picture that was kept."""


EXACT_COPIES = pa.schema(
    [
        _KEY,
        _field("first_key", pa.string(), "key of the first picture of the dataset whose file has the same bytes"),
        _field("sha256", pa.string(), "of the bytes as fetched", "hex"),
    ]
)
"""Pictures that are in the dataset more than once, byte for byte; they are taken out with `--within`."""


def denied(
    row: Mapping[str, Any], reference_set: str, reference_id: str, similarity: float, decided_by: DecidedBy
) -> dict[str, Any]:
    """The denylist's entry of a row of the ledger."""
    return {
        **{column: row[column] for column in ("key", "uid", "url", "sha256")},
        "reference_set": reference_set,
        "reference_id": reference_id,
        "similarity": similarity,
        "decided_by": decided_by,
    }


@dataclass(frozen=True)
class Decisions:
    """What a person decided about single pairs: by (reference set, key, reference)."""

    pairs: Mapping[tuple[str, str, str], Decision]

    def of_shard(self, shard: str) -> Decisions:
        """Those about a shard's pictures."""
        return Decisions({pair: value for pair, value in self.pairs.items() if pair[1].startswith(shard)})

    def to_json(self, detector: str) -> dict[str, Any]:
        """As decisions.json has them."""
        return {
            "detector": detector,
            "pairs": [
                {"key": key, "reference_set": name, "reference_id": reference, "decision": decision}
                for (name, key, reference), decision in sorted(self.pairs.items())
            ],
        }


def read_decisions(folder: Folder, name: str, detector: str) -> Decisions:
    """A file of decisions, as the review page exports it.

    Raises:
        ValueError: if it is not one, or its scores were another detector's.
    """
    value, where = folder.read_json(name), folder.path(name)
    if not isinstance(value, dict) or not isinstance(value.get("pairs"), list):
        raise ValueError(f"{where}: expected an object with `detector` and `pairs`, as the review page exports it")
    if (decided_on := value.get("detector")) != detector:
        shown = decided_on if isinstance(decided_on, str) else reprlib.repr(decided_on)
        raise ValueError(f"{where}: was decided on pairs of the detector {shown}, now it is {detector}; review again")
    pairs: dict[tuple[str, str, str], Decision] = {}
    for number, pair in enumerate(value["pairs"]):
        try:
            names, decision = (pair["reference_set"], pair["key"], pair["reference_id"]), pair["decision"]
        except (KeyError, TypeError):
            raise ValueError(
                f"{where}, pair {number}: expected key, reference_set, reference_id and decision, found "
                f"{reprlib.repr(pair)}"
            ) from None
        if decision not in ("copy", "different") or not all(isinstance(part, str) for part in names):
            raise ValueError(
                f"{where}, pair {number}: decision is {reprlib.repr(decision)}, expected copy or different"
            )
        name, key, other = names
        before = {names, (name, other, key)} if name == WITHIN_SET else {names}  # of two pictures each is the other's
        if {pairs.get(pair, decision) for pair in before} != {decision} or (name == WITHIN_SET and key == other):
            raise ValueError(f"{where}, pair {number}: {key} and {other} are decided on twice, or are one picture")
        pairs[names] = decision
    return Decisions(pairs)
