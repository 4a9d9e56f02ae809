"""EXIF of strangers: what of it is read is chosen here, before Pillow unpacks a value.

A tag may say that it has a million values, and a thousand tags that theirs are the same bytes: some kilobytes become
gigabytes of numbers and text. So the directories are read here, and a small block of what can be told is made for
Pillow, which knows what values mean. Whatever could not be part of a text of `MOST_TEXT` bytes is a *stub* there: a
binary value, which nobody tells.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ExifTags, Image, TiffTags

from dalle.pictures.faults import PILLOW_FAULTS

MOST_TEXT = 16 << 10
"""Bytes of JSON that tell a picture's tags, at most."""
MOST_TAGS = 512
"""Tags of a directory that are looked at: cameras write fewer than a hundred."""
_MOST_NUMBERS = MOST_TEXT // 3
"""Numbers of all tags together: each takes three characters or more."""
_MOST_BYTES = 64 << 10
"""Of all values together, as much as a JPEG's segment holds."""
_PADDED = 1024
"""Bytes of a text from which its padding is taken off first."""

_PREFIX = b"Exif\0\0"
_HEADS = (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0")
_BIG = 43
"""The third byte of a TIFF whose offsets have 64 bits; Pillow takes none for EXIF, but for the file itself."""
_BYTE, _ASCII, _LONG, _UNDEFINED = 1, 2, 4, 7
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value, by its type; Pillow passes over other types."""
_INTEGERS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q"}
_INNER = ExifTags.IFD.Exif
_POINTERS = ("ExifOffset", "GPSInfo", "ExifInteroperabilityOffset")

_Value = tuple[int, int, bytes]
"""Type, how many, and their bytes."""
_Where = tuple[int, int, int]
"""Type, how many, and where they lie."""
_STUB: _Value = (_UNDEFINED, 1, b"\0")


def exif_of(block: bytes | None, *, is_tiff: bool = False) -> Image.Exif:
    """An EXIF block; not XMP's idea of an orientation, which viewers do not follow.

    Args:
        block: with or without the six bytes that JPEG puts before it.
        is_tiff: whether it is a whole TIFF file, whose first directory is meant.
    """
    exif = Image.Exif()
    try:
        exif.load(bounded(block or b"", is_tiff=is_tiff))
    except PILLOW_FAULTS:  # damaged EXIF is no reason to lose the picture
        return Image.Exif()
    return exif


def exif_json(exif: Image.Exif) -> str:
    """The EXIF tags as one JSON object of strings; places where it was taken and binary tags are left out.

    At most `MOST_TEXT` bytes: tags that have no room behind those whose names come first are left out as well.
    """
    tags = {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in exif.items()}
    with warnings.catch_warnings(action="ignore"):
        try:
            inner = exif.get_ifd(_INNER)
        except PILLOW_FAULTS:
            inner = {}
    tags |= {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in inner.items()}
    told: list[str] = []
    room = MOST_TEXT - len("{}")
    for name in sorted(tags.keys() - set(_POINTERS)):
        if isinstance(tags[name], bytes):
            continue
        value = str(tags[name]).strip("\0 ")
        text = f"{json.dumps(name)}: {json.dumps(value)}"
        needed = len(text) + (len(", ") if told else 0)
        if needed <= room:
            told.append(text)
            room -= needed
    return "{" + ", ".join(told) + "}"


def bounded(block: bytes, *, is_tiff: bool = False) -> bytes:
    """A block of the same tags in the same order whose values can be told, with stubs for the others.

    Returns:
        80 KiB at most, of an EXIF block's form; nothing if the bytes are none.
    """
    start = 0
    while not is_tiff and block.startswith(_PREFIX, start):
        start += len(_PREFIX)
    source = _source(block, start)
    if source is None or (source.big and not is_tiff):
        return b""
    return _packed(source.order, *source.directories())


def bytes_of_values(tiff: bytes) -> int:
    """Bytes of a TIFF file's tags together; Pillow copies them all, also those that are the same in the file."""
    source = _source(tiff, 0)
    return sum(count * SIZES[kind] for _, (kind, count, _) in source.entries(source.first, len(tiff))) if source else 0


def _source(block: bytes, start: int) -> _Source | None:
    head = block[start : start + 8]
    if len(head) < 8 or head[:4] not in _HEADS:
        return None
    return _Source(block, start, ">" if head[:2] == b"MM" else "<", head[2] == _BIG)


@dataclass
class _Source:
    """An EXIF block, or a TIFF file."""

    data: bytes
    start: int
    """Where offsets count from."""
    order: str
    big: bool
    _numbers: int = _MOST_NUMBERS
    _bytes: int = _MOST_BYTES
    """What there still is room for."""

    def directories(self) -> tuple[dict[int, _Value], dict[int, _Value] | None]:
        """The first directory's tags, and those of the one that it points to for EXIF."""
        first = dict(self.entries(self.first))
        outer = {tag: _STUB if tag == _INNER else self._value(tag, where, None) for tag, where in first.items()}
        at = self._pointer(first[_INNER]) if _INNER in first else None
        if at is None:
            return outer, None
        return outer, {tag: self._value(tag, where, _INNER) for tag, where in dict(self.entries(at)).items()}

    @property
    def first(self) -> int:
        """Where the first directory lies."""
        return self._offset(self.start + (8 if self.big else 4))

    def entries(self, at: int, most: int = MOST_TAGS) -> Iterator[tuple[int, _Where]]:
        """What each tag has, up to the first whose values lie behind the end: there Pillow stops reading as well."""
        form, step, inline = ("HHQ", 20, 8) if self.big else ("HHL", 12, 4)
        first = at + (8 if self.big else 2)
        if first > len(self.data):
            return
        there = int.from_bytes(self.data[at:first], "big" if self.order == ">" else "little")
        for entry in range(first, first + step * min(there, most), step):
            if entry + step > len(self.data):
                return
            tag, kind, count = struct.unpack_from(self.order + form, self.data, entry)
            size = count * SIZES.get(kind, 0)
            if not size:
                continue
            place = entry + step - inline
            if size > inline:
                place = self._offset(place)
            if place + size > len(self.data):
                return
            yield tag, (kind, count, place)

    def _offset(self, at: int) -> int:
        """Where what is said there lies; behind the end if nothing is said."""
        if at + (8 if self.big else 4) > len(self.data):
            return len(self.data)
        return self.start + int(struct.unpack_from(self.order + ("Q" if self.big else "L"), self.data, at)[0])

    def _pointer(self, where: _Where) -> int | None:
        kind, _, place = where
        if kind not in _INTEGERS:
            return None
        offset = int(struct.unpack_from(self.order + _INTEGERS[kind], self.data, place)[0])
        return self.start + offset if offset >= 0 else None

    def _value(self, tag: int, where: _Where, group: int | None) -> _Value:
        """What of a tag's values can be told, if there is room for it."""
        kind, count, place = where
        if kind in (_BYTE, _UNDEFINED):
            return _STUB
        if kind == _ASCII:
            text = self.data[place : place + min(count, _MOST_BYTES + 1)]
            if len(text) > _PADDED:
                text = text.strip(b"\0 ") + b" \0"
            value = _ASCII, len(text), text
            numbers, fits = 0, count <= _MOST_BYTES and len(text) <= MOST_TEXT
        else:
            if TiffTags.lookup(tag, group).length == 1:  # of several Pillow takes the first
                count = 1
            numbers, fits = count, count <= _MOST_NUMBERS
            value = kind, count, self.data[place : place + count * SIZES[kind]] if fits else b""
        if not fits or numbers > self._numbers or len(value[2]) > self._bytes:
            return _STUB
        self._numbers -= numbers
        self._bytes -= len(value[2])
        return value


def _packed(order: str, outer: dict[int, _Value], inner: dict[int, _Value] | None) -> bytes:
    """An EXIF block of these tags."""
    inner_at = 8 + _size(outer)
    if inner is not None:
        outer = outer | {_INNER: (_LONG, 1, struct.pack(order + "L", inner_at))}
    values_at = inner_at + (0 if inner is None else _size(inner))
    values = bytearray()
    packed = bytearray((b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "L", 8))
    for tags in (outer,) if inner is None else (outer, inner):
        packed += struct.pack(order + "H", len(tags))
        for tag, (kind, count, data) in tags.items():
            there = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "L", values_at + len(values))
            packed += struct.pack(order + "HHL", tag, kind, count) + there
            values += data if len(data) > 4 else b""
        packed += bytes(4)
    return bytes(packed + values)


def _size(tags: dict[int, _Value]) -> int:
    """Bytes of a directory."""
    return 2 + 12 * len(tags) + 4
