"""Show how far a job is: one live bar on a terminal, a plain line now and then elsewhere.

The pipeline may run anywhere, so what is shown is read off the output folder: finished units from their markers,
running ones from the small notes that local workers leave.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.running.do_unit import PROGRESS
from pipelines.running.unit import Unit
from schemas.commands.console import console
from schemas.commands.printing import trusted
from schemas.folder import Folder
from schemas.manifest import Counts, Marker, marker_name

_LOOK_EVERY = 0.5
_LOOK_EVERY_REMOTELY = 10.0
_LINE_EVERY = 10.0
_GOODBYE = 2.0


@contextlib.contextmanager
def progress(folder: Folder, todo: Sequence[Unit], what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show progress on these units while the block runs; if it is to be quiet, only on a terminal."""
    if quiet and not trusted(sys.stderr).isatty():
        yield
        return
    watch = _Watch(folder, todo)
    ended = threading.Event()
    show = _bar if trusted(sys.stderr).isatty() else _lines
    thread = threading.Thread(target=show, args=(watch, what, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_GOODBYE)  # it may be asking a store that does not answer


class _Watch:
    """Counts kept, refused and failed rows of units as they appear in the folder."""

    def __init__(self, folder: Folder, todo: Sequence[Unit]) -> None:
        self.rows = sum(unit.rows for unit in todo)
        self.every = _LOOK_EVERY if folder.is_local else _LOOK_EVERY_REMOTELY
        self._folder = folder
        self._old = {marker_name(u.shard): u for u in todo}
        self._before = {n: self._stamp(n) for n in self._names() if n in self._old}
        self._done: dict[str, Counts] = {}

    def look(self) -> Counts:
        """What became of the rows so far."""
        for name in self._names():
            unit = self._old.get(name)
            if unit is None or unit.shard in self._done or self._stamp(name) == self._before.get(name):
                continue
            with contextlib.suppress(Exception):
                self._done[unit.shard] = Marker.read(self._folder, unit.shard).counts
        return sum([*self._done.values(), *self._running()], Counts())

    def _names(self) -> list[str]:
        try:
            return self._folder.names()
        except Exception:  # noqa: BLE001  a store that fails now is asked again soon; nobody waits for this answer
            return []

    def _stamp(self, name: str) -> object:
        """Tells a marker that is being replaced from the new one."""
        with contextlib.suppress(Exception):
            info = self._folder.fs.info(self._folder.path(name))
            return info.get("mtime") or info.get("LastModified") or info.get("ino")
        return None

    def _running(self) -> Iterator[Counts]:
        if not self._folder.is_local:
            return
        for shard in self._folder.names(PROGRESS):
            if shard not in self._done:
                with contextlib.suppress(OSError, ValueError):
                    yield Counts(Counter(self._folder.read_json(f"{PROGRESS}/{shard}")))


def _bar(watch: _Watch, what: str, ended: threading.Event) -> None:
    counts = "kept {task.fields[kept]:,}  refused {task.fields[refused]:,}  failed {task.fields[failed]:,}"
    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  " + counts + "  {task.fields[rate]:,.0f} rows/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as bars:
        task = bars.add_task(what, total=watch.rows, kept=0, refused=0, failed=0, rate=0.0)
        begun = time.monotonic()
        while not ended.wait(watch.every):
            _show(bars, task, watch, begun)
        _show(bars, task, watch, begun)


def _show(bars: Progress, task: TaskID, watch: _Watch, begun: float) -> None:
    seen = watch.look()
    rate = seen.rows / max(time.monotonic() - begun, 1e-9)
    bars.update(task, completed=seen.rows, kept=seen.kept, refused=seen.refused, failed=seen.failed, rate=rate)


def _lines(watch: _Watch, what: str, ended: threading.Event) -> None:
    begun = time.monotonic()
    while not ended.wait(_LINE_EVERY):
        seen = watch.look()
        rate = seen.rows / (time.monotonic() - begun)
        left = f", about {(watch.rows - seen.rows) / rate:,.0f} s left" if seen.rows else ""
        print(
            f"{what}: {seen.rows:,} of {watch.rows:,} rows, kept {seen.kept:,}, refused {seen.refused:,}, "
            f"failed {seen.failed:,}, {rate:,.0f} rows/s{left}",
            file=sys.stderr,
            flush=True,
        )
