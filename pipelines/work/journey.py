"""What becomes of rows of a list: refused by caption, or fetched, decoded, judged by shape and made to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Self

from dalle.sandbox import WorkersDie
from pipelines.fetching.entities import without_entities
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
from schemas.pairs import SUCCESS
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
        begun = {record.index: dict(record.columns) for record in wanted if "&" in record.url}
        again: dict[int, _Again] = {}
        with Decoding[Fate](self.pictures, self.limits) as decoding:
            for fate in self._asked(records, self._locations(wanted), decoding, spool):
                record = fate.record
                other = None if self.is_local else without_entities(record.url, record.columns["reason"])
                if other is None:
                    yield fate
                else:
                    again[record.index] = _Again(
                        other, fate, record.columns["error_message"] or record.columns["reason"]
                    )
                    record.columns = begun[record.index]
            links = [(index, asked.url) for index, asked in again.items()]
            for fate in self._asked(records, links, decoding, spool):
                yield again[fate.record.index].ended(fate)

    @property
    def is_local(self) -> bool:
        """Whether pictures are files, and no links."""
        return self.local_folder is not None

    def _asked(
        self, records: list[Record], locations: list[tuple[int, str]], decoding: Decoding[Fate], spool: IO[bytes]
    ) -> Iterator[Fate]:
        """What becomes of rows whose pictures are asked for at these locations, given by the row's index."""
        if not locations:
            return
        for index, data, problem, seconds in self._pictures(locations):
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

    def _locations(self, wanted: list[Record]) -> list[tuple[int, str]]:
        return [(r.index, (r.location or "") if self.is_local else r.url) for r in wanted]

    def _pictures(self, locations: list[tuple[int, str]]) -> Iterator[tuple[int, bytes, NotKept | None, float]]:
        if self.local_folder is not None:
            opened = open_local(locations, self.local_folder, self.fetching.max_bytes)
            return ((*picture, 0.0) for picture in opened)
        if self.fetching.downloader == "img2dataset":
            return ((*picture, 0.0) for picture in fetch_img2dataset(locations, self.fetching))
        return ((f.index, f.data, f.problem, f.seconds) for f in fetch(locations, self.fetching))


@dataclass(frozen=True)
class _Again:
    """A link that is asked for once more, without the entities of HTML that it has in the list."""

    url: str
    before: Fate
    """As given."""
    message: str
    """Why it was not kept as given."""

    def ended(self, fate: Fate) -> Fate:
        """Of both requests together; the ledger says which address was asked for in the end, and why."""
        columns = fate.record.columns
        what = "" if columns["status"] == SUCCESS else f"{columns['error_message'] or columns['reason']}; "
        columns["error_message"] = f"{what}asked for as {self.url}, after as given: {self.message}"
        return replace(
            fate,
            fetched=fate.fetched + self.before.fetched,
            in_flight=fate.in_flight + self.before.in_flight,
            decoding=fate.decoding + self.before.decoding,
        )


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
