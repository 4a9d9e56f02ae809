"""What a job says of the dataset it left: a marker beside each shard and one manifest for the folder.

A folder is a dataset once its `manifest.json` is there; a shard is done once its `_stats.json` is. The manifest
holds only what follows from inputs and options, so that two runs can be compared byte for byte; when, where and how
fast stands in the markers, which are never compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from schemas.folder import FileRecord, Folder, canonical_json
from schemas.journal import check_not_between
from schemas.pairs import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, REFUSED, REMOVED, STATUSES, SUCCESS

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
"""What every training calls the weights that it leaves."""
FORMAT_VERSION = 1


def fingerprint(value: Any) -> str:
    """sha256 of the value's canonical JSON: the same value, the same 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions of the libraries that make the bytes."""
    return {name: version(name) for name in distributions}


def marker_name(shard: str) -> str:
    """The file whose presence says that the shard is done."""
    return f"{shard}_stats.json"


@dataclass
class Counts:
    """How many rows met which fate."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (stage, reason)."""

    @classmethod
    def of_ledger(cls, ledger: pa.Table) -> Counts:
        """Count a ledger's rows."""
        groups = ledger.select(["status", "stage", "reason"]).group_by(["status", "stage", "reason"])
        counts = cls()
        for row in groups.aggregate([([], "count_all")]).to_pylist():
            counts.statuses[row["status"]] += row["count_all"]
            if row["reason"] is not None:
                counts.reasons[row["stage"], row["reason"]] += row["count_all"]
        return counts

    @classmethod
    def all_kept(cls, rows: int) -> Counts:
        """So many rows, each kept."""
        return cls(Counter({SUCCESS: rows}))

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Counts:
        """The counts that `to_json` wrote."""
        reasons = {(stage, reason): n for stage, of in value["reasons"].items() for reason, n in of.items()}
        return cls(Counter({k: v for k, v in value["statuses"].items() if v}), Counter(reasons))

    def to_json(self) -> dict[str, Any]:
        """Every status, and the reasons by stage."""
        nested: dict[str, dict[str, int]] = {}
        for (stage, reason), n in self.reasons.items():
            nested.setdefault(stage, {})[reason] = n
        return {"rows": self.rows, "statuses": {s: self.statuses[s] for s in STATUSES}, "reasons": nested}

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.statuses + other.statuses, self.reasons + other.reasons)

    @property
    def rows(self) -> int:
        """All rows."""
        return self.statuses.total()

    @property
    def kept(self) -> int:
        """Rows with a stored picture."""
        return self.statuses[SUCCESS]

    @property
    def refused(self) -> int:
        """Rows that a filter did not want."""
        return self.statuses[REFUSED]

    @property
    def failed(self) -> int:
        """Rows whose picture could not be had."""
        return self.statuses[FAILED_TO_DOWNLOAD] + self.statuses[FAILED_TO_RESIZE]

    @property
    def removed(self) -> int:
        """Rows that a later job took out."""
        return self.statuses[REMOVED]

    def check(self, rows: int, where: str) -> None:
        """Every input row must have met exactly one known fate.

        Raises:
            ValueError: if the sums do not add up.
        """
        lost = {s: n for s, n in self.statuses.items() if s not in STATUSES}
        if lost or self.rows != rows or self.reasons.total() != rows - self.kept:
            raise ValueError(
                f"{where}: kept {self.kept} + refused {self.refused} + failed {self.failed} + removed "
                f"{self.removed} with {self.reasons.total()} reasons (unknown: {lost}) should account for {rows} "
                "rows; this is a fault of the job, please report it"
            )


@dataclass(frozen=True, kw_only=True)
class Marker:
    """One shard's `_stats.json`."""

    shard: str
    fingerprint: str
    counts: Counts
    files: tuple[FileRecord, ...]
    run: Mapping[str, Any] = field(default_factory=dict)
    """When, where and how long: never compared."""

    def to_json(self) -> dict[str, Any]:
        """With the keys that img2dataset's users read, then ours."""
        counts = self.counts
        reasons = {reason: n for (_, reason), n in counts.reasons.items()}
        return {
            "count": counts.rows,
            "successes": counts.kept,
            "failed_to_download": counts.statuses[FAILED_TO_DOWNLOAD],
            "failed_to_resize": counts.statuses[FAILED_TO_RESIZE],
            "status_dict": ({SUCCESS: counts.kept} if counts.kept else {}) | reasons,
            **self.run,
            "shard": self.shard,
            "fingerprint": self.fingerprint,
            "counts": counts.to_json(),
            "files": {f.name: f.to_json() for f in self.files},
        }

    @classmethod
    def of_manifest(cls, shard: Mapping[str, Any]) -> Marker:
        """What the manifest keeps of a marker."""
        files = tuple(FileRecord(n, f["sha256"], f["size"]) for n, f in shard["files"].items())
        counts = Counts.of_json(shard["counts"])
        return cls(shard=shard["name"], fingerprint=shard["fingerprint"], counts=counts, files=files)

    @classmethod
    def read(cls, folder: Folder, shard: str) -> Marker:
        """The shard's marker.

        Raises:
            ValueError: if it is not one of ours.
        """
        value = folder.read_json(marker_name(shard))
        try:
            files = tuple(FileRecord(n, f["sha256"], f["size"]) for n, f in value["files"].items())
            counts = Counts.of_json(value["counts"])
            return cls(shard=value["shard"], fingerprint=value["fingerprint"], counts=counts, files=files, run=value)
        except (KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{folder.path(marker_name(shard))}: has no fingerprint, counts and files, so this shard was not "
                "made by this job; give an empty --output_folder"
            ) from None


def manifest(
    *,
    job: str,
    table: str,
    options: Mapping[str, Any],
    inputs: Iterable[Mapping[str, Any]],
    library_versions: Mapping[str, str],
    markers: Iterable[Marker],
    lineage: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The content of `manifest.json`; it follows from inputs, options and library versions alone.

    Args:
        job: name of the job that made the dataset.
        table: what its shards hold, `pairs` or `examples`.
        options: those that change bytes.
        inputs: name and sha256 of each.
        library_versions: of the libraries that make the bytes.
        markers: one for each shard.
        lineage: `ancestor` of the dataset this one was made from, after its own lineage.
    """
    ordered = sorted(markers, key=lambda m: m.shard)
    total = sum((m.counts for m in ordered), Counts())
    return {
        "format_version": FORMAT_VERSION,
        "table": table,
        "job": job,
        "options": dict(options),
        "inputs": [dict(i) for i in inputs],
        "versions": dict(library_versions),
        "counts": total.to_json(),
        "shards": [
            {
                "name": m.shard,
                "fingerprint": m.fingerprint,
                "counts": m.counts.to_json(),
                "files": {f.name: f.to_json() for f in m.files},
            }
            for m in ordered
        ],
        "lineage": [dict(a) for a in lineage],
    }


def read_manifest(folder: Folder, *, table: str | tuple[str, ...] = ()) -> dict[str, Any]:
    """The folder's manifest.

    Args:
        folder: a dataset.
        table: what it must hold, such as `pairs`, or one of several; without it anything.

    Raises:
        ValueError: if there is none (the dataset is not finished), it is of a version we do not know, or of another
            table, or a change of it is not all in place.
    """
    if not folder.exists(MANIFEST):
        check_not_between(folder)
        raise ValueError(
            f"{folder}: has no {MANIFEST}, so it is not a finished dataset; run the job that makes it to its end"
        )
    value = folder.read_json(MANIFEST)
    check_not_between(folder)  # after it was read: before the journal came it was that of the files that lay there
    version_read = value.get("format_version") if isinstance(value, dict) else None
    if version_read != FORMAT_VERSION:
        raise ValueError(
            f"{folder.path(MANIFEST)}: format_version is {version_read}, expected {FORMAT_VERSION}; "
            "read it with the release that wrote it, or make the dataset again"
        )
    tables = (table,) if isinstance(table, str) else table
    if tables and value.get("table") not in tables:
        expected = " or ".join(f"'{name}'" for name in tables)
        raise ValueError(f"{folder}: its table is '{value.get('table')}', expected {expected}")
    return dict(value)


def check_manifest(folder: Folder, value: Mapping[str, Any]) -> None:
    """Whether a manifest that may have been tampered with has the parts of one.

    Raises:
        ValueError: if it has not.
    """
    try:
        Counts.of_json(value["counts"])
        int(value["options"].get("number_sample_per_shard", 0))
        for shard in value["shards"]:
            Marker.of_manifest(shard)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{folder.path(MANIFEST)}: was damaged after writing ({type(error).__name__}: {error}); make the dataset "
            "again"
        ) from None


def ancestor(parent: Mapping[str, Any]) -> dict[str, Any]:
    """How a dataset names the one it was made from in its lineage."""
    return {"job": parent["job"], "manifest": fingerprint(parent), "options": parent["options"]}


def lineage_from(parent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lineage of what is made from a dataset: the dataset's own, and the dataset."""
    return [*parent["lineage"], ancestor(parent)]


def is_deduplicated(dataset: Mapping[str, Any]) -> bool:
    """Whether near-duplicates were taken out of the dataset of this manifest, or of one that it was made from."""
    return any(each["job"] == "dedup" for each in (dataset, *dataset["lineage"]))
