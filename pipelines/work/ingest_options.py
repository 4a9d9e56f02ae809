"""All options of `pipelines.ingest`, each group declared beside what it is about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipelines.fetching.options import FetchOptions
from pipelines.lists import ListOptions
from pipelines.running.output import IncrementalMode
from pipelines.stages.decode import PictureOptions
from pipelines.stages.filter import FilterOptions
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.sample_web_options import SampleWebOptions
from schemas.options import no_change_of_bytes
from schemas.pair_shards import OutputFormat
from schemas.planning import SayOptions
from schemas.ranges import MOST_PROCESSES, Between, check_ranges

_ROWS_PER_SHARD = 10_000
_RANGES = {
    "number_sample_per_shard": Between(1, 10**9),  # a unit's rows are in memory together
    "oom_shard_count": Between(1, 12),
    "processes_count": Between(0, MOST_PROCESSES),
}


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """All options of the job."""

    source: ListOptions = field(default_factory=ListOptions)
    sample: SampleWebOptions = field(default_factory=SampleWebOptions)
    output_folder: str | None = no_change_of_bytes(default=None)
    """Where the dataset goes: a path or an fsspec URL."""
    output_format: OutputFormat = "webdataset"
    """webdataset: tars and a ledger; parquet: the pictures are a column of the ledger."""
    number_sample_per_shard: int | None = None
    """Rows of the list that make a shard, kept or not, 1 to 1,000,000,000; 10,000 by default, 100 for the sample
    web."""
    oom_shard_count: int = 5
    """Digits of a shard's number, at least: 1 to 12."""
    incremental_mode: IncrementalMode = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew; renew: start anew if the list has changed; extend: add
    another list; retry: ask again for what failed for a reason that may have passed."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine, 1 to 4,096; 0 is one for each core."""
    filtering: FilterOptions = field(default_factory=FilterOptions)
    pictures: PictureOptions = field(default_factory=PictureOptions)
    fetching: FetchOptions = field(default_factory=FetchOptions)
    hashes: HashOptions = field(default_factory=HashOptions)
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
        if self.output_folder == "":
            raise ValueError("--output_folder is empty; say where the dataset goes")
        self._check_together()

    def _check_together(self) -> None:
        if self.hashes.extra in self.source.save_additional_columns:
            raise ValueError(
                f"--compute_hash {self.hashes.extra}: makes a column that --save_additional_columns names as well; "
                "leave one of them out"
            )
        if self.incremental_mode == "retry" and self.not_saved:
            raise ValueError(
                f"--incremental_mode retry: the ledger does not have the column '{self.not_saved}' of --verify_hash; "
                "collect with it in --save_additional_columns to verify what is fetched again"
            )
        if self.say.plan and self.incremental_mode == "retry":
            raise ValueError("--plan: probes a list, and --incremental_mode retry reads none; leave one of them")

    @property
    def rows_per_shard(self) -> int:
        """Rows of the list that make a shard."""
        return _ROWS_PER_SHARD if self.number_sample_per_shard is None else self.number_sample_per_shard

    @property
    def not_saved(self) -> str | None:
        """A column of the list that is read and does not go into the ledger."""
        column = self.hashes.column
        return None if column in self.source.save_additional_columns else column

    @property
    def columns_read(self) -> ListOptions:
        """The list as it is read: with the column of sums, also where that is not kept."""
        if self.not_saved is None:
            return self.source
        columns = (*self.source.save_additional_columns, self.not_saved)
        return replace(self.source, save_additional_columns=columns)
