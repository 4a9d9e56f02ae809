"""The first tar of a dataset is never one without samples.

Hugging Face's `datasets` learns the columns from the first tar of a folder, and fails if there is nothing in it. So of
the shards before the first that keeps anything there is no tar; others keep their empty ones, so that whoever counts
up the names of tars finds them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.folder import Folder
from schemas.manifest import Marker, marker_name


def without_empty_first_tars(folder: Folder, markers: Sequence[Marker]) -> list[Marker]:
    """Take away the tars that no sample comes before or is in, and what the markers say of them.

    Args:
        folder: the dataset, before its manifest is written.
        markers: of all its shards, in order.
    """
    left = list(markers)
    for position, marker in enumerate(markers):
        if marker.counts.kept:
            break
        tar = f"{marker.shard}.tar"
        files = tuple(file for file in marker.files if file.name != tar)
        if files != marker.files:
            left[position] = replace(marker, files=files)
            folder.write_json(marker_name(marker.shard), left[position].to_json())
        folder.remove(tar)
    return left
