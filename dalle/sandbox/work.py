"""The worker's side, and how both sides speak: short messages through a socket, bytes through shared memory.

A batch's memory holds, one behind the other: the number of the item that is being worked on, 8 bytes; the items; the
answers, each as JSON and bytes. Messages say how long each is. What comes back is never unpickled: a worker that was
taken over by an item can give wrong answers, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from dalle.sandbox.limits import Limits, allow_time, confine

Function = Callable[[bytes], tuple[Any, bytes | memoryview]]
"""What is done to an item: gives what JSON can say, and bytes."""

SLOTS = 2
"""Batches that a worker has at once: one that it is at, and one that waits."""
OUT_OF_MEMORY = 77
"""Exit code of a worker that had too little memory for an item."""
LOAD, DO, TROUBLE = b"L", b"D", b"E"
"""What messages begin with: a function, a batch or its answers, what is wrong with the worker itself."""
_LARGE = 1 << 20
"""Bytes of an answer that is not held until the batch is done."""
_TURN = struct.Struct("<q")
NOBODYS = -1
"""Turn, before the first item and behind the last."""


def serve(line: Connection, slots: Sequence[int], limits: Limits) -> NoReturn:
    """Answer batches until the other side is gone."""
    try:
        confine(limits)
        function: Function | None = None
        while True:
            message = line.recv_bytes()
            if message[:1] == LOAD:
                function = pickle.loads(message[1:])  # noqa: S301  what our own parent sends
                continue
            assert function is not None
            slot, sizes = unpack_sizes(message)
            line.send_bytes(pack_sizes(slot, _do(function, slots[slot], sizes, limits.seconds)))
    except EOFError:
        os._exit(0)
    except MemoryError:  # for an item itself, or for what was made of it
        os._exit(OUT_OF_MEMORY)
    except BaseException as error:  # noqa: BLE001  nothing of this process may go on; the other side tells of it
        with contextlib.suppress(OSError):
            line.send_bytes(TROUBLE + f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
        os._exit(1)


def _do(function: Function, memory: int, sizes: Sequence[int], seconds: float) -> list[int]:
    """Answer a batch; gives the sizes of the answers."""
    at, end = _TURN.size, _TURN.size + sum(sizes)
    answers: list[int] = []
    waiting: list[bytes | memoryview] = []
    for number, size in enumerate(sizes):
        os.pwrite(memory, _TURN.pack(number), 0)
        data = read(memory, size, at)
        at += size
        allow_time(seconds)
        begun = time.process_time()
        result: bytes | memoryview = b""
        try:
            value, result = function(data)
            told = [value, None, time.process_time() - begun]
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:  # noqa: BLE001  whatever it is, it comes of the item
            told = [None, f"{type(error).__name__}: {error}", time.process_time() - begun]
        head = json.dumps(told).encode()
        waiting += [head, result]
        answers += [len(head), len(result)]
        if number == len(sizes) - 1 or len(result) > _LARGE:
            write(memory, waiting, end)
            end += sum(map(len, waiting))
            waiting = []
    os.pwrite(memory, _TURN.pack(NOBODYS), 0)
    allow_time(0)
    return answers


def pack_sizes(slot: int, sizes: Sequence[int]) -> bytes:
    """A message: where the batch lies, and how long its parts are."""
    return DO + struct.pack(f"<B{len(sizes)}Q", slot, *sizes)


def unpack_sizes(message: bytes) -> tuple[int, tuple[int, ...]]:
    """The same, back."""
    slot, *sizes = struct.unpack(f"<B{(len(message) - 2) // 8}Q", message[1:])
    return slot, tuple(sizes)


def put_items(memory: int, items: Sequence[bytes]) -> None:
    """Write a batch."""
    write(memory, (_TURN.pack(NOBODYS), *items), 0)


def take_answers(memory: int, items: Sequence[bytes], sizes: Sequence[int]) -> list[tuple[list[Any], bytes]]:
    """Read the answers to a batch."""
    at = _TURN.size + sum(map(len, items))
    answers = []
    for head, result in zip(sizes[::2], sizes[1::2], strict=True):
        answers.append((json.loads(read(memory, head, at)), read(memory, result, at + head)))
        at += head + result
    return answers


def turn(memory: int) -> int:
    """The number of the item that the worker is at, or was."""
    return int(_TURN.unpack(read(memory, _TURN.size, 0))[0])


def read(memory: int, size: int, at: int) -> bytes:
    """So many bytes; the system gives at most two gigabytes at once."""
    data = os.pread(memory, size, at)
    if len(data) == size:
        return data
    parts = [data]
    while (so_far := sum(map(len, parts))) < size:
        if not (part := os.pread(memory, size - so_far, at + so_far)):
            raise OSError(f"shared memory ends after {so_far} of {size} bytes")
        parts.append(part)
    return b"".join(parts)


def write(memory: int, parts: Sequence[bytes | memoryview], at: int) -> None:
    """The parts, one behind the other."""
    wanted = sum(map(len, parts))
    written = os.pwritev(memory, parts, at)
    if written < wanted:
        rest = memoryview(b"".join(parts))
        while written < wanted:
            written += os.pwrite(memory, rest[written:], at + written)
