"""JSON that somebody else may have written: a value, or one error for all that it can be instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DEEPEST = 100
"""How deep lists and objects may lie in one another; Python's own functions end at about 1,000, each elsewhere."""


def parse_json(text: str | bytes) -> Any:
    """The value of some JSON.

    What comes back can be compared, printed and written again wherever it is: to do so takes as much depth as to parse.

    Raises:
        ValueError: if it is none, or its values lie more than `DEEPEST` deep in one another.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        value = None
        is_too_deep = True
    else:
        opened = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
        is_too_deep = opened > DEEPEST and _is_too_deep(value)
    if is_too_deep:
        raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = "its values lie too deep in one another"


def check_depth(value: Any) -> None:
    """Whether what was parsed otherwise is a value that `parse_json` gives.

    Raises:
        ValueError: if its values lie more than `DEEPEST` deep in one another.
    """
    if _is_too_deep(value):
        raise ValueError(_TOO_DEEP)


def _is_too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, (list, dict)) else []
    for _ in range(DEEPEST):
        if not level:
            return False
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, (list, dict))]
    return bool(level)


def _inside(value: Any) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)
