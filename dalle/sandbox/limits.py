"""What a worker may take: memory, counted from what it has when it begins, and processor time for each item."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_ROOM = 1 << 28
"""Bytes of addresses, beyond those of the data, for stacks and heaps that are reserved and not used."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """For one worker."""

    memory: int
    """Bytes beyond what it has when it begins."""
    seconds: float
    """Of the processor's time, for one item."""


def confine(limits: Limits) -> None:
    """Let this process have no more memory than that, dump no core, and die with its parent. Where Linux is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    has = _memory()
    for limit, now, room in ((resource.RLIMIT_DATA, has["VmData"], 0), (resource.RLIMIT_AS, has["VmSize"], _ROOM)):
        _, hard = resource.getrlimit(limit)
        wanted = now + limits.memory + room
        resource.setrlimit(limit, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def allow_time(seconds: float) -> None:
    """From now on the process may take so many seconds of processor time, then SIGPROF ends it; 0 is no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def processor_time(pid: int) -> float | None:
    """Seconds that a process has taken; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory() -> dict[str, int]:
    """Bytes, by the kernel's names."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.partition(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.endswith(" kB")}
