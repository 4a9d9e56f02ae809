"""Which pictures are copies of a reference: by threshold, by a person's word, or because the files are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.vectors.duplicates import Found, ReferenceSet
from schemas.embeddings import similarity
from schemas.matches import Decisions

THRESHOLD, PERSON, EXACT = "threshold", "person", "exact"


@dataclass(frozen=True)
class Copy:
    """A picture that is a copy of a reference."""

    row: int
    reference: int
    similarity: float
    decided_by: str


def decide(
    found: Found,
    given: ReferenceSet,
    vectors: np.ndarray,
    keys: Sequence[str],
    sha256s: Sequence[str | None],
    decisions: Decisions,
) -> list[Copy]:
    """All pairs that count as copies, by picture, then from most to least alike.

    A person's word on a pair counts above all; the same bytes are a copy whatever the vectors say.

    Args:
        found: what the search gave, with a floor at or below the threshold.
        given: the reference set.
        vectors: [N, D] float32 of the pictures.
        keys: [N] of the pictures.
        sha256s: [N] of their bytes as fetched.
        decisions: a person's, about any pictures and sets.

    Raises:
        ValueError: if a decision names a reference that the set does not have.
    """
    copies: dict[tuple[int, int], Copy] = {}
    rows = {key: row for row, key in enumerate(keys)}
    references = {reference: number for number, reference in enumerate(given.ids)}
    for row, reference, value in zip(
        found.rows.tolist(), found.references.tolist(), found.similarities.tolist(), strict=True
    ):
        if value >= given.threshold:
            copies[row, reference] = Copy(row, reference, value, THRESHOLD)
    by_bytes: dict[str, list[int]] = {}
    for number, sha256 in enumerate(given.sha256s):
        if sha256:  # of earlier embeddings it may be unknown
            by_bytes.setdefault(sha256, []).append(number)
    for row, own in enumerate(sha256s):
        for reference in by_bytes.get(own or "", ()):
            copies[row, reference] = Copy(row, reference, _alike(vectors, given, row, reference), EXACT)
    for (name, key, wanted), decision in decisions.pairs.items():
        if name != given.name or key not in rows:
            continue
        if wanted not in references:
            raise ValueError(f"decisions: the reference set {name} has no '{wanted}'; review its pairs again")
        place = rows[key], references[wanted]
        if decision == "different":
            copies.pop(place, None)
        else:
            copies[place] = Copy(*place, _alike(vectors, given, *place), PERSON)
    return sorted(copies.values(), key=lambda copy: (copy.row, -copy.similarity, copy.reference))


def _alike(vectors: np.ndarray, given: ReferenceSet, row: int, reference: int) -> float:
    views = given.vectors[reference]
    return float(similarity(vectors[[row] * len(views)], views).max())
