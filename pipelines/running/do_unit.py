"""Do one unit: once, wholly or not at all, whoever does it and however often it is started."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import apache_beam as beam

from pipelines.running.done_units import is_done
from pipelines.running.unit import Unit
from schemas.commands.printing import printable
from schemas.folder import Folder, Staging
from schemas.lock import only_worker
from schemas.manifest import Counts, Marker, marker_name

FAILED = "_failed"
PROGRESS = "_progress"
_NOTE_EVERY = 0.5


@dataclass(frozen=True)
class Done:
    """What a unit's work says when its files are ready."""

    counts: Counts
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More for the marker, such as bytes fetched; never compared."""


Note = Callable[[Counts], None]
"""Called from time to time with what became of a unit's rows so far."""


class Work(Protocol):
    """What a job does to a unit: picklable, and the same for the same unit."""

    def prepare(self) -> None:
        """Load what units need, once in each worker before its first unit."""
        ...

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the unit's files ready in `staging`."""
        ...


class DoUnit(beam.DoFn):
    """Do a unit that has no marker of its fingerprint; what fails leaves a note instead of a marker.

    Args:
        work: what is done to a unit.
        folder: the output folder.
        again: do also units that are done, unless the draft that `folder` is holds them already.
    """

    def __init__(self, work: Work, folder: Folder, *, again: bool = False) -> None:
        self._work = work
        self._folder = folder
        self._again = again

    def setup(self) -> None:
        """Beam calls it once in each worker."""
        self._work.prepare()

    def process(self, unit: Unit) -> Iterator[str]:
        """Give the shard's name if it is done."""
        with only_worker(self._folder, unit.shard):
            if is_done(self._folder.own if self._again else self._folder, unit) or self._try(unit):
                yield unit.shard

    def _try(self, unit: Unit) -> bool:
        note = f"{FAILED}/{unit.shard}.txt"
        try:
            self._do(unit)
        except Exception as error:  # noqa: BLE001  the border of the unit: others go on, the driver tells of this one
            with contextlib.suppress(OSError):  # on a full disk there is no room for a note either
                said = one_line(error) + "\n\n" + traceback.format_exc()
                self._folder.write(note, printable(said, keep="\n").encode())
            return False
        finally:
            _forget(self._folder, unit.shard)
        self._folder.remove(note)
        return True

    def _do(self, unit: Unit) -> None:
        begun = time.time()
        with Staging(self._folder) as staging:
            done = self._work(unit, staging, _Noter(self._folder, unit.shard))
            done.counts.check(unit.rows, f"unit {unit.shard}")
            ended = time.time()
            marker = Marker(
                shard=unit.shard,
                fingerprint=unit.fingerprint,
                counts=done.counts,
                files=tuple(staging.records),
                run={
                    "start_time": begun,
                    "end_time": ended,
                    "duration": ended - begun,
                    "host": socket.gethostname(),
                    **done.facts,
                },
            )
            commit(self._folder, staging, marker)


def commit(folder: Folder, staging: Staging, marker: Marker) -> None:
    """Put a unit's files in place. What said that an older one was whole goes first, the new marker comes last.

    The folder is no finished dataset, or a draft of one: what a manifest names is never touched.
    """
    if folder.exists(marker_name(marker.shard)):
        folder.remove(marker_name(marker.shard))
    for name in (f"{marker.shard}.tar", f"{marker.shard}.parquet"):  # an older one may have had both
        if name not in {file.name for file in marker.files}:
            folder.remove(name)
    staging.publish()
    folder.write_json(marker_name(marker.shard), marker.to_json())


def failure(folder: Folder, shard: str) -> str:
    """Why a unit failed, in one line, as far as it could say."""
    try:
        return folder.read_bytes(f"{FAILED}/{shard}.txt").decode("utf-8", "replace").partition("\n")[0]
    except FileNotFoundError:
        pass
    if folder.is_local:
        disk = os.statvfs(folder.root)
        if disk.f_bavail * disk.f_frsize < 1 << 20 or not disk.f_favail:
            return "no space left on the output's disk"
    return "it left no word; its worker was killed or lost its connection"


def one_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


class _Noter:
    """Tells the driver how far a unit is, through a small file that nobody waits for."""

    def __init__(self, folder: Folder, shard: str) -> None:
        self._path = folder.path(f"{PROGRESS}/{shard}") if folder.is_local else None
        self._next = time.monotonic() + _NOTE_EVERY

    def __call__(self, so_far: Counts) -> None:
        if self._path is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _NOTE_EVERY
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(self._path, "w") as file:
                json.dump(so_far.statuses, file)


def _forget(folder: Folder, shard: str) -> None:
    if folder.is_local:
        with contextlib.suppress(OSError):
            os.remove(folder.path(f"{PROGRESS}/{shard}"))
