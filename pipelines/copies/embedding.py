"""Embed units: a shard of pairs, or some hundred references, to a file of vectors. Done once for a detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dalle.detectors import Embedder, load_detector
from dalle.training.one_thread import one_thread
from pipelines.copies.references import Reference
from pipelines.copies.stored_vectors import TABLE, StoredVectors
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from pipelines.stages.embed import embed
from pipelines.vectors.duplicates import ReferenceSet
from schemas.embeddings import DETECTOR_FILE, embeddings_name, read_vectors, write_vectors
from schemas.folder import Folder, Staging
from schemas.manifest import Counts, fingerprint, versions
from schemas.opening import check_unchanged
from schemas.pair_shards import read_pictures
from schemas.shards import read_parquet, shard_digits, shard_name, write_parquet

REFERENCES_AT_ONCE = 500
"""References whose vectors are one file."""
MAKE_VECTORS = ("numpy", "opencv-python-headless", "pillow", "pillow-heif", "simplejpeg", "torch")
"""The libraries on which vectors depend, beside the detector."""
REFERENCE_TABLE = pa.schema([("id", pa.string()), ("sha256", pa.string()), ("caption", pa.string())])
_NOTE_EVERY = 8


_kept: dict[str, Embedder] = {}
"""The one that was loaded last, by its fingerprint."""


def open_detector(name: str) -> Embedder:
    """Load a detector, and keep it for the units that are done in this process."""
    with one_thread():
        embedder = load_detector(name)
    _kept.clear()
    _kept[embedder.fingerprint] = embedder
    return embedder


def detector(name: str, fingerprint: str) -> Embedder:
    """The detector of this name that the driver saw, kept from unit to unit.

    Raises:
        ValueError: if it is another one here.
    """
    embedder = _kept.get(fingerprint) or open_detector(name)
    if embedder.fingerprint != fingerprint:
        raise ValueError(f"--detector {name}: is another one here than where the job was started")
    return embedder


@dataclass(frozen=True, kw_only=True)
class EmbedPairs:
    """The vectors of the pictures that a shard of pairs keeps."""

    pairs: Folder
    detector: str
    fingerprint: str
    """Of the detector that the driver saw."""

    def prepare(self) -> None:
        """Load the detector."""
        detector(self.detector, self.fingerprint)

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the shard's file of vectors."""
        pictures = read_pictures(self.pairs, unit.shard)
        named = ((f"{self.pairs.path(unit.shard)}, sample {key}", data) for key, _, data in pictures)
        with one_thread():
            vectors = embed(detector(self.detector, self.fingerprint), _noted(named, note))
        check_unchanged(self.pairs, unit.shard, unit.reads)
        return _write(staging, unit, vectors[:, 0])


@dataclass(frozen=True, kw_only=True)
class EmbedReferences:
    """The vectors of some references, as many for each as the detector has views."""

    references: Sequence[Reference]
    detector: str
    fingerprint: str
    """Of the detector that the driver saw."""

    def prepare(self) -> None:
        """Load the detector."""
        detector(self.detector, self.fingerprint)

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the unit's file of vectors."""
        first = int(unit.shard) * REFERENCES_AT_ONCE
        references = self.references[first : first + REFERENCES_AT_ONCE]
        chosen = detector(self.detector, self.fingerprint)
        named = ((f"reference {reference.file}", reference.read()) for reference in references)
        with one_thread():
            vectors = embed(chosen, _noted(named, note), chosen.views, foreign=True)
        return _write(staging, unit, vectors)


def reference_units(sha256s: Sequence[str], embedder: Embedder) -> list[Unit]:
    """How references are cut into units; their fingerprint is of the pictures' bytes and the detector."""
    starts = range(0, len(sha256s), REFERENCES_AT_ONCE)
    digits = shard_digits(len(starts))
    return [
        Unit(
            shard=shard_name(number, digits),
            rows=len(part := sha256s[start : start + REFERENCES_AT_ONCE]),
            fingerprint=fingerprint([embedder.fingerprint, list(embedder.views), list(part), versions(*MAKE_VECTORS)]),
        )
        for number, start in enumerate(starts)
    ]


def write_references(
    folder: Folder, references: Sequence[Reference], sha256s: Sequence[str], embedder: Embedder
) -> None:
    """Say beside the vectors whose they are, and whose work."""
    _write_table(folder, [[r.id for r in references], list(sha256s), [r.caption for r in references]])
    say_detector(folder, embedder)


def take_over(folder: Folder, stored: StoredVectors, embedder: Embedder) -> None:
    """Put vectors that were made earlier where references' own would be.

    Raises:
        ValueError: if they are another detector's, or damaged.
    """
    ids, sha256s, captions, vectors = stored.load(embedder)
    with Staging(folder) as staging:
        with staging.file(embeddings_name(shard_name(0))) as file:
            write_vectors(file, vectors, stored.where)
        staging.publish()
    _write_table(folder, [ids, sha256s, captions])
    say_detector(folder, embedder)


def say_detector(folder: Folder, embedder: Embedder) -> None:
    """Beside vectors, for who wants to use them later."""
    folder.write_json(DETECTOR_FILE, {"detector": embedder.fingerprint})


def _write_table(folder: Folder, columns: Sequence[Sequence[str]]) -> None:
    arrays = [pa.array(column, pa.string()) for column in columns]
    with Staging(folder) as staging:
        with staging.file(TABLE) as file:
            write_parquet(file, [pa.Table.from_arrays(arrays, schema=REFERENCE_TABLE)], REFERENCE_TABLE)
        staging.publish()


def read_references(folder: Folder, name: str, threshold: float) -> ReferenceSet:
    """A reference set that was embedded.

    Raises:
        ValueError: if a file of it is damaged.
    """
    table = read_parquet(folder, TABLE)
    files = sorted(file for file in folder.names() if file.startswith("img_emb_") and file.endswith(".npy"))
    parts = [read_vectors(folder, file) for file in files]
    if len({part.shape[1:] for part in parts}) != 1 or parts[0].ndim != 3:
        raise ValueError(f"{folder}: its files of vectors are missing or do not belong together; embed them again")
    vectors = np.concatenate(parts)
    if len(vectors) != table.num_rows:
        raise ValueError(f"{folder}: has {len(vectors)} vectors for {table.num_rows} references; embed them again")
    return ReferenceSet(name, tuple(table["id"].to_pylist()), tuple(table["sha256"].to_pylist()), vectors, threshold)


def read_reference_captions(folder: Folder) -> dict[str, str]:
    """The captions of a reference set that was embedded, by id; empty where there is none."""
    table = read_parquet(folder, TABLE, ["id", "caption"])
    return dict(zip(table["id"].to_pylist(), table["caption"].to_pylist(), strict=True))


def _noted(pictures: Iterator[tuple[str, bytes]], note: Note) -> Iterator[tuple[str, bytes]]:
    for number, picture in enumerate(pictures):
        if number % _NOTE_EVERY == 0:
            note(Counts.all_kept(number))
        yield picture


def _write(staging: Staging, unit: Unit, vectors: np.ndarray) -> Done:
    with staging.file(embeddings_name(unit.shard)) as file:
        write_vectors(file, vectors, f"unit {unit.shard}")
    return Done(Counts.all_kept(len(vectors)))
