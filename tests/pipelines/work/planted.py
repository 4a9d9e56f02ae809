"""`pipelines.ingest` with decoders that are made to fail at pictures of some widths: what no library does on demand.

    python -m tests.pipelines.work.planted FLAGS

Workers are forked from this process, and what they decode in from them, so that all have the planted faults.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from dalle.pictures import apart
from dalle.pictures.formats import bmp
from dalle.pictures.pixels import Pixels
from pipelines.ingest import main

SEGFAULT, ABORT, MEMORY, SPIN, UNFORESEEN, ONCE = 13, 17, 19, 23, 29, 31
"""Widths of pictures."""

_real = bmp.Bmp.pixels


def _planted(self: bmp.Bmp, at_least: int) -> tuple[Pixels, bytes | None]:
    match self.header.width:
        case 13:
            ctypes.string_at(0)
        case 17:
            os.abort()
        case 19:
            bytearray(1 << 40)
        case 23:
            while True:
                pass
        case 29:
            raise KeyError("nobody foresaw\x1b[31m this\ud800")
        case 31:  # a worker that is in trouble for another reason
            mark = Path(os.environ["MARKS"]) / f"{self.header.height}"
            if not mark.exists():
                mark.touch()
                os.abort()
    return _real(self, at_least)


if __name__ == "__main__":
    bmp.Bmp.pixels = _planted  # type: ignore[method-assign]
    apart._SECONDS = 0.3  # type: ignore[assignment]
    sys.exit(main())
