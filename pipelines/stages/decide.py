"""Which pictures are copies of a reference: by threshold, by a person's word, or because the files are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.vectors.duplicates import ReferenceSet, SearchResult
from schemas.embeddings import similarity
from schemas.matches import DecidedBy, Decisions


@dataclass(frozen=True)
class EmbeddedPictures:
    """N pictures that are compared with references."""

    keys: Sequence[str]
    """[N]"""
    sha256s: Sequence[str | None]
    """[N] of their bytes as fetched, in hex; None where it is not known."""
    vectors: np.ndarray
    """[N, D] float32 of unit length."""


@dataclass(frozen=True)
class Copy:
    """A picture that is a copy of a reference."""

    row: int
    """The picture's, from 0."""
    reference: int
    """Its number in the set, from 0."""
    similarity: float
    """Cosine, -1 to 1: the best of the reference's views."""
    decided_by: DecidedBy


def decide(
    result: SearchResult, references: ReferenceSet, pictures: EmbeddedPictures, decisions: Decisions
) -> list[Copy]:
    """All pairs that count as copies, by picture, then from most to least alike.

    A person's decision on a pair counts above all; the same bytes are a copy whatever the vectors say.

    Args:
        result: what the search gave for pictures and references, with a floor at or below the threshold.
        references: a reference set.
        pictures: the pictures.
        decisions: a person's, about any pictures and sets.

    Raises:
        ValueError: if a decision names a reference that the set does not have.
    """
    pairs = zip(result.rows.tolist(), result.references.tolist(), result.similarities.tolist(), strict=True)
    copies = {
        (row, reference): Copy(row, reference, cosine, DecidedBy.THRESHOLD)
        for row, reference, cosine in pairs
        if cosine >= references.threshold
    }
    for pair in _same_bytes(pictures, references):
        copies[pair] = Copy(*pair, _similarity_of(pair, pictures, references), DecidedBy.EXACT)
    for pair, decision in _decided(decisions, pictures, references):
        if decision == "different":
            copies.pop(pair, None)
        else:
            copies[pair] = Copy(*pair, _similarity_of(pair, pictures, references), DecidedBy.PERSON)
    return sorted(copies.values(), key=lambda copy: (copy.row, -copy.similarity, copy.reference))


def _same_bytes(pictures: EmbeddedPictures, references: ReferenceSet) -> Iterator[tuple[int, int]]:
    """Picture and reference of each pair with one sha256."""
    by_bytes: dict[str, list[int]] = {}
    for number, sha256 in enumerate(references.sha256s):
        if sha256:  # of vectors that were made before this run it may be unknown
            by_bytes.setdefault(sha256, []).append(number)
    for row, own_sha256 in enumerate(pictures.sha256s):
        for reference in by_bytes.get(own_sha256 or "", ()):
            yield row, reference


def _decided(
    decisions: Decisions, pictures: EmbeddedPictures, references: ReferenceSet
) -> Iterator[tuple[tuple[int, int], str]]:
    """Picture and reference of each pair of these that a person decided on, and the decision."""
    rows = {key: row for row, key in enumerate(pictures.keys)}
    numbers = {reference: number for number, reference in enumerate(references.ids)}
    for (name, key, reference), decision in decisions.pairs.items():
        if name != references.name or key not in rows:
            continue
        if reference not in numbers:
            raise ValueError(f"decisions: the reference set {name} has no '{reference}'; review its pairs again")
        yield (rows[key], numbers[reference]), decision


def _similarity_of(pair: tuple[int, int], pictures: EmbeddedPictures, references: ReferenceSet) -> float:
    row, reference = pair
    views = references.vectors[reference]
    return float(similarity(pictures.vectors[[row] * len(views)], views).max())
