"""What is checked of a shard whatever it holds: its files, its marker, its columns; a sentence for each fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from schemas.folder import Folder
from schemas.manifest import Marker


def audit_files(folder: Folder, shard: Mapping[str, Any]) -> Iterator[str]:
    """Files that are missing or not those of the manifest."""
    for name, expected in shard["files"].items():
        path = folder.path(name)
        if not folder.exists(name):
            yield f"{path}: is missing"
        elif not folder.fs.isfile(path):
            yield f"{path}: is not a regular file"
        elif (size := folder.size(name)) != expected["size"]:
            yield f"{path}: has {size} bytes, the manifest says {expected['size']}"
        elif folder.sha256(name) != expected["sha256"]:
            yield f"{path}: its sha256 is not the manifest's; it was changed after the job wrote it"


def all_are_files(folder: Folder, shard: Mapping[str, Any]) -> bool:
    """Whether none of a shard's files is a pipe or a device."""
    return all(folder.fs.isfile(folder.path(name)) for name in shard["files"] if folder.exists(name))


def audit_marker(folder: Folder, shard: Mapping[str, Any]) -> Iterator[str]:
    """What a shard's marker says otherwise than the manifest."""
    try:
        marker = Marker.read(folder, shard["name"])
    except FileNotFoundError:
        yield f"{folder.path(shard['name'])}_stats.json: is missing"
        return
    except ValueError as error:
        yield str(error)
        return
    written = {"fingerprint": marker.fingerprint, "counts": marker.counts.to_json()}
    written["files"] = {file.name: file.to_json() for file in marker.files}
    for name, value in written.items():
        if value != shard[name]:
            yield f"{folder.path(shard['name'])}_stats.json: its {name} is not the manifest's"


def audit_columns(actual: pa.Schema, expected: pa.Schema, where: str) -> Iterator[str]:
    """Columns that are missing or of another type."""
    for field in expected:
        if field.name not in actual.names:
            yield f"{where}: has no column '{field.name}'"
        elif actual.field(field.name).type != field.type:
            yield f"{where}: column '{field.name}' is {actual.field(field.name).type}, expected {field.type}"
