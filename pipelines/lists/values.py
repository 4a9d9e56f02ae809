"""What a value of a JSON list means: text, captions, columns that the list does not have."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.lists.columns import ListColumns, check_columns

_KINDS = {dict: "an object", list: "a list", bool: "true or false", float: "infinite"}
_ALL_KINDS = {**_KINDS, float: "a number", int: "a number", str: "a text", type(None): "null"}
_MOST_NAMES = 1000
_LEADING_ZEROS = re.compile("&#0+(?=[0-9])")
_NO_CHARACTER = re.compile("&#[0-9]{8,};?")


def text_of(value: Any, what: str) -> str | None:
    """A value as text: a text as it is, a number as JSON spells it; None for null and NaN, which are no text.

    Raises:
        ValueError: if it is anything else, of which only a programming language would make text.
    """
    if isinstance(value, str):
        return as_text(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise ValueError(f"its {what} is {_KINDS.get(type(value), 'no text')}, expected text")
    return json.dumps(value)


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    return _ALL_KINDS.get(type(value), "no JSON")


def members_of(value: Any, *names: str) -> list[list[Any]]:
    """Lists that an object has as its members.

    Raises:
        ValueError: if it is no object, or one of them is not there or is no list.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it is {kind_of(value)}, expected an object")
    for name in names:
        if name not in value:
            raise ValueError(f"it has no '{name}'")
        if not isinstance(value[name], list):
            raise ValueError(f"its '{name}' is {kind_of(value[name])}, expected a list")
    return [value[name] for name in names]


def captions_of(value: Any) -> list[str]:
    """The captions that a value holds: one, or a list of some; null in their place is none.

    Raises:
        ValueError: if one of them is no text.
    """
    values = value if isinstance(value, list) else [value]
    return [text for each in values if (text := text_of(each, "caption")) is not None]


def extras_of(value: Mapping[str, Any], columns: ListColumns) -> list[str | None]:
    """The additional columns of an object, as JSON text; None where it has none."""
    return [
        json.dumps(_json_value(value[name]), ensure_ascii=False) if value.get(name) is not None else None
        for name in columns.save_additional_columns
    ]


def _json_value(value: Any) -> Any:
    """A value in which no list and no object holds NaN or infinity, which are no JSON; a number by itself stays one."""
    if not isinstance(value, list | dict):
        return value
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return _finite(value)
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(value: Any) -> str:
    """Text without the lone surrogates that JSON can spell and UTF-8 cannot."""
    return str(value).encode("utf-8", "replace").decode()


def unescaped(text: str) -> str:
    """Text with what its HTML entities stand for; a number that is no character's is U+FFFD, however long it is."""
    if "&#" in text:  # Python refuses to make a number of more than 4,300 digits
        text = _NO_CHARACTER.sub("\ufffd", _LEADING_ZEROS.sub("&#", text))
    return html.unescape(text)


class SeenNames:
    """The members that the objects of a file have, each of which may lack some; a column that none has is no column."""

    def __init__(self, path: str, columns: ListColumns, wanted: Sequence[str]) -> None:
        self._path, self._columns, self._wanted = path, columns, wanted
        self._missing = set(wanted)
        self._names: dict[str, None] = {}

    def look(self, value: Any) -> None:
        """Take note of an object's names."""
        if not isinstance(value, dict):
            return
        if self._missing:
            self._missing.difference_update(value)
        if len(self._names) < _MOST_NAMES:
            self._names.update(dict.fromkeys(value))

    def watch(self, values: Iterator[Any]) -> Iterator[Any]:
        """The same values; at their end `check`."""
        for value in values:
            self.look(value)
            yield value
        self.check()

    def check(self) -> None:
        """Whether each wanted name was that of some object's member.

        A list of links alone has no captions, which is not asked for by name.

        Raises:
            ValueError: naming the first that was not, as of a list with a header.
        """
        columns = self._columns
        if columns.caption_col == ListColumns.caption_col and {*self._names} <= {*self._wanted} - {columns.caption_col}:
            self._missing.discard(columns.caption_col)
        if self._names and self._missing:
            check_columns([*self._names], self._path, columns, [n for n in self._wanted if n in self._missing])
