"""Every way to change one place of a JSON file: its value to one of another type or a hostile one, its name, its being."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, float("nan"), 10**30, "", "x", "../../outside", "/etc/passwd", "a\0b", "\ud800\x1b[2J\u202e",
    [], {}, ["x"], [[]], {"../../outside": {"sha256": "0", "size": 1}}, {"x": None},
)  # fmt: skip
NAMES = ("", "../../outside", "/etc/passwd", "\x1b[2J")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands, from the outside in."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*path, name))


def tampered(value: Any) -> Iterator[tuple[str, Any]]:
    """What was done, and the value after it; one change each."""
    for path in places(value):
        for hostile in HOSTILE:
            yield f"{path} = {hostile!r}", _changed(value, path, lambda at, name, v=hostile: at.__setitem__(name, v))
        if path:
            yield f"{path} is gone", _changed(value, path, lambda at, name: at.pop(name))
        if path and isinstance(path[-1], str):
            for new in NAMES:
                yield (
                    f"{path} is called {new!r}",
                    _changed(value, path, lambda at, name, n=new: at.update({n: at.pop(name)})),
                )


def _changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    box = {"": copy.deepcopy(value)}
    at: Any = box
    for name in ("", *path)[:-1]:
        at = at[name]
    change(at, ("", *path)[-1])
    return box.get("")
