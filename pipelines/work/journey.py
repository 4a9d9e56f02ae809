"""What becomes of rows of a list: refused by caption, or fetched, decoded, judged by shape and made to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Self

from dalle.sandbox import WorkersDie
from pipelines.fetching.options import FetchOptions
from pipelines.running.row_border import row_border
from pipelines.stages.decode import PictureOptions, Stored
from pipelines.stages.fetch import fetch
from pipelines.stages.fetch_img2dataset import fetch_img2dataset
from pipelines.stages.filter import Thresholds, load_models
from pipelines.stages.open_local import open_local
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.decoding import Decoding
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.record import Record
from schemas.reasons import NotKept


@dataclass(frozen=True)
class Fate:
    """Of a row, when it is known."""

    record: Record
    fetched: int = 0
    """Bytes."""
    in_flight: float = 0.0
    """Seconds that its link took."""
    decoding: float = 0.0
    """Seconds of the processor's time that its picture took in the decoding process."""


@dataclass(frozen=True, kw_only=True)
class Journey:
    """The same for every row of a list, whichever unit it is in."""

    limits: Thresholds
    """What captions and pictures are refused by."""
    pictures: PictureOptions
    fetching: FetchOptions
    hashes: HashOptions
    rows_per_shard: int
    local_folder: str | None = None
    """Where the pictures are, for lists of local ones."""

    @classmethod
    def of_options(cls, options: IngestOptions, local_folder: str | None = None) -> Self:
        """As the options of `pipelines.ingest` want it, with pictures from the web or from a local folder."""
        return cls(
            limits=options.filtering.thresholds(),
            pictures=options.pictures,
            fetching=options.fetching,
            hashes=options.hashes,
            rows_per_shard=options.rows_per_shard,
            local_folder=local_folder,
        )

    def prepare(self) -> None:
        """Load what tells languages."""
        load_models(self.limits)

    def fates(self, records: list[Record], spool: IO[bytes]) -> Iterator[Fate]:
        """Every row once, when its fate is known. While one is decoded the next ones are fetched.

        Args:
            records: rows, of which those that are open are fetched.
            spool: where stored pictures are appended as they come.

        Raises:
            OSError, MemoryError, RuntimeError: what the machine raised, with the row at which it did.
        """
        yield from (Fate(record) for record in records if not record.is_open)
        wanted = [record for record in records if record.is_open]
        if not wanted:
            return
        with Decoding[Fate](self.pictures, self.limits) as decoding:
            for index, data, problem, seconds in self._pictures(wanted):
                fate = Fate(records[index], len(data), seconds)
                self._look_at(fate.record, data, problem)
                if fate.record.is_open:
                    yield from _kept(decoding.push(fate, data), spool)
                else:
                    yield fate
            yield from _kept(decoding.flush(), spool)

    def _look_at(self, record: Record, data: bytes, problem: NotKept | None) -> None:
        """What can be said of a fetched row before its picture is decoded."""
        with row_border(record.name, "fetch", record.give_up):
            problem = problem or self.hashes.mismatch(data, record.listed)
            if problem:
                record.give_up(problem)
            else:
                record.columns |= self.hashes.computed(data)

    def _pictures(self, wanted: list[Record]) -> Iterator[tuple[int, bytes, NotKept | None, float]]:
        if self.local_folder is not None:
            paths = ((record.index, record.location or "") for record in wanted)
            opened = open_local(paths, self.local_folder, self.fetching.max_bytes)
            return ((*picture, 0.0) for picture in opened)
        links = ((record.index, record.url) for record in wanted)
        if self.fetching.downloader == "img2dataset":
            return ((*picture, 0.0) for picture in fetch_img2dataset(links, self.fetching))
        return ((f.index, f.data, f.problem, f.seconds) for f in fetch(links, self.fetching))


def _kept(decoded: Iterable[tuple[Fate, Stored, float]], spool: IO[bytes]) -> Iterator[Fate]:
    """Rows whose pictures were decoded, or not."""
    try:
        for fate, stored, seconds in decoded:
            with row_border(fate.record.name, "decode", fate.record.give_up):
                fate.record.columns |= stored.columns
                if stored.problem:
                    fate.record.give_up(stored.problem)
                else:
                    fate.record.keep(stored.data, spool)
            yield replace(fate, decoding=seconds)
    except WorkersDie as death:
        raise RuntimeError(f"at the row {death.token.record.name}: {death}") from death
