"""What a job says of the dataset it left: a marker beside each shard and one manifest for the folder.

A folder is a dataset once its `manifest.json` is there; a shard is done once its `_stats.json` is. The manifest
holds only what follows from inputs and options, so that two runs can be compared byte for byte; when, where and how
fast stands in the markers, which are never compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from schemas.contents import is_awaited, why_another, why_no_dataset
from schemas.counts import Counts as Counts
from schemas.folder import RECIPE, FileRecord, Folder, canonical_json
from schemas.journal import check_awaits_nothing, check_not_between
from schemas.manifest_shape import ANY_OPTIONS, MARKER, OptionsByTable, fault_of_manifest, fault_of_recipe
from schemas.pairs import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, SUCCESS
from schemas.planning import NotThereYet, is_planning
from schemas.shapes import misfit

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
        value, where = folder.read_json(marker_name(shard)), folder.path(marker_name(shard))
        if not isinstance(value, dict) or not {"shard", "fingerprint", "counts", "files"} <= value.keys():
            raise ValueError(
                f"{where}: has no fingerprint, counts and files, so this shard was not made by this job; give an empty "
                "--output_folder"
            )
        fault = misfit(value, MARKER)
        if not fault and value["shard"] != shard:
            fault = f"it is of shard {value['shard']!r}"
        if fault:
            raise ValueError(f"{where}: was damaged after writing ({fault}); remove it, and the shard is made again")
        files = tuple(FileRecord(n, f["sha256"], f["size"]) for n, f in value["files"].items())
        counts = Counts.of_json(value["counts"])
        return cls(shard=shard, fingerprint=value["fingerprint"], counts=counts, files=files, run=value)


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


def read_manifest(
    folder: Folder, *, table: str | tuple[str, ...] = (), options: OptionsByTable = ANY_OPTIONS, adds_up: bool = True
) -> dict[str, Any]:
    """The folder's manifest, checked: whatever was done to it, its values are of the kinds that all readers rely on.

    Args:
        folder: a dataset or a model.
        table: what it must hold, such as `pairs`, or one of several; without it anything.
        options: those that it must have been made with, by table, and of which kind they are.
        adds_up: whether its counts have to; the audit tells of them otherwise.

    Raises:
        ValueError: if there is none (the dataset is not finished), it is of a version we do not know, of another
            table, was damaged, or a change of it is not all in place.
    """
    tables = (table,) if isinstance(table, str) else table
    if is_planning():
        check_awaits_nothing(folder)
    if not folder.exists(MANIFEST):
        check_not_between(folder)
        why = why_no_dataset(folder, tables)
        raise NotThereYet(why, folder.url) if is_awaited(folder, tables) else ValueError(why)
    value = folder.read_json(MANIFEST)
    check_not_between(folder)  # after it was read: before the journal came it was that of the files that lay there
    _check_version(folder, value)
    if tables and value.get("table") not in tables:
        raise ValueError(why_another(folder, value, tables))
    if fault := fault_of_manifest(value, options, adds_up=adds_up):
        raise ValueError(
            f"{folder.path(MANIFEST)}: was damaged after writing ({fault}); put back what the job wrote, or make the "
            "dataset again"
        )
    return dict(value)


def read_recipe(folder: Folder, name: str = RECIPE) -> dict[str, Any]:
    """What a folder was made from or, if a run did not end, is being made from; checked as a manifest is.

    Args:
        folder: a dataset or a model.
        name: the file that says so, the recipe of an unfinished folder or the manifest of a finished one.

    Raises:
        ValueError: if it was damaged.
    """
    value = folder.read_json(name)
    if name == MANIFEST:
        _check_version(folder, value)
    if fault := fault_of_recipe(value):
        raise ValueError(
            f"{folder.path(name)}: was damaged after writing ({fault}); put back what the job wrote, or give another "
            "--output_folder"
        )
    return dict(value)


def _check_version(folder: Folder, value: Any) -> None:
    version_read = value.get("format_version") if isinstance(value, dict) else None
    if type(version_read) is not int or version_read != FORMAT_VERSION:
        raise ValueError(
            f"{folder.path(MANIFEST)}: format_version is {version_read}, expected {FORMAT_VERSION}; "
            "read it with the release that wrote it, or make the dataset again"
        )


def made_from(dataset: Mapping[str, Any]) -> str:
    """Fingerprint of the manifest that a dataset was made from; empty if it was made from a list."""
    return str(dataset["lineage"][-1]["manifest"]) if dataset["lineage"] else ""


def ancestor(parent: Mapping[str, Any]) -> dict[str, Any]:
    """How a dataset names the one it was made from in its lineage."""
    return {"job": parent["job"], "manifest": fingerprint(parent), "options": parent["options"]}


def lineage_from(parent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lineage of what is made from a dataset: the dataset's own, and the dataset."""
    return [*parent["lineage"], ancestor(parent)]


def is_deduplicated(dataset: Mapping[str, Any]) -> bool:
    """Whether near-duplicates were taken out of the dataset of this manifest, or of one that it was made from."""
    return any(each["job"] == "dedup" for each in (dataset, *dataset["lineage"]))
