"""All reference sets of a run: found where they lie, embedded or taken over, and those of earlier runs forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dalle.detectors import Embedder
from pipelines.copies.comparing import FINDINGS, REFERENCES, nearest_name
from pipelines.copies.embedding import EmbedReferences, reference_units, take_over, write_references
from pipelines.copies.references import Reference, ReferenceArgument, find_references, sha256_of
from pipelines.copies.stored_vectors import StoredVectors, find_stored_vectors
from pipelines.running.do_units import DoesUnits, Step
from schemas.folder import Folder
from schemas.manifest import fingerprint, marker_name


@dataclass(frozen=True)
class ReferenceSetOnDisk:
    """Pictures, or vectors of them that an earlier run left."""

    name: str
    content: Sequence[Reference] | StoredVectors
    sums: Sequence[str]
    """sha256 of each picture or file."""

    @property
    def fingerprint(self) -> str:
        """Changes when a picture does."""
        return fingerprint(list(self.sums))

    @property
    def pictures(self) -> Sequence[Reference]:
        """For who wants to look at them; none of earlier embeddings."""
        return () if isinstance(self.content, StoredVectors) else self.content

    def ids(self) -> list[str]:
        """What its references are called."""
        if isinstance(self.content, StoredVectors):
            return self.content.ids()
        return [reference.id for reference in self.content]


def find_sets(arguments: Sequence[str]) -> list[ReferenceSetOnDisk]:
    """The sets of `--reference`, in its order.

    Raises:
        ValueError: if a set holds nothing.
        OSError: if one cannot be read.
    """
    sets = []
    for one in map(ReferenceArgument.parse, arguments):
        stored = find_stored_vectors(one.path) if "," not in one.path else None
        if stored is not None:
            sets.append(ReferenceSetOnDisk(one.name, stored, stored.sums()))
        else:
            pictures = find_references(one)
            sets.append(ReferenceSetOnDisk(one.name, pictures, [sha256_of(picture) for picture in pictures]))
    return sets


def embed_sets(
    folder: Folder, sets: Sequence[ReferenceSetOnDisk], embedder: Embedder, name: str, do: DoesUnits
) -> None:
    """Leave each set's vectors in the clean dataset's folder; what is embedded already is not embedded again.

    Args:
        folder: of the clean dataset.
        sets: to embed.
        embedder: the detector.
        name: what workers load it by.
        do: does units.
    """
    _forget(folder, [one.name for one in sets])
    for one in sets:
        vectors = folder.inside(f"{REFERENCES}/{one.name}")
        vectors.make()
        vectors.sweep()
        if isinstance(one.content, StoredVectors):
            take_over(vectors, one.content, embedder)
            _keep_vectors(vectors, ["00000"])
            continue
        units = reference_units(one.sums, embedder)
        _keep_vectors(vectors, [unit.shard for unit in units])
        work = EmbedReferences(references=tuple(one.content), detector=name, fingerprint=embedder.fingerprint)
        do(vectors, units, Step(work=work, title=f"embed the references {one.name}"))
        write_references(vectors, one.content, one.sums, embedder)


def _keep_vectors(folder: Folder, shards: Sequence[str]) -> None:
    """Of an earlier run, which may have had more references, only these."""
    for file in folder.names():
        shard = file.removeprefix("img_emb_").removesuffix(".npy")
        if file.endswith(".npy") and shard not in shards:
            folder.remove(marker_name(shard))
            folder.remove(file)


def _forget(folder: Folder, names: Sequence[str]) -> None:
    """What an earlier run into the same folder left of sets that are not asked for any more."""
    for name in folder.folders(REFERENCES):
        if name in names:
            continue
        folder.remove(f"dedup/overlap-{name}.txt")
        start = nearest_name(name, "")[: -len(".npy")]
        for file in folder.names(FINDINGS):
            if file.startswith(start) and file[len(start) : -len(".npy")].isdigit():
                folder.remove(f"{FINDINGS}/{file}")
        folder.remove_tree(f"{REFERENCES}/{name}")
