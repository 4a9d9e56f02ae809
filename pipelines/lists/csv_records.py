"""CSV as RFC 4180 has it, read so that a quote too many or too few costs the row it stands in, and merges no others.

A reader that trusts quotes makes of one that is not closed a caption out of all rows up to the next quote. Here a
record may run over lines only if nothing about it is in doubt: its quotes are where RFC 4180 has them, it has as many
fields as the header, and no field that runs over lines holds a link. Otherwise its first line alone is a row with a
problem, and reading goes on with the next line. Up to where the record would have ended lines are in doubt: they may be
rows, or what is left of a caption. Such a line is a row only if it is one without any doubt; else it is a row with a
problem too.

Each line is read at most twice: a line that opens a field and does not close it has an odd number of quotes, and a
record ends at the next such line at the latest, so that two records that were given up share no line but the last.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.lists.text import MARK

LONGEST_FIELD = 1 << 20
"""Characters of a field, and of all that a record that runs over lines may have."""

_REST = re.compile(r'((?:[^"]++|"")*+)"')
"""What is left of a quoted field up to the quote that closes it."""


class _Record(NamedTuple):
    """What some text gives when it is read as one record."""

    fields: list[str]
    fault: str = ""
    """Why it is none, in words."""
    begun: list[str] | None = None
    """Pieces of a last field whose quote is not closed, which a further line may do."""
    is_plain: bool = True
    """Whether no quote stands in a field that is not quoted, as in 12" vinyl."""


@dataclass(frozen=True)
class LinkLike:
    """What tells that a text holds something that a row begins with: then it is more than one row."""

    inside: re.Pattern[str]
    """Searched for in fields that run over lines."""
    whole: re.Pattern[str]
    """What one field of a row in doubt must be."""


_DROPPED = r"[\t\r\n]*"
"""What browsers take out of a link, and `pipelines.fetching.urls` does, wherever it stands."""
LINK = LinkLike(
    re.compile(
        rf"\b[a-z][a-z0-9+.\-]{{1,20}}:[/\\]|\b{_DROPPED.join('http')}(?:{_DROPPED}s)?{_DROPPED}:{_DROPPED}[/\\]|\bwww\.",
        re.IGNORECASE,
    ),
    re.compile(r"\s*https?:[/\\]\S*\s*", re.IGNORECASE),
)
"""Of lists of links."""
PICTURE_NAME = LinkLike(
    re.compile(r"\.(?:jpe?g|png|gif|bmp|webp)\b", re.IGNORECASE),
    re.compile(r"\s*[^\s,\"]+\.(?:jpe?g|png|gif|bmp|webp)(?:#\d+)?\s*", re.IGNORECASE),
)
"""Of lists of local pictures."""


def csv_records(
    lines: Iterable[str], *, delimiter: str = ",", has_header: bool = True, like: LinkLike = LINK
) -> Iterator[list[str] | str]:
    """The fields of each record, or what is wrong with a line; nothing for an empty line.

    Args:
        lines: with their ends, which are LF, CR or both.
        delimiter: between fields.
        has_header: whether the first record says how many fields the others have.
        like: what a row begins with.
    """
    reader = _Reader(lines, delimiter, like)
    for record in reader.records():
        if has_header and reader.width is None and not isinstance(record, str):
            reader.width = len(record)
        yield record


class _Reader:
    """The state of reading: lines that were read ahead, and up to which line rows are in doubt."""

    def __init__(self, lines: Iterable[str], delimiter: str, like: LinkLike) -> None:
        self._lines = enumerate(lines, 1)
        self._delimiter, self._like = delimiter, like
        self._listed = re.compile(rf"{re.escape(delimiter)}[\s\"]*(?:{like.inside.pattern})", re.IGNORECASE)
        self.width: int | None = None
        """Fields that a record must have."""
        self._ahead: deque[tuple[int, str]] = deque()
        self._in_doubt = (0, 0)
        """The line whose quoting is damaged, and the last line that it leaves in doubt."""

    def _next(self) -> tuple[int, str] | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def records(self) -> Iterator[list[str] | str]:
        """All records."""
        while (numbered := self._next()) is not None:
            number, line = numbered
            record = _read(line.removeprefix(MARK), self._delimiter)
            if record.begun is not None:
                record = self._over_lines(number, record)
            if record.fields in ([], [""]) and not record.fault:
                continue
            if record.fault:
                yield f"line {number}: {record.fault}"
            elif number <= self._in_doubt[1] and not self._is_surely_a_row(record):
                yield (
                    f"line {number}: lies in what the quoting of line {self._in_doubt[0]}, which is damaged, would run "
                    "over, and is no whole row itself"
                )
            else:
                yield record.fields

    def _over_lines(self, number: int, record: _Record) -> _Record:
        """The record that begins with a line whose last field is open; what it took of further lines is put back if
        it is none."""
        taken: list[tuple[int, str]] = []
        length, fault = 0, ""
        while record.begun is not None and not fault:
            following = self._next() if length <= LONGEST_FIELD else None
            if following is None:
                fault = "a quote is opened and not closed"
                break
            taken.append(following)
            length += len(following[1])
            record = _read(following[1], self._delimiter, record)
            fault = record.fault
        fault = fault or self._fault(record)
        if not fault:
            return record
        self._ahead.extendleft(reversed(taken))
        if taken and taken[-1][0] > self._in_doubt[1]:
            self._in_doubt = (number, taken[-1][0])
        return _Record([], fault=fault)

    def _fault(self, record: _Record) -> str:
        """Why a record that runs over lines and is otherwise whole is none."""
        if not record.is_plain:
            return "its quotes do not belong together"
        if self.width is not None and len(record.fields) != self.width:
            return f"its quotes would make {len(record.fields)} fields over several lines, expected {self.width}"
        for field in record.fields:
            runs_over = "\n" in field or "\r" in field
            if (runs_over and self._like.inside.search(field)) or self._listed.search(field):
                return "a quote is opened, and what follows holds a link before it is closed"
        return ""

    def _is_surely_a_row(self, record: _Record) -> bool:
        width_is_right = self.width is None or len(record.fields) == self.width
        return record.is_plain and width_is_right and any(map(self._like.whole.fullmatch, record.fields))


def _read(line: str, delimiter: str, before: _Record | None = None) -> _Record:
    """A line as a record, or as what goes on with the record before it, whose last field is open.

    A quote in a field that does not begin with one is a character.
    """
    text = line[:-2] if line.endswith("\r\n") else line[:-1] if line.endswith(("\n", "\r")) else line
    fields, is_plain, begun = ([], True, None) if before is None else (before.fields, before.is_plain, before.begun)
    if begun is None and '"' not in text:
        return _checked(_Record(text.split(delimiter) if text else []))
    position = 0
    while True:
        if begun is None and text.startswith('"', position):
            begun, position = [], position + 1
        if begun is not None:
            match = _REST.match(text, position)
            if match is None:
                begun.append(line[position:])
                return _Record(fields, begun=begun, is_plain=is_plain)
            field, position, begun = "".join([*begun, match[1]]).replace('""', '"'), match.end(), None
            if position < len(text) and not text.startswith(delimiter, position):
                return _Record(fields, fault="a quote stands in the middle of a quoted field")
        else:
            end = text.find(delimiter, position)
            field = text[position:] if end < 0 else text[position:end]
            position += len(field)
            is_plain = is_plain and '"' not in field
        fields.append(field)
        if position == len(text):
            return _checked(_Record(fields, is_plain=is_plain))
        position += 1


def _checked(record: _Record) -> _Record:
    if record.fields and max(map(len, record.fields)) > LONGEST_FIELD:
        return _Record([], fault=f"field larger than field limit ({LONGEST_FIELD})")
    return record
