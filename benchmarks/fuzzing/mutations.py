"""Damage: bytes changed, cut out, doubled, moved and overwritten with numbers that programs stumble over."""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    10**30,
    "",
    "../../x",
    "/etc/passwd",
    "\ud800",
    [],
    {},
    [[]],
    {"x": [1]},
)
_NAME = 40
"""Bytes at most that stand before JSON, the name of its file."""
_WIDTHS = (1, 2, 4, 8)
_PNG = b"\x89PNG\r\n\x1a\n"


def mutated(seed: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """One to eight changes; `other` is another seed, pieces of which may come in."""
    start = seed.find(b"{")
    if 0 <= start < _NAME and seed.endswith(b"}") and rng.random() < 0.8:  # most bytes of JSON are what makes it JSON
        return seed[:start] + _json_mutated(seed[start:], rng)
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        rng.choice(_WAYS)(data, rng, other)
    if data.startswith(_PNG) and rng.random() < 0.8:
        data = _with_right_sums(data)
    return bytes(data)


def _json_mutated(data: bytes, rng: random.Random) -> bytes:
    """One to three places with another value or another name, or without; still JSON."""
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holders = list(_holders(value))
        if not holders:
            break
        holder = rng.choice(holders)
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        old = holder[key]
        match rng.randrange(4):
            case 0 if isinstance(holder, dict):
                holder[rng.choice((f"{key}x", "../x", "", "\ud800"))] = holder.pop(key)
            case 0 | 1:
                del holder[key]
            case 2 if isinstance(old, int) and not isinstance(old, bool):
                holder[key] = old + rng.choice((-old, -1, 1, 2**31, -(2**63)))
            case 2 if isinstance(old, str) and old:
                at = rng.randrange(len(old))
                holder[key] = old[:at] + rng.choice(("", "/", "..", "\0", "\u202e", "x" * 300)) + old[at + 1 :]
            case _:
                holder[key] = copy.deepcopy(rng.choice(_VALUES))
    return json.dumps(value).encode()


def _holders(value: Any) -> Iterator[Any]:
    """Objects and lists that hold something, from the outside in."""
    if isinstance(value, (dict, list)) and value:
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _holders(each)


def _flip(data: bytearray, rng: random.Random, _other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random, _other: bytes) -> None:
    if data:
        data[min(_place(data, rng), len(data) - 1)] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))


def _number(data: bytearray, rng: random.Random, _other: bytes) -> None:
    width = rng.choice(_WIDTHS)
    value = rng.choice((*_NUMBERS, len(data), len(data) + 1, rng.getrandbits(64))) & ((1 << 8 * width) - 1)
    at = _place(data, rng)
    data[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))


def _cut(data: bytearray, rng: random.Random, _other: bytes) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, rng.randrange(1, 64), len(data)))]


def _double(data: bytearray, rng: random.Random, _other: bytes) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + rng.randrange(1, 64)] * rng.choice((1, 1, 2, 50))


def _move(data: bytearray, rng: random.Random, _other: bytes) -> None:
    size, start, end = rng.randrange(1, 32), _place(data, rng), _place(data, rng)
    data[end : end + size] = data[start : start + size]


def _insert(data: bytearray, rng: random.Random, _other: bytes) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.randrange(1, 16))


def _splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, start = _place(data, rng), rng.randrange(len(other) + 1)
    piece = other[start : start + rng.choice((8, 32, 256))]
    data[at : at + len(piece) * rng.randrange(2)] = piece


def _place(data: bytearray, rng: random.Random) -> int:
    """Anywhere; every other time in the first hundred bytes, where headers are."""
    return rng.randrange(min(len(data), 100 if rng.random() < 0.5 else len(data)) + 1) if data else 0


_WAYS: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    *(_flip, _flip, _flip, _set, _set, _number, _number, _number, _cut, _double, _move, _insert, _splice),
)


def _with_right_sums(data: bytearray) -> bytearray:
    """With the sums that a PNG's chunks should have, without which no reader would look into them."""
    at = len(_PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if at + 12 + size > len(data):
            break
        data[at + 8 + size : at + 12 + size] = struct.pack(">I", zlib.crc32(bytes(data[at + 4 : at + 8 + size])))
        at += 12 + size
    return data
