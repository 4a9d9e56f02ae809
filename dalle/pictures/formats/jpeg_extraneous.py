"""Bytes that sloppy writers leave before a JPEG's markers: harmless, and all else is looked at in spite of them.

libjpeg warns of them, and only its first warning is told: whoever takes the file because of that does not hear what is
wrong behind them, and shows a picture that ends early in grey. What is in front of a warning is whole. So of a picture
in one scan each restart interval behind it is decoded alone, as a picture of its own; of one in several scans the bytes
are taken out, where that makes a whole file of it.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dalle.pictures.pixels import Pixels

_SAID = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_MARKER = re.compile(rb"\xff+([^\0\xff])")
_RESTARTS = range(0xD0, 0xD8)
_SOS, _EOI, _DRI = 0xDA, 0xD9, 0xDD
_FRAMES = range(0xC0, 0xCB)
_NO_FRAMES = (0xC4, 0xC8)
_LONGEST = 65_500
"""Pixels of a side, for libjpeg."""
_MOST_INTERVALS = 100_000
_WORK, _LEAST, _MOST = 200_000_000, 16, 1000
"""How often a file in several scans is decoded for it: bytes and pixels together, within these numbers."""

_Decode = Callable[[bytes], Pixels]


def are_extraneous(error: ValueError) -> bool:
    """Whether it is such bytes that libjpeg warns of."""
    return _SAID.search(str(error)) is not None


def without_extraneous(data: bytes, error: ValueError, decode: _Decode, area: int | None) -> bytes:
    """A file of which libjpeg could have warned of nothing but such bytes.

    Args:
        data: a JPEG with nothing odd before its first scan.
        error: libjpeg's first warning, which is of such bytes.
        decode: raises ValueError with the first warning.
        area: pixels of a picture in several scans, None if it is in one.

    Raises:
        ValueError: another warning, or the same one if what is behind it cannot be looked at.
    """
    asked, behind = _Asked(decode), 0
    tries = max(_LEAST, min(_MOST, _WORK // (len(data) + (area or 0))))
    problem: ValueError | None = error
    while problem and (said := _SAID.search(str(problem))):
        count, code = int(said[1]), int(said[2], 16)
        has_intervals = bool(_header(data)[2]) or any(marker.code == _DRI for marker in _markers(data))
        if code == _EOI and not has_intervals:
            return data  # nothing is behind it
        if area is None:
            if has_intervals:
                _check_intervals(data, problem, asked)
            if all(marker.code != _EOI for marker in _markers(data)):
                raise ValueError("premature end: the JPEG has no marker of its end")
            return data
        places = [m for m in _markers(data) if m.code == code and m.start >= behind and m.start - m.behind >= count]
        if not places or asked.times + 2 * len(places).bit_length() > tries:
            raise problem
        behind = _first(places, lambda end, part=data, words=said[0]: asked.says(part[:end], words)).start - count  # type: ignore[misc]
        data = data[:behind] + data[behind + count :]
        problem = asked.problem(data)
    if problem:
        raise problem
    return data


class _Asked:
    """A decoder, and how often it was asked."""

    def __init__(self, decode: _Decode) -> None:
        self._decode = decode
        self.times = 0

    def problem(self, data: bytes) -> ValueError | None:
        """What it says first."""
        self.times += 1
        try:
            self._decode(data)
        except ValueError as error:
            return error
        return None

    def says(self, data: bytes, words: str) -> bool:
        """Whether it says this first."""
        return words in str(self.problem(data))


def _check_intervals(data: bytes, error: ValueError, asked: _Asked) -> None:
    """Decode each restart interval of a picture in one scan as a picture of its own.

    Raises:
        ValueError: what is wrong with one, other than such bytes at its end; or `error`, if they are odd ones.
    """
    tables, frame, interval, at = _header(data)
    height, width = int.from_bytes(frame[5:7]), int.from_bytes(frame[7:9])
    samplings = [frame[n] for n in range(11, len(frame), 3)]
    across, down = (8 * max(s >> 4 for s in samplings), 8 * max(s & 15 for s in samplings))
    if len(samplings) == 1:
        across = down = 8
    columns, rows = -(-width // across), -(-height // down)
    count = -(-columns * rows // interval) if interval else 0
    if not 0 < count <= _MOST_INTERVALS:
        raise error
    last = columns * rows - (count - 1) * interval
    for number, (code, there) in enumerate(_intervals(data, at, count)):
        if number < count - 1 and code != _RESTARTS[number % 8]:
            raise ValueError(
                f"premature end: the JPEG's restart interval {number} of {count} ends with marker {code:x}"
            )
        units = interval if number < count - 1 else last
        shape = (units, 1) if units * across <= _LONGEST else (columns, units // columns)
        if shape[0] * shape[1] != units:
            raise error
        size = (shape[1] * down).to_bytes(2) + (shape[0] * across).to_bytes(2)
        problem = asked.problem(b"".join([tables[0], frame[:5], size, frame[9:], tables[1], there, b"\xff\xd9"]))
        if problem and not are_extraneous(problem):
            raise problem


def _header(data: bytes) -> tuple[tuple[bytes, bytes], bytes, int, int]:
    """What stands before the frame's header and behind it, that header, MCUs of an interval, and where data begin."""
    at, before, behind, frame, interval, code = 2, [data[:2]], list[bytes](), b"", 0, 0
    while code != _SOS:
        code, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if code in _FRAMES and code not in _NO_FRAMES and not frame:
            frame = data[at:end]
        elif code == _DRI:
            interval = int.from_bytes(data[at + 4 : at + 6])
        else:
            (behind if frame else before).append(data[at:end])
        at = end
    return (b"".join(before), b"".join(behind)), frame, interval, at


def _intervals(data: bytes, at: int, count: int) -> Iterator[tuple[int, bytes]]:
    """Of each restart interval its data, and the marker behind them; 0 behind the last if there is none."""
    for _ in range(count):
        found = _MARKER.search(data, at)
        yield (found[1][0], data[at : found.start()]) if found else (0, data[at:])
        if not found:
            return
        at = found.end()


@dataclass(frozen=True)
class _Marker:
    """One behind the first scan's header."""

    code: int
    behind: int
    """Where the one before it ends, or the segment that belongs to that."""
    start: int
    end: int
    """Of the segment that belongs to it: without it libjpeg would find something else."""


def _markers(data: bytes) -> Iterator[_Marker]:
    at, in_scan = 2, False
    while found := _MARKER.search(data, at):
        code, behind, at = found[1][0], at, found.end()
        if code not in _RESTARTS and code != _EOI:
            at += int.from_bytes(data[at : at + 2])
        if in_scan:
            yield _Marker(code, behind, found.start(), at)
        if code == _EOI:
            return
        in_scan |= code == _SOS


def _first(places: list[_Marker], holds: Callable[[int], bool]) -> _Marker:
    """The first of whose end it holds, as of all behind it; it is looked for near the beginning at first."""
    low, high = 0, 0
    while high < len(places) - 1 and not holds(places[high].end):
        low, high = high + 1, min(2 * high + 1, len(places) - 1)
    return places[low + bisect.bisect_left(range(low, high), True, key=lambda n: holds(places[n].end))]
