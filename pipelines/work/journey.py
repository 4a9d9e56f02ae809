"""What becomes of rows of a list: refused by caption, or fetched, decoded, judged by shape and made to be stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Self

from pipelines.fetching.options import FetchOptions
from pipelines.stages.decode import PictureOptions, to_stored
from pipelines.stages.fetch import fetch
from pipelines.stages.fetch_img2dataset import fetch_img2dataset
from pipelines.stages.filter import Thresholds, image_problem, load_models
from pipelines.stages.open_local import open_local
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.record import Record
from schemas.reasons import NotKept


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

    def fates(self, records: list[Record], spool: IO[bytes]) -> Iterator[tuple[Record, int, float]]:
        """Every row once, when its fate is known, with the bytes and the seconds that its link took.

        Args:
            records: rows, of which those that are open are fetched.
            spool: where stored pictures are appended as they come.
        """
        yield from ((record, 0, 0.0) for record in records if not record.is_open)
        for index, data, problem, seconds in self._pictures([record for record in records if record.is_open]):
            record = records[index]
            problem = problem or self.hashes.mismatch(data, record.listed)
            if problem is None:
                record.columns |= self.hashes.computed(data)
                stored = to_stored(data, self.pictures, self._refuse)
                record.columns |= stored.columns
                problem = stored.problem
            if problem:
                record.give_up(problem)
            else:
                record.keep(stored.data, spool)
            yield record, len(data), seconds

    def _refuse(self, width: int, height: int) -> NotKept | None:
        return image_problem(width, height, self.limits)

    def _pictures(self, wanted: list[Record]) -> Iterator[tuple[int, bytes, NotKept | None, float]]:
        if self.local_folder is not None:
            paths = ((record.index, record.location or "") for record in wanted)
            opened = open_local(paths, self.local_folder, self.fetching.max_bytes)
            return ((*picture, 0.0) for picture in opened)
        links = ((record.index, record.url) for record in wanted)
        if self.fetching.downloader == "img2dataset":
            return ((*picture, 0.0) for picture in fetch_img2dataset(links, self.fetching))
        return ((f.index, f.data, f.problem, f.seconds) for f in fetch(links, self.fetching))
