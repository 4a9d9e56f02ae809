"""One run at a time in a folder, one worker at a time on a unit; a dead holder holds nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import fsspec
import pytest

from schemas.folder import Folder
from schemas.lock import FolderInUse, only_run, only_worker


def _hold(url: str, unit: str | None, tell: Connection) -> None:
    folder = Folder(url)
    with only_worker(folder, unit) if unit else only_run(folder):
        tell.send("held")
        tell.recv()


def _held_elsewhere(url: object, unit: str | None = None) -> tuple[multiprocessing.Process, Connection]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(url), unit, there))
    holder.start()
    assert "held" == here.recv()
    return holder, here


def test_second_run_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    """A second run fails in one sentence; after kill -9 of the first the folder is free at once."""
    holder, _ = _held_elsewhere(tmp_path)
    with pytest.raises(FolderInUse, match="another run is at work in this folder"), only_run(Folder(tmp_path)):
        pass
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    with only_run(Folder(tmp_path)):
        pass


def test_worker_waits_for_the_one_before(tmp_path: Path) -> None:
    """Two workers on a unit take turns."""
    holder, tell = _held_elsewhere(tmp_path, "00003")
    order = []
    import threading

    def second() -> None:
        with only_worker(Folder(tmp_path), "00003"):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    order.append("first ends")
    tell.send("go")
    waiting.join(10)
    holder.join()
    assert ["first ends", "second"] == order


def test_other_units_are_free(tmp_path: Path) -> None:
    """A worker on one unit does not hold up another's."""
    with only_worker(Folder(tmp_path), "00001"), only_worker(Folder(tmp_path), "00002"):
        pass


def test_object_store_has_a_lock_of_its_own() -> None:
    """Where the kernel has no locks, a note with an age does it; it goes when the run ends."""
    fsspec.filesystem("memory").store.clear()
    folder = Folder("memory://bucket/locked")
    with only_run(folder):
        with pytest.raises(FolderInUse, match=r"process \d+ on .* is at work"), only_run(folder):
            pass
    with only_run(folder):
        pass
