"""What JSON on disk has to look like: a shape for each kind of file, and one sentence where a value has another.

    >>> shape = {"name": TEXT, "shards": [{"rows": COUNT}], "note?": TEXT}
    >>> misfit({"name": "a", "shards": [{"rows": 3}], "more": None}, shape)
    ''
    >>> misfit({"name": "a", "shards": [{"rows": -1}]}, shape)
    'shards[0].rows is -1, expected a whole number from 0 to 9,007,199,254,740,992'

A shape is a `Kind`, a list of one shape, or a dict of shapes by name; a name that ends in `?` may be missing, and names
that a shape does not know may be there: new fields come without a new version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Kind:
    """Values of one kind."""

    expected: str
    """As a sentence has it, after "expected"."""
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Names:
    """An object whose names are data: what they must be, and what stands under them."""

    names: Kind
    values: Shape


Shape = Kind | Names | Mapping[str, Any] | Sequence[Any]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(least: int, most: int = 2**53) -> Kind:
    """Whole numbers from `least` to `most`."""
    return Kind(f"a whole number from {least:,} to {most:,}", lambda value: _is_whole(value) and least <= value <= most)


def words(*known: str) -> Kind:
    """One of some words."""
    return Kind(" or ".join(known), lambda value: isinstance(value, str) and value in known)


def text_like(pattern: str, expected: str) -> Kind:
    """Strings that a pattern matches wholly."""
    return Kind(expected, lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None)


def _is_inside(value: Any) -> bool:
    if not isinstance(value, str) or re.search("[\0\ud800-\udfff]", value):
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


def or_none(kind: Kind) -> Kind:
    """Values of a kind, and null."""
    return Kind(f"{kind.expected}, or null", lambda value: value is None or kind.fits(value))


TEXT = Kind("a string", lambda value: isinstance(value, str))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = whole(0)
NUMBER = Kind(
    "a finite number",
    lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
)
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
INSIDE = Kind("a file's name inside the folder", _is_inside)


def misfit(value: Any, shape: Shape, path: str = "") -> str:
    """Where a value is not of a shape: what it is and what was expected; nothing if it fits."""
    if isinstance(shape, Kind):
        return "" if shape.fits(value) else _sentence(path, value, shape.expected)
    if isinstance(shape, Names):
        return _misfit_of_names(value, shape, path)
    if isinstance(shape, Mapping):
        return _misfit_of_object(value, shape, path)
    if not isinstance(value, list):
        return _sentence(path, value, "a list")
    return next((found for i, each in enumerate(value) if (found := misfit(each, shape[0], f"{path}[{i}]"))), "")


def _misfit_of_object(value: Any, shape: Mapping[str, Any], path: str) -> str:
    if not isinstance(value, dict):
        return _sentence(path, value, "an object")
    for name, inner in shape.items():
        known = name.removesuffix("?")
        where = f"{path}.{known}" if path else known
        if known not in value:
            if known == name:
                return f"{where} is missing"
        elif found := misfit(value[known], inner, where):
            return found
    return ""


def _misfit_of_names(value: Any, shape: Names, path: str) -> str:
    if not isinstance(value, dict):
        return _sentence(path, value, "an object")
    for name, inner in value.items():
        if not shape.names.fits(name):
            return f"{path} has {_shown(name)}, expected {shape.names.expected}"
        if found := misfit(inner, shape.values, f"{path}.{name}"):
            return found
    return ""


def _sentence(path: str, value: Any, expected: str) -> str:
    return f"{path or 'it'} is {_shown(value)}, expected {expected}"


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
