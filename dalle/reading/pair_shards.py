"""Shards of pairs as a reader wants them: pictures, decoded, each seen through a view if one is given."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dalle.pictures import images
from dalle.pictures.pixels import Pixels
from dalle.reading.epoch_order import Piece, draws
from dalle.reading.training_manifest import training_manifest
from schemas.folder import Folder
from schemas.manifest import Counts, fingerprint, lineage_from
from schemas.opening import check_unchanged
from schemas.pair_shards import read_pictures
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet

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
        self._sizes = self.counts
        self._first_ids = np.cumsum([0, *self.counts])
        self._rows: list[np.ndarray] | None = None
        """Of each shard those pictures that are read; None: all."""

    def only(self, rows: Sequence[np.ndarray]) -> PairShards:
        """Some of the pairs, as shards of their own.

        Args:
            rows: of each shard the numbers, among those that are read of it now, [n] int64, ascending.
        """
        part = copy.copy(self)
        before = self._rows
        part._rows = list(rows) if before is None else [old[new] for old, new in zip(before, rows, strict=True)]
        part.counts = [len(some) for some in part._rows]
        read = hashlib.sha256(b"".join(np.append(some, -1).astype("<i8").tobytes() for some in part._rows)).hexdigest()
        part.fingerprint = fingerprint([self.fingerprint, read])
        return part

    def seen_through(self, view: View) -> PairShards:
        """The same pairs through another view."""
        part = copy.copy(self)
        part._view = view
        return part

    def ledger(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """What the ledger says of the pairs of a shard that are read, a row for each.

        Raises:
            ValueError: if it has another number of pictures than the manifest says, or the dataset was changed since
                this object was made.
        """
        name = self._names[shard]
        with self._unchanged(shard):
            table = read_parquet(self._folder, f"{name}.parquet", ["status", *columns])
            table = table.filter(pc.equal(table["status"], SUCCESS)).drop_columns(["status"])
            if table.num_rows != self._sizes[shard]:
                raise ValueError(
                    f"{self._folder.path(name)}.parquet: has {table.num_rows} pictures, the manifest says "
                    f"{self._sizes[shard]}; run pipelines.audit"
                )
        return table if self._rows is None else table.take(pa.array(self._rows[shard]))

    def where(self, shard: int) -> str:
        """What a shard is called in complaints."""
        return self._folder.path(self._names[shard])

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
            wanted = self._wanted(piece)
            with self._unchanged(piece.shard):
                for number, (key, _, picture) in enumerate(read_pictures(self._folder, shard)):
                    if number >= wanted.stop:
                        break
                    if number in wanted:
                        data.append(picture)
                        names.append(f"{self._folder.path(shard)}, sample {key}")
                        ids.append(int(self._first_ids[piece.shard]) + number)
            if len(data) - before != piece.end - piece.first:
                raise ValueError(
                    f"{self._folder.path(shard)}: has fewer pictures than the {self._sizes[piece.shard]} that the "
                    "manifest says; run pipelines.audit"
                )
        return StoredPictures(data, names, np.array(ids, np.int64))

    def _wanted(self, piece: Piece) -> _Numbers:
        """Which pictures of the shard are meant, by their numbers in it."""
        if self._rows is None:
            return _Numbers(range(piece.first, piece.end), piece.end)
        rows = self._rows[piece.shard][piece.first : piece.end].tolist()
        return _Numbers(frozenset(rows), rows[-1] + 1 if rows else 0)

    @contextlib.contextmanager
    def _unchanged(self, shard: int) -> Iterator[None]:
        """While a shard is read: a change of it is the cause of whatever else is wrong with it."""
        try:
            yield
        finally:
            check_unchanged(self._folder, self._names[shard], self._reads[shard])

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


@dataclass(frozen=True)
class _Numbers:
    """Some whole numbers below `stop`."""

    numbers: range | frozenset[int]
    stop: int

    def __contains__(self, number: int) -> bool:
        return number in self.numbers
