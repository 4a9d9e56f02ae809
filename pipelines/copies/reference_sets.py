"""All reference sets of a run: found where they lie, embedded or taken over, and those of earlier runs forgotten."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dalle.detectors import Embedder
from pipelines.copies.comparing import FINDINGS, REFERENCES, nearest_name
from pipelines.copies.earlier import Earlier, earlier_embeddings
from pipelines.copies.embedding import EmbedReferences, reference_units, take_over, write_references
from pipelines.copies.references import Given, Reference, find_references, sha256_of
from pipelines.lists.slices import Unit
from pipelines.running.units import DoUnits
from schemas.folder import Folder
from schemas.manifest import fingerprint, marker_name

DoAll = Callable[[Folder, Sequence[Unit], DoUnits, str], None]


@dataclass(frozen=True)
class ReferenceSetOnDisk:
    """Pictures, or what is known of them since earlier."""

    name: str
    found: Sequence[Reference] | Earlier
    sums: Sequence[str]
    """sha256 of each picture or file."""

    @property
    def fingerprint(self) -> str:
        """Changes when a picture does."""
        return fingerprint(list(self.sums))

    @property
    def pictures(self) -> Sequence[Reference]:
        """For who wants to look at them; none of earlier embeddings."""
        return () if isinstance(self.found, Earlier) else self.found


def find_sets(given: Sequence[str]) -> list[ReferenceSetOnDisk]:
    """The sets of `--reference`, in its order.

    Raises:
        ValueError: if a set holds nothing.
        OSError: if one cannot be read.
    """
    found = []
    for one in map(Given.parse, given):
        earlier = earlier_embeddings(one.path) if "," not in one.path else None
        if earlier is not None:
            found.append(ReferenceSetOnDisk(one.name, earlier, earlier.sums()))
        else:
            pictures = find_references(one)
            found.append(ReferenceSetOnDisk(one.name, pictures, [sha256_of(picture) for picture in pictures]))
    return found


def embed_sets(folder: Folder, sets: Sequence[ReferenceSetOnDisk], embedder: Embedder, name: str, do: DoAll) -> None:
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
        place = Folder(f"{folder}/{REFERENCES}/{one.name}")
        place.make()
        place.sweep()
        if isinstance(one.found, Earlier):
            take_over(place, one.found, embedder)
            _keep_vectors(place, ["00000"])
            continue
        units = reference_units(one.sums, embedder)
        _keep_vectors(place, [unit.shard for unit in units])
        work = EmbedReferences(references=tuple(one.found), detector=name)
        do(place, units, DoUnits(work, place), f"embed the references {one.name}")
        write_references(place, one.found, one.sums, embedder)


def _keep_vectors(place: Folder, shards: Sequence[str]) -> None:
    """Of an earlier run, which may have had more references, only these."""
    for file in place.names():
        shard = file.removeprefix("img_emb_").removesuffix(".npy")
        if file.endswith(".npy") and shard not in shards:
            place.remove(marker_name(shard))
            place.remove(file)


def _forget(folder: Folder, names: Sequence[str]) -> None:
    """What an earlier run into the same folder left of sets that are not asked for any more."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.fs.ls(folder.path(REFERENCES), detail=False):
            name = posixpath.basename(str(path).rstrip("/"))
            if name in names:
                continue
            folder.remove(f"dedup/overlap-{name}.txt")
            start = nearest_name(name, "")[: -len(".npy")]
            for file in folder.names(FINDINGS):
                if file.startswith(start) and file[len(start) : -len(".npy")].isdigit():
                    folder.remove(f"{FINDINGS}/{file}")
            folder.remove_tree(f"{REFERENCES}/{name}")
