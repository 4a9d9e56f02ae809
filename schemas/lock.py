"""One run at a time in a dataset's folder, and one worker at a time on a unit of it.

On a local (or network) disk the kernel's file locks do it: they end with the process that holds them, however it
ends. An object store has no such thing; there a small object says who is at work and is renewed while they are. It
counts for nothing once it was not renewed for three minutes, or at once where its process can be seen to be gone; and
since the one who is not heard of may only have been paused, what a run changes in a store it changes under a condition
(`schemas.claim`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

import psutil
from filelock import FileLock, Timeout

from schemas.claim import Claim, TakenOver
from schemas.conditions import Changed, Condition
from schemas.folder import Folder
from schemas.objects import objects_of
from schemas.shapes import COUNT, INSIDE, NUMBER, TEXT, TRUTH, Kind, Shape, misfit, or_none, whole

LOCKS = "_locks"
RUN_LOCK = f"{LOCKS}/run.lock"
_RENEW_AFTER = 30.0
_STALE_AFTER = 180.0


class _Note(TypedDict):
    """The small object that says who is at work in a store's folder."""

    run: str
    """Tells the run from all others."""
    who: str
    """For people."""
    time: float
    """When it was put, in seconds since 1970."""
    process: list[Any] | None
    """As `_this_process` gives it."""
    released: bool
    """Whether the run has ended."""
    publishes: str | None
    """The journal of the change that is being put in place."""


_NOTE: Mapping[str, Shape] = {
    "run": TEXT,
    "who": TEXT,
    "time": NUMBER,
    "process": or_none(Kind("boot, namespace, number and start of a process", lambda value: _is_process(value))),
    "released": TRUTH,
    "publishes": or_none(INSIDE),
}


class FolderInUse(RuntimeError):
    """Another run is at work in the folder."""


@contextlib.contextmanager
def only_run(folder: Folder) -> Iterator[Folder]:
    """Hold the folder for one run; gives the folder to work with.

    Raises:
        FolderInUse: if another run holds it.
        TakenOver: if another run took it over because this one was not heard of for too long.
    """
    if not folder.is_local:
        with _held_remotely(folder) as lock:
            yield folder.claimed(Claim.taken(lock, folder.etags))
        return
    with _held_locally(folder, RUN_LOCK, wait=False):
        try:
            yield folder
        finally:
            folder.remove_tree(LOCKS)


def publishes(folder: Folder) -> str | None:
    """The journal of the change that is just being put in place in a store's folder, or was when its run was killed."""
    if folder.claim is not None and folder.claim.lock is not None:
        return folder.claim.lock.publishes
    try:
        return _read_note(folder)["publishes"]
    except FileNotFoundError:
        return None


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
def _held_remotely(folder: Folder) -> Iterator[_Lock]:
    """A note in the store that says who is at work.

    It is put, renewed, taken over and in the end given back under the condition that nobody else has changed it, and it
    is never deleted: so of two that take it at the same moment one is refused, and whoever lost it learns of it.
    """
    lock = _Lock(folder)
    lock.take()
    renewing = threading.Thread(target=lock.renew_until_ended, name="renew-lock", daemon=True)
    renewing.start()
    try:
        yield lock
    except BaseException:
        with contextlib.suppress(Exception):  # what was raised is what the user should know
            lock.release_when_renewed(renewing)
        lock.check()  # unless it was raised because the folder is lost
        raise
    lock.release_when_renewed(renewing)
    lock.check()


def _read_note(folder: Folder) -> _Note:
    """Who is at work in a store's folder, or was.

    Raises:
        ValueError: if it was tampered with.
    """
    note = folder.read_json(RUN_LOCK)
    if fault := misfit(note, _NOTE):
        raise ValueError(
            f"{folder.path(RUN_LOCK)}: was damaged after writing ({fault}); delete it if no run is at work here"
        )
    return cast(_Note, note)


class _Lock:
    """The note of a run in a store's folder."""

    def __init__(self, folder: Folder) -> None:
        self.run = uuid.uuid4().hex
        self.ended = threading.Event()
        self.publishes: str | None = None
        self._folder = folder
        self._path = folder.path(RUN_LOCK)
        self._objects = objects_of(folder.fs)
        self._tag: str | None = None
        self._lost = False
        self._one_at_a_time = threading.Lock()

    def take(self) -> None:
        """Take the folder.

        Raises:
            FolderInUse: if another run has it.
        """
        self._tag = self._objects.etag(self._path)
        if self._tag is not None:
            note = _read_note(self._folder)
            self._check_free(note)
            self.publishes = note["publishes"]  # what the run before had begun to put in place
        try:
            self._put(released=False)
        except Changed:
            raise FolderInUse(
                f"{self._folder}: another run took this folder at the same moment; start again when it ends"
            ) from None

    def renew_until_ended(self) -> None:
        """Say from time to time that the run is still there; end it when the folder is not its own any more."""
        while not self.ended.wait(_RENEW_AFTER):
            try:
                self._put(released=False)
            except Changed:
                self._lost = True
                os.kill(os.getpid(), signal.SIGINT)
                return
            except Exception:  # noqa: BLE001, S112  whatever ails the store: half a minute later is soon enough
                continue

    def release_when_renewed(self, renewing: threading.Thread) -> None:
        """Have the renewing end, then say that the run has."""
        self.ended.set()
        renewing.join()
        try:
            self._put(released=True)
        except Changed:
            self._lost = True

    def publish(self, journal: str | None) -> None:
        """As `schemas.claim.Lock` says: of this and another run that takes the folder over, one is refused."""
        self.publishes = journal
        try:
            self._put(released=False)
        except Changed:
            self._lost = True
        self.check()

    def check(self) -> None:
        """Check that the folder was not taken over, as far as it is known.

        Raises:
            TakenOver: if it was.
        """
        if self._lost:
            raise TakenOver(
                f"{self._folder}: this run was not heard of for {_STALE_AFTER:.0f} s and another took the folder over; "
                "the same command goes on when that has ended"
            )

    def _put(self, *, released: bool) -> None:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        note: _Note = {
            "run": self.run,
            "who": who,
            "time": time.time(),
            "process": _this_process(),
            "released": released,
            "publishes": self.publishes,
        }
        with self._one_at_a_time:
            self._tag = self._objects.put(self._path, json.dumps(note).encode(), Condition(self._tag, self.run))

    def _check_free(self, note: _Note) -> None:
        age = time.time() - note["time"]
        if not note["released"] and age < _STALE_AFTER and not _is_gone(note["process"]):
            raise FolderInUse(
                f"{self._folder}: {note['who']} is at work in this folder (seen {age:.0f} s ago); wait for it to end, "
                f"or {_STALE_AFTER:.0f} s if it was killed, or give another --output_folder"
            )


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


def _is_process(value: Any) -> bool:
    """Whether a value is like what `_process` gives."""
    kinds = (TEXT, COUNT, whole(1, 2**31 - 1), NUMBER)
    return (
        isinstance(value, list)
        and len(value) == len(kinds)
        and all(kind.fits(each) for kind, each in zip(kinds, value, strict=True))
    )


def _is_gone(process: list[Any] | None) -> bool:
    """Whether a process that took the lock is known to have ended: only one of this machine can be."""
    here = _this_process()
    if not process or not here or process[:2] != here[:2]:
        return False
    return _process(process[2]) != process
