"""What manifests, markers and recipes have to look like, for every reader the same.

They may have been tampered with, cut or mixed up; what comes out of here holds names that stay inside the folder,
numbers where numbers are expected, and counts that add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from schemas.counts import Counts
from schemas.folder import ROOMS
from schemas.pairs import STATUSES
from schemas.shapes import COUNT, INSIDE, OBJECT, TEXT, TRUTH, Kind, Names, Shape, misfit, text_like, whole, words

OptionsByTable = Mapping[str, Mapping[str, Shape]]
ANY_OPTIONS: OptionsByTable = MappingProxyType({})

_MOST_ROWS = 10**9
_ROWS = whole(0, _MOST_ROWS)
_EXTENSIONS = ("tar", "parquet")
_SHARD = text_like(r"\d{1,18}", "the digits of a shard's number")
_FILE: Shape = {"sha256": TEXT, "size": COUNT}
_STATUS = words(*STATUSES)
_COUNTS_OF_SHARD: Shape = {"rows": _ROWS, "statuses": Names(_STATUS, _ROWS), "reasons": Names(TEXT, Names(TEXT, _ROWS))}
_INPUTS: Shape = [{"name": TEXT, "sha256": TEXT}]
_FAILURES_OF_HOST = Kind(
    "a host, a reason and how often",
    lambda value: (
        isinstance(value, list)
        and len(value) == 3
        and TEXT.fits(value[0])
        and TEXT.fits(value[1])
        and COUNT.fits(value[2])
    ),
)

MANIFEST_SHAPE: Mapping[str, Shape] = {
    "table": TEXT,
    "job": TEXT,
    "inputs": _INPUTS,
    "versions": Names(TEXT, TEXT),
    "counts": {"rows": COUNT, "statuses": Names(_STATUS, COUNT), "reasons": Names(TEXT, Names(TEXT, COUNT))},
    "shards": [{"name": _SHARD, "fingerprint": TEXT, "counts": _COUNTS_OF_SHARD, "files": OBJECT}],
    "lineage": [{"job": TEXT, "manifest": TEXT, "options": OBJECT}],
    "files?": Names(INSIDE, _FILE),
}
"""Options depend on the table: who reads names those that are needed."""

MARKER: Mapping[str, Shape] = {
    "shard": TEXT,
    "fingerprint": TEXT,
    "counts": _COUNTS_OF_SHARD,
    "files": Names(INSIDE, _FILE),
    "bytes_fetched?": COUNT,
    "failures_by_host?": [_FAILURES_OF_HOST],
    "captions?": COUNT,
    "captions_cut?": COUNT,
    "crops?": COUNT,
    "overlap?": Names(TEXT, [TEXT]),
}
"""With the facts of a run that anybody reads again."""

_RECIPE: Mapping[str, Shape] = {
    "job": TEXT,
    "inputs": _INPUTS,
    "options": OBJECT,
    "anew?": TRUTH,
    "extends?": TRUTH,
    "retries?": TEXT,
}

_TRAINED_ON: Mapping[str, Shape] = {
    "vocabulary": TEXT,
    "vocab_size": whole(1, 2**16),
    "dvae": TEXT,
    "codes": whole(1, 2**16),
    "image_vocab_size": whole(1, 2**16),
}
TO_TRAIN_ON: OptionsByTable = {"examples": _TRAINED_ON}
"""Options that a training reads of a dataset."""

TO_MAKE_AGAIN: OptionsByTable = {
    "pairs": {
        "number_sample_per_shard": whole(1, _MOST_ROWS),
        "oom_shard_count": whole(1, 18),
        "encode_format": words("jpg", "png", "webp"),
        "output_format": words("webdataset", "parquet"),
    },
    "examples": {
        **_TRAINED_ON,
        "precision": words("fp32", "bf16"),
        "device": words("cpu", "cuda"),
        "batch_size": whole(1, 2**16),
        "crops_per_image": whole(1, 2**16),
        "seed": COUNT,
        "output_format": words("parquet", "webdataset"),
    },
}
"""Options that a job reads which makes the dataset, or one like it, once more."""


def fault_of_manifest(value: Any, options: OptionsByTable, *, adds_up: bool) -> str:
    """What no job of ours would have written, in words; nothing if all is well.

    Args:
        value: of a manifest.
        options: those that it must have, by its table.
        adds_up: whether its counts have to.
    """
    table = value.get("table") if isinstance(value, dict) else None
    of_table = options.get(table, {}) if isinstance(table, str) else {}
    if fault := misfit(value, {**MANIFEST_SHAPE, "options": of_table}):
        return fault
    names = [shard["name"] for shard in value["shards"]]
    if len(set(names)) < len(names):
        return "two shards have one name"
    for number, shard in enumerate(value["shards"]):
        if fault := misfit(shard["files"], Names(_files_of(shard["name"]), _FILE), f"shards[{number}].files"):
            return fault
    return _fault_of_sums(value) if adds_up else ""


def fault_of_recipe(value: Any) -> str:
    """What no job of ours would have written of an unfinished folder; nothing if all is well."""
    return misfit(value, _RECIPE)


def _files_of(shard: str) -> Kind:
    """Names that a file of a shard may have."""
    own = {f"{shard}.{extension}" for extension in _EXTENSIONS}
    return Kind(
        f"{' or '.join(sorted(own))}, or a file in {', '.join(ROOMS)}",
        lambda name: name in own or (INSIDE.fits(name) and name.partition("/")[0] in ROOMS),
    )


def _fault_of_sums(value: Mapping[str, Any]) -> str:
    for number, shard in enumerate(value["shards"]):
        counts = Counts.of_json(shard["counts"])
        if counts.rows != shard["counts"]["rows"] or counts.reasons.total() != counts.rows - counts.kept:
            return f"the counts of shards[{number}] do not add up"
    total = sum((Counts.of_json(shard["counts"]) for shard in value["shards"]), Counts())
    return "" if total == Counts.of_json(value["counts"]) else "its counts are not the sum of its shards'"
