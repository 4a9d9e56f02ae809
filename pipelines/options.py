"""Which options change the bytes that are written: these make fingerprints and stand in the manifest."""

from __future__ import annotations

from dataclasses import field as dataclass_field
from dataclasses import fields, is_dataclass
from typing import Any


def no_change_of_bytes(**arguments: Any) -> Any:
    """A dataclass field whose value does not change what is written (how fast, where, from which address)."""
    return dataclass_field(metadata={"changes_bytes": False}, **arguments)


def options_json(options: Any) -> dict[str, Any]:
    """The options that change bytes, flat, for fingerprints and the manifest."""
    found: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if not field.metadata.get("changes_bytes", True):
            continue
        if is_dataclass(value):
            found |= options_json(value)
        else:
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found
