"""Shards of pairs as a reader wants them: pictures, decoded, each seen through a view if one is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dalle.pictures import images
from dalle.reading.epoch_order import Piece, draws
from dalle.reading.example_shards import training_manifest
from schemas.folder import Folder
from schemas.manifest import Counts, fingerprint
from schemas.pair_shards import read_pictures

View = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""What is made of a picture, [H, W, 3] uint8, each time it is read; the generator is the example's own."""

_VIEW = 4


@dataclass(frozen=True)
class Pictures:
    """Some pairs' pictures as they are stored."""

    data: list[bytes]
    names: list[str]
    """Shard and sample, for complaints."""
    ids: np.ndarray


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
        self.fingerprint = fingerprint(manifest)
        self._names = [shard["name"] for shard in manifest["shards"]]
        self.counts = [Counts.of_json(shard["counts"]).kept for shard in manifest["shards"]]
        self._first_ids = np.cumsum([0, *self.counts])

    def load(self, pieces: Sequence[Piece]) -> Pictures:
        """The stored pictures of some pieces, one after the other.

        Raises:
            ValueError: if a shard holds fewer than the manifest says.
        """
        data, names, ids = [], [], []
        for piece in pieces:
            shard, found = self._names[piece.shard], 0
            for row, (key, _, picture) in enumerate(read_pictures(self._folder, shard)):
                if row >= piece.end:
                    break
                if row >= piece.first:
                    data.append(picture)
                    names.append(f"{self._folder.path(shard)}, sample {key}")
                    ids.append(int(self._first_ids[piece.shard]) + row)
                    found += 1
            if found != piece.end - piece.first:
                raise ValueError(
                    f"{self._folder.path(shard)}: has fewer pictures than the {self.counts[piece.shard]} that the "
                    "manifest says; run pipelines.audit"
                )
        return Pictures(data, names, np.array(ids, np.int64))

    def batch(self, rows: Pictures, index: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The pictures at some indices.

        Raises:
            ValueError: naming shard and sample, if one cannot be decoded or has another size than the first.
        """
        seeds = draws(seed, epoch, rows.ids[index], _VIEW)
        found: list[np.ndarray] = []
        for each, own in zip(index.tolist(), seeds.tolist(), strict=True):
            try:
                pixels = images.decode(rows.data[each])
            except images.UndecodableImage as error:
                raise ValueError(f"{rows.names[each]}: its picture cannot be decoded ({error})") from None
            if self._view is not None:
                pixels = self._view(pixels, np.random.default_rng(own))
            if found and pixels.shape != found[0].shape:
                raise ValueError(
                    f"{rows.names[each]}: its picture is {pixels.shape[1]} x {pixels.shape[0]}, the batch's first is "
                    f"{found[0].shape[1]} x {found[0].shape[0]}; give a view that makes them alike"
                )
            found.append(pixels)
        return {"images": np.stack(found).transpose(0, 3, 1, 2)}
