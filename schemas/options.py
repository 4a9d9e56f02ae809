"""Options as all commands have them: which of them change what is written, and words that come as a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field as dataclass_field
from dataclasses import fields, is_dataclass
from typing import Any

from schemas.json_text import parse_json


def no_change_of_bytes(**arguments: Any) -> Any:
    """A dataclass field whose value does not change what is written (how fast, where, from which address)."""
    return dataclass_field(metadata={"changes_bytes": False}, **arguments)


def unless_default(**arguments: Any) -> Any:
    """A dataclass field that came when there were datasets already: where it has its default, nothing says so."""
    return dataclass_field(metadata={"unless_default": True}, **arguments)


def options_json(options: Any) -> dict[str, Any]:
    """The options that change bytes, flat, for fingerprints and the manifest."""
    values: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if not field.metadata.get("changes_bytes", True):
            continue
        if field.metadata.get("unless_default") and value == field.default:
            continue
        if is_dataclass(value):
            values |= options_json(value)
        else:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def left_out(options: Any) -> list[str]:
    """Names of the options that `options_json` leaves out as they have their defaults."""
    return [
        f.name for f in fields(options) if f.metadata.get("unless_default") and getattr(options, f.name) == f.default
    ]


def words_of(flag: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """A flag's words, also where they came as one list, as img2dataset's users type them: '["NSFW","similarity"]'.

    Raises:
        ValueError: if it begins as a list and is none of strings.
    """
    if len(values) != 1 or not values[0].startswith("["):
        return values
    try:
        words = parse_json(values[0])
        if not all(isinstance(word, str) for word in words):
            raise ValueError
    except ValueError:
        raise ValueError(f"""{flag} {values[0]}: expected words, or a list of strings such as '["a","b"]'""") from None
    return tuple(words)


def spelled(value: Any) -> str:
    """An option's value as a user types or reads it, not as Python writes it.

    >>> spelled([0.9, 0.98]), spelled(None), spelled(True), spelled({"coco": 0.3, "cub": None})
    ('0.9 0.98', 'not given', 'yes', 'coco 0.3, cub not given')
    """
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {spelled(each)}" for name, each in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return " ".join(map(spelled, value)) or "none"
    return str(value)
