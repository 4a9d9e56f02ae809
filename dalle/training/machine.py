"""Settings of a process that trains on a processor; made before torch is imported, or most of them do nothing.

A step asks for the same large blocks of memory again and again. By default glibc gives those above 32 MiB back to the
system each time, which then clears every page of them anew; and threads of OpenMP that have nothing to do spin for
milliseconds, while the attention's own threads want their cores. What a person has set stays.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of malloc.h
_LARGE, _MANY = 1 << 20, 1 << 16

ENVIRONMENT = {
    "GOMP_SPINCOUNT": "10000",  # a fraction of a millisecond; the default are several
    "THP_MEM_ALLOC_ENABLE": "1",  # torch asks for pages of 2 MiB
}
"""Variables that libraries read when they are loaded."""


def prepare() -> None:
    """Keep memory that was freed for what is asked for next, in large pages, and let threads sleep soon."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _tell_malloc({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1})


def give_back() -> None:
    """Give memory of a megabyte and more back when it is freed: where memory is scarcer than time.

    Weights that are gathered and dropped come in other sizes and another order each time: of what is kept for them half
    would lie free, in pieces that are too small.
    """
    _tell_malloc({_M_MMAP_MAX: _MANY, _M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: _LARGE})


def _tell_malloc(settings: Mapping[int, int]) -> None:
    """Nothing where a person has set something, or the C library is another than glibc."""
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in settings.items():
            mallopt(name, value)
