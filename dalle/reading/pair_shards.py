"""Shards of pairs as a reader wants them: pictures, decoded, each seen through a view if one is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dalle.pictures import images
from dalle.pictures.pixels import Pixels
from dalle.reading.epoch_order import Piece, draws
from dalle.reading.training_manifest import training_manifest
from schemas.folder import Folder
from schemas.manifest import Counts, fingerprint, lineage_from
from schemas.opening import check_unchanged
from schemas.pair_shards import read_pictures

View = Callable[[Pixels, np.random.Generator], Pixels]
"""What is made of a picture each time it is read; the generator is the example's own."""

_VIEW = 4


@dataclass(frozen=True)
class StoredPictures:
    """Some pairs' pictures as they are stored."""

    data: list[bytes]
    names: list[str]
    """Shard and sample, for complaints."""
    ids: np.ndarray
    """[pictures] int64: the number of each in the dataset."""


class PairShards:
    """The pictures of a dataset of pairs, for `dalle.reading.batches.Batches`: `images` [B, 3, H, W] uint8.

    Args:
        folder: a path or an fsspec URL; tars or Parquet.
        view: such as `functools.partial(dalle.pictures.augment.dvae_view, resolution=256)`; without one pictures are as
            stored and must all have one size.
        allow_undeduplicated: read a dataset that was never cleaned of near-duplicates.

    Raises:
        ValueError: if it is not a dataset of pairs, or never cleaned.
    """

    def __init__(self, folder: str, *, view: View | None = None, allow_undeduplicated: bool = False) -> None:
        self._folder, self._view = Folder(folder), view
        manifest = training_manifest(self._folder, "pairs", allow_undeduplicated=allow_undeduplicated)
        self.fingerprint, self.lineage = fingerprint(manifest), lineage_from(manifest)
        self._names = [shard["name"] for shard in manifest["shards"]]
        self.counts = [Counts.of_json(shard["counts"]).kept for shard in manifest["shards"]]
        self._reads = [fingerprint(shard["files"]) for shard in manifest["shards"]]
        self._first_ids = np.cumsum([0, *self.counts])

    def too_few(self, batch_size: int) -> str:
        """That the dataset does not fill a batch, for an error."""
        return (
            f"{self._folder}: has {sum(self.counts)} pictures, expected at least the {batch_size} of one batch; "
            "give more, or make --batch_size smaller"
        )

    def load(self, pieces: Sequence[Piece]) -> StoredPictures:
        """The stored pictures of some pieces, one after the other.

        Raises:
            ValueError: if a shard holds fewer than the manifest says, or the dataset was changed since this object was
                made.
        """
        data: list[bytes] = []
        names: list[str] = []
        ids: list[int] = []
        for piece in pieces:
            shard, before = self._names[piece.shard], len(data)
            try:
                for number, (key, _, picture) in enumerate(read_pictures(self._folder, shard)):
                    if number >= piece.end:
                        break
                    if number >= piece.first:
                        data.append(picture)
                        names.append(f"{self._folder.path(shard)}, sample {key}")
                        ids.append(int(self._first_ids[piece.shard]) + number)
            finally:  # a change is the cause of whatever else is wrong with it
                check_unchanged(self._folder, shard, self._reads[piece.shard])
            if len(data) - before != piece.end - piece.first:
                raise ValueError(
                    f"{self._folder.path(shard)}: has fewer pictures than the {self.counts[piece.shard]} that the "
                    "manifest says; run pipelines.audit"
                )
        return StoredPictures(data, names, np.array(ids, np.int64))

    def batch(self, examples: StoredPictures, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The pictures at some indices.

        Raises:
            ValueError: naming shard and sample, if one cannot be decoded or has another size than the first.
        """
        seeds = draws(seed, epoch, examples.ids[index], _VIEW)
        pictures: list[Pixels] = []
        for each, own_seed in zip(index.tolist(), seeds.tolist(), strict=True):
            try:
                pixels = images.decode(examples.data[each])
            except images.UndecodableImage as error:
                raise ValueError(f"{examples.names[each]}: its picture cannot be decoded ({error})") from None
            if self._view is not None:
                pixels = self._view(pixels, np.random.default_rng(own_seed))
            if pictures and pixels.shape != pictures[0].shape:
                raise ValueError(
                    f"{examples.names[each]}: its picture is {pixels.shape[1]} x {pixels.shape[0]}, the batch's first "
                    f"is {pictures[0].shape[1]} x {pictures[0].shape[0]}; give a view that makes them alike"
                )
            pictures.append(pixels)
        return {"images": np.stack(pictures).transpose(0, 3, 1, 2)}
