"""One run at a time in a dataset's folder, and one worker at a time on a unit of it.

On a local (or network) disk the kernel's file locks do it: they end with the process that holds them, however it
ends. An object store has no such thing; there a small object says who is at work and is renewed while they are. It
counts for nothing once it was not renewed for three minutes, or at once where its process can be seen to be gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from schemas.folder import Folder
from schemas.uploads import put_note

LOCKS = "_locks"
RUN_LOCK = f"{LOCKS}/run.lock"
_RENEW_AFTER = 30.0
_STALE_AFTER = 180.0


class FolderInUse(RuntimeError):
    """Another run is at work in the folder."""


@contextlib.contextmanager
def only_run(folder: Folder) -> Iterator[None]:
    """Hold the folder for one run.

    Raises:
        FolderInUse: if another run holds it.
    """
    with _held_locally(folder, RUN_LOCK, wait=False) if folder.is_local else _held_remotely(folder):
        try:
            yield
        finally:
            folder.remove_tree(LOCKS)


@contextlib.contextmanager
def only_worker(folder: Folder, unit: str) -> Iterator[None]:
    """Hold one unit of a local folder; waits for a worker that a killed run left behind.

    Nothing on an object store: there two workers on one unit are told apart by the marker, which is put last.
    """
    if not folder.is_local:
        yield
        return
    with _held_locally(folder, f"{LOCKS}/{unit}.lock", wait=True):
        yield


@contextlib.contextmanager
def _held_locally(folder: Folder, name: str, *, wait: bool) -> Iterator[None]:
    path = folder.path(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with FileLock(path, timeout=-1 if wait else 0):
            yield
    except Timeout:
        raise FolderInUse(
            f"{folder}: another run is at work in this folder; wait for it to end or give another --output_folder"
        ) from None


@contextlib.contextmanager
def _held_remotely(folder: Folder) -> Iterator[None]:
    mine = uuid.uuid4().hex
    who = f"process {os.getpid()} on {socket.gethostname()}"

    def put(**mode: Any) -> None:
        note = json.dumps({"run": mine, "who": who, "time": time.time(), "process": _this_process()})
        put_note(folder.fs, folder.path(RUN_LOCK), note.encode(), **mode)

    with contextlib.suppress(FileNotFoundError):
        note = folder.read_json(RUN_LOCK)
        age = time.time() - float(note["time"])
        if age < _STALE_AFTER and not _is_gone(note.get("process")):
            raise FolderInUse(
                f"{folder}: {note['who']} is at work in this folder (seen {age:.0f} s ago); wait for it to end, or "
                f"{_STALE_AFTER:.0f} s if it was killed, or give another --output_folder"
            )
        folder.remove(RUN_LOCK)
    with contextlib.suppress(FileExistsError):  # perhaps our own, put by a request whose answer was lost
        put(mode="create")
    if folder.read_json(RUN_LOCK)["run"] != mine:
        raise FolderInUse(f"{folder}: another run took this folder at the same moment; start again when it ends")
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_RENEW_AFTER):
            with contextlib.suppress(Exception):  # whatever ails the store: half a minute later is soon enough
                put()

    renewing = threading.Thread(target=renew, name="renew-lock", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()


def _this_process() -> list[Any] | None:
    """What tells this process from any other that runs or ran on any machine; None where the system does not say."""
    return _process(os.getpid())


def _process(pid: int) -> list[Any] | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.stat("/proc/self/ns/pid").st_ino  # numbers of processes mean something only in here
        return [boot, space, pid, psutil.Process(pid).create_time()]
    except (OSError, psutil.Error):
        return None


def _is_gone(process: list[Any] | None) -> bool:
    """Whether a process that took the lock is known to have ended: only one of this machine can be."""
    here = _this_process()
    if not process or not here or process[:2] != here[:2]:
        return False
    return _process(process[2]) != process
