"""Commands that are stopped, as by `kill -9`, at one of their steps that touch storage, and what must hold then.

A run is forked; in the child every call that changes a file system is counted, and the child ends just before the one
it is to be stopped at. Calls that only read, or only wait for the disk, leave nothing to find and are not counted.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.running import do_units
from pipelines.running.do_unit import DoUnit
from pipelines.running.unit import Unit
from schemas.folder import Folder
from schemas.lock import RUN_LOCK
from schemas.manifest import read_manifest
from schemas.opening import open_dataset
from tests import disk_store

LONGEST = 120.0
"""Seconds that a run may take."""
_CALLS = ("replace", "rename", "link", "symlink", "remove", "unlink", "rmdir", "mkdir", "truncate")
"""Of the module os."""


@dataclass(frozen=True)
class Attempt:
    """What became of a run."""

    steps: int
    """How many it took, to its end or until it was stopped."""
    stopped: bool
    error: str = ""
    """What it raised."""


def attempt(run: Callable[[], object], stop_at: int | None = None) -> Attempt:
    """Have a forked child do the run, and stop it before the step of this number, 0 or more.

    Raises:
        RuntimeError: if the child ended in a way of its own.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(run, stop_at, writing)
    os.close(writing)
    with os.fdopen(reading) as file:
        if not select.select([file], [], [], LONGEST)[0]:
            os.kill(child, signal.SIGKILL)
        said = file.read()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == -signal.SIGKILL and stop_at is not None:
        return Attempt(stop_at, stopped=True)
    if os.waitstatus_to_exitcode(status) != 0 or not said:
        raise RuntimeError(f"the run ended with {status}: {said}")
    steps, error = json.loads(said)
    return Attempt(steps, stopped=False, error=error)


def _run(run: Callable[[], object], stop_at: int | None, writing: int) -> None:
    """In the child; never returns."""
    error, steps = "", _Steps(stop_at)
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(null, stream)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        steps.watch()
        run()
    except BaseException:  # noqa: BLE001  the parent is told
        error = traceback.format_exc()
    os.write(writing, json.dumps([steps.taken, error[-4000:]]).encode())
    os._exit(0)


class _Steps:
    """Counts the steps, and kills its process before one of them."""

    def __init__(self, stop_at: int | None) -> None:
        self.taken = 0
        self._stop_at = stop_at
        self._lock = threading.Lock()
        self._inside = threading.local()

    def watch(self) -> None:
        """From now on."""
        for name in disk_store.CHANGES:
            setattr(disk_store.DiskStore, name, self._counted(getattr(disk_store.DiskStore, name)))
        for name in _CALLS:
            setattr(os, name, self._counted(getattr(os, name)))
        opens = self._counted(builtins.open)
        plain = builtins.open

        @functools.wraps(plain)
        def counting(file: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            on_disk = isinstance(file, str | os.PathLike) and set(mode) & set("wxa+")
            return (opens if on_disk else plain)(file, mode, *args, **more)

        builtins.open = counting  # type: ignore[assignment]

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(*args: Any, **more: Any) -> Any:
            if getattr(self._inside, "yes", False):  # a step of the store is one step, whatever it does to the disk
                return call(*args, **more)
            with self._lock:
                if self.taken == self._stop_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.taken += 1
            self._inside.yes = True
            try:
                return call(*args, **more)
            finally:
                self._inside.yes = False

        return counted


@dataclass(frozen=True)
class Change:
    """A command that changes a folder."""

    before: Callable[[str], object]
    """Makes what is there."""
    run: Callable[[str], object]
    goes_on: Callable[[str], object] | None = None
    """Another command that was allowed before, and must be after any stop."""


@dataclass(frozen=True)
class Place:
    """A disk, or a store."""

    protocol: str
    root: Path

    def url(self, name: str) -> str:
        """Of a folder."""
        return f"{self.protocol}{self.root / name}"

    def copy(self, old: str, new: str) -> str:
        """A folder once more."""
        shutil.rmtree(self.root / new, ignore_errors=True)
        if (self.root / old).exists():
            shutil.copytree(self.root / old, self.root / new)
        return self.url(new)

    def contents(self, name: str) -> dict[str, Any]:
        """All files of a folder: their bytes, of markers what does not tell of a run; and its empty folders."""
        found: dict[str, Any] = {}
        for where, folders, files in os.walk(self.root / name):
            inside = Path(where).relative_to(self.root / name)
            for file in (name for name in files if not name.startswith(disk_store.UNFINISHED)):
                data = b"" if file == Path(RUN_LOCK).name else (Path(where) / file).read_bytes()
                found[str(inside / file)] = (
                    _compared(json.loads(data)) if data and file.endswith("_stats.json") else data
                )
            if not folders and not files and not self.protocol:
                found[f"{inside}/"] = None
        return found

    def state(self, name: str) -> str:
        """Tells what lies in a folder from what lay there at another time; unfinished files differ in their names."""
        contents = self.contents(name).items()
        return repr(sorted((re.sub(r"\.tmp-.*", ".tmp-", file), repr(content)) for file, content in contents))


def _compared(marker: dict[str, Any]) -> dict[str, Any]:
    return {name: marker[name] for name in ("shard", "fingerprint", "counts", "files")}


def read(url: str) -> dict[str, bytes] | str:
    """All files that the dataset's manifest names, or the sentence in which it is refused."""
    folder = Folder(url)
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return str(error)
    files = {name: record for shard in manifest["shards"] for name, record in shard["files"].items()}
    files |= manifest.get("files", {})
    for name, record in files.items():
        assert record["sha256"] == folder.sha256(name), f"{name} is not the manifest's"
    return {name: folder.read_bytes(name) for name in files}


@contextlib.contextmanager
def place_of_its_own(kind: str, tmp_path: Path, patch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A disk or a store, in memory where the system allows it, for thousands of runs would wait for a disk.

    Args:
        kind: disk or store.
        tmp_path: for temporary files, which are to be gone at the end of each run.
        patch: is told where those are.
    """
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else tmp_path) as root:
        (tmp_path / "temporary").mkdir()
        patch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        yield Place("diskstore://" if kind == "store" else "", Path(root))


def stop_at_each_step(
    place: Place, change: Change, draw: random.Random, *, most: int | None = None, loses_before: bool = False
) -> tuple[int, int]:
    """The law: after a stop at any step what was whole before is whole, or what is new, or readers refuse it in one
    sentence; another command that was allowed before is allowed still; the same command goes on to the same bytes.

    Args:
        place: where.
        change: the command.
        draw: which steps are followed by another command, or by another stop.
        most: stop at so many drawn steps; by default at all.
        loses_before: the dataset has lost a file before.

    Returns:
        How many steps the command takes, and how many different states a stop in it left.
    """
    before, goes_on = place.url("before"), change.goes_on
    must(lambda: change.before(before))
    whole_before = None if loses_before else read(before)
    new = place.copy("before", "new")
    steps = attempt(lambda: change.run(new))
    assert not steps.error, steps.error
    whole_new, files_new = read(new), place.contents("new")
    assert isinstance(whole_new, dict)
    there, other, seen = place.url("there"), place.url("other"), set[str]()
    points = range(steps.steps) if most is None else sorted(draw.sample(range(steps.steps), min(most, steps.steps)))
    for step in points:
        place.copy("before", "there")
        assert attempt(lambda: change.run(there), step).stopped
        if (state := place.state("there")) in seen:  # the step did nothing, as to make a folder that is there
            continue
        seen.add(state)
        _check_whole(there, whole_before, whole_new)
        if goes_on is not None and draw.random() < 0.2 and (loses_before or read(there) == whole_before):
            place.copy("there", "other")
            must(functools.partial(goes_on, other))
            assert isinstance(read(other), dict)
        if draw.random() < 0.2:
            attempt(lambda: change.run(there), draw.randrange(steps.steps))
            _check_whole(there, whole_before, whole_new)
        must(lambda: change.run(there))
        assert files_new == place.contents("there"), f"stopped at step {step}"
    return steps.steps, len(seen)


def stop_twice(place: Place, change: Change, draw: random.Random, most: int | None = None) -> int:
    """The law, for a stop at any step of the command and another at any step of its rerun.

    Args:
        place: where.
        change: the command.
        draw: which steps are stopped at, unless all are.
        most: so many drawn steps of the command, and of each rerun; by default all.

    Returns:
        How many pairs were stopped at.
    """
    must(lambda: change.before(place.url("before")))
    whole_before = read(place.url("before"))
    new = place.copy("before", "new")
    steps = attempt(lambda: change.run(new)).steps
    whole_new, files_new, seen = read(new), place.contents("new"), set[str]()
    assert isinstance(whole_new, dict)
    there, again, pairs = place.url("there"), place.url("again"), 0

    def some(count: int) -> list[int]:
        return list(range(count)) if most is None else sorted(draw.sample(range(count), min(most, count)))

    for first in some(steps):
        place.copy("before", "there")
        assert attempt(lambda: change.run(there), first).stopped
        if (state := place.state("there")) in seen:
            continue
        seen.add(state)
        place.copy("there", "again")
        for second in some(attempt(lambda: change.run(again)).steps):
            pairs += 1
            place.copy("there", "again")
            assert attempt(lambda: change.run(again), second).stopped
            if (state := place.state("again")) in seen:  # as after one stop, or after other two
                continue
            seen.add(state)
            _check_whole(again, whole_before, whole_new)
            must(lambda: change.run(again))
            assert files_new == place.contents("again"), f"stopped at step {first}, and the rerun at {second}"
    return pairs


def must(run: Callable[[], object]) -> None:
    """Have a forked child do the run to its end."""
    error = attempt(run).error
    assert not error, error


def units_are_done_here(patch: pytest.MonkeyPatch) -> None:
    """Without Beam, one after the other, in this process."""

    def here(do_unit: DoUnit, todo: list[Unit], *_: object) -> None:
        do_unit.setup()
        for unit in todo:
            list(do_unit.process(unit))

    patch.setattr(do_units, "in_beam", here)
    patch.setattr(do_units, "progress", lambda *_, **_said: contextlib.nullcontext())


def _check_whole(url: str, before: dict[str, bytes] | str | None, new: dict[str, bytes]) -> None:
    if before is None:
        return
    now = read(url)
    if isinstance(now, dict):
        assert now in (before, new)
        return
    if isinstance(before, dict) or "is not all in place yet" in now:
        assert "is not all in place yet" in now, now
        must(lambda: open_dataset(Folder(url)))  # who reads it next puts it in place
        assert new == read(url)
    else:
        assert "so it is not a finished dataset" in now, now
