"""What the tests have workers do: importable by name, because workers may be new interpreters."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any


def backwards(data: bytes) -> tuple[Any, bytes]:
    """The bytes from last to first, and how many; some items ask for something worse."""
    word, _, rest = data.partition(b":")
    match word:
        case b"segfault":
            ctypes.string_at(0)
        case b"abort":
            os.abort()
        case b"exit":
            os._exit(3)
        case b"kill":
            os.kill(os.getpid(), 9)
        case b"killed once":
            mark = Path(os.fsdecode(rest))
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), 9)
        case b"crash once":
            mark = Path(os.fsdecode(rest))
            if not mark.exists():
                mark.touch()
                os.abort()
        case b"memory":
            bytearray(int(rest))
        case b"pages":
            hold = []
            while True:
                hold.append(bytearray(16 << 20))
        case b"spin":
            while True:
                pass
        case b"sleep":
            time.sleep(float(rest))
        case b"raise":
            raise TypeError(os.fsdecode(rest))
        case b"leave":
            os.environ["LEFT"] = "1"  # for who comes after it in the same worker
    return {"bytes": len(data), "after": os.environ.get("LEFT", "")}, data[::-1]


def process(_data: bytes) -> tuple[Any, bytes]:
    """Who works on it."""
    return [os.getpid(), os.getppid()], b""
