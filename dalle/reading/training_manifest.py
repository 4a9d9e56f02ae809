"""Which datasets a training may read: those of the table it wants, cleaned of near-duplicates."""

from __future__ import annotations

from typing import Any

from schemas.folder import Folder
from schemas.manifest import is_deduplicated
from schemas.manifest_shape import TO_TRAIN_ON
from schemas.opening import open_dataset


def training_manifest(folder: Folder, table: str, *, allow_undeduplicated: bool) -> dict[str, Any]:
    """The manifest of a dataset that a training may read.

    Args:
        folder: the dataset's.
        table: `examples` or `pairs`.
        allow_undeduplicated: take a dataset that was never cleaned of near-duplicates, too.

    Raises:
        ValueError: if it holds another table, or was never cleaned of near-duplicates.
    """
    manifest = open_dataset(folder, table=table, options=TO_TRAIN_ON)
    if not allow_undeduplicated and not is_deduplicated(manifest):
        raise ValueError(
            f"{folder}: was never cleaned of near-duplicates (no dedup among the jobs behind it); run pipelines.dedup "
            "first, or say --allow_undeduplicated"
        )
    return manifest
