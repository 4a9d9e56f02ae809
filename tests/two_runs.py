"""Two runs in one folder of a store, in all ways in which their requests can fall between each other's.

Each run may be paused before any of its requests for longer than its lock counts, so that the other takes the folder
over, and go on later as if nothing had been. The explorer enumerates the schedules: who goes first, and before which
requests it changes. No run may overwrite or delete what the other has put since it began; what was published stays
whole; and a last run on its own finds one dataset.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem

from schemas import folder as folders
from schemas import journal, objects
from schemas import lock as locks
from schemas.claim import TakenOver
from schemas.conditions import Changed, Condition, Source
from schemas.draft import Draft
from schemas.folder import RECIPE, Folder
from schemas.journal import is_between, put_in_place, put_last
from schemas.lock import RUN_LOCK, FolderInUse, only_run
from schemas.opening import settle

MANIFEST = "manifest.json"


class _Halted(BaseException):
    """The schedule is at its end; the run stays paused for ever."""


@dataclass
class Version:
    """An object as it was put once."""

    content: bytes
    number: int
    by: str
    """The run, as the model names it: "a", "b", …"""


@dataclass
class Model:
    """The store's objects, the clock, and the baton that one run has at a time."""

    there: dict[str, Version] = field(default_factory=dict)
    requests: int = 0
    clock: float = 0.0
    faults: list[str] = field(default_factory=list)
    began: dict[str, int] = field(default_factory=dict)
    """By run how many requests there were when it looked what lies there, with the lock in its hands."""
    baton: Baton | None = None

    def request(self) -> None:
        """Before each request: the run may be paused here."""
        if self.baton is not None:
            self.baton.pause()
        self.requests += 1

    def put(self, path: str, content: bytes) -> Version:
        """In one step; notes a fault if another run's work is overwritten that this run cannot have seen."""
        self._judge(path, "overwrites")
        self.there[path] = Version(content, self.requests, me())
        return self.there[path]

    def delete(self, path: str) -> None:
        """In one step."""
        self._judge(path, "deletes")
        del self.there[path]

    def _judge(self, path: str, does: str) -> None:
        before = self.there.get(path)
        if before is None or before.by == me() or path.endswith(RUN_LOCK) or "/_" in path.removeprefix("/out/_next"):
            return
        if before.number > self.began.get(me(), 0):
            self.faults.append(f"{me()} {does} {path} of {before.by}")


MODEL = Model()


def me() -> str:
    """The run that is at work."""
    return threading.current_thread().name


class ModelStore(AbstractFileSystem):
    """`model:///out`."""

    protocol = "model"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return "/" + str(path).removeprefix("model://").strip("/")

    def info(self, path: str, **_: Any) -> Any:
        MODEL.request()
        path = self._strip_protocol(path)
        if path in MODEL.there:
            return self._entry(path)
        if any(name.startswith(f"{path}/") for name in MODEL.there):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        MODEL.request()
        path = self._strip_protocol(path)
        below = sorted(name for name in MODEL.there if name.startswith(f"{path}/"))
        if not below:
            raise FileNotFoundError(path)
        entries = {}
        for name in below:
            first, _, rest = name.removeprefix(f"{path}/").partition("/")
            child = f"{path}/{first}"
            entries[child] = {"name": child, "size": 0, "type": "directory"} if rest else self._entry(child)
        return list(entries.values()) if detail else list(entries)

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **_: Any) -> Any:
        MODEL.request()
        path = self._strip_protocol(path)
        if path == "/out":
            MODEL.began[me()] = MODEL.requests
        below = {name: self._entry(name) for name in sorted(MODEL.there) if name.startswith(f"{path}/")}
        return below if detail else list(below)

    def _entry(self, path: str) -> dict[str, Any]:
        version = MODEL.there[path]
        return {"name": path, "size": len(version.content), "type": "file", "ETag": str(version.number)}

    def cat_file(self, path: str, **_: Any) -> bytes:
        MODEL.request()
        try:
            return MODEL.there[self._strip_protocol(path)].content
        except KeyError:
            raise FileNotFoundError(path) from None

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        import io

        return io.BytesIO(self.cat_file(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        MODEL.request()
        MODEL.put(rpath, Path(lpath).read_bytes())

    def rm_file(self, path: str) -> None:
        MODEL.request()
        if path in MODEL.there:
            MODEL.delete(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: Any = None) -> None:
        for name in self.find(path):
            self.rm_file(name)


class ModelObjects:
    """Conditions as S3 has them."""

    def __init__(self, fs: Any) -> None:
        pass

    def etag(self, path: str) -> str | None:
        MODEL.request()
        return str(MODEL.there[path].number) if path in MODEL.there else None

    def is_of(self, path: str, run: str) -> bool:
        MODEL.request()
        return path in MODEL.there and MODEL.there[path].by == me()

    def put(self, path: str, content: bytes | Path, condition: Condition) -> str:
        MODEL.request()
        _check(path, condition)
        data = content if isinstance(content, bytes) else content.read_bytes()
        return str(MODEL.put(path, data).number)

    def copy(self, source: Source, new: str, condition: Condition) -> None:
        MODEL.request()
        if source.path not in MODEL.there or str(MODEL.there[source.path].number) != source.etag:
            raise Changed(source.path)
        _check(new, condition)
        MODEL.put(new, MODEL.there[source.path].content)

    def delete(self, path: str, condition: Condition) -> None:
        MODEL.request()
        if path in MODEL.there:
            _check(path, condition)
            MODEL.delete(path)


def _check(path: str, condition: Condition) -> None:
    there = MODEL.there.get(path)
    if there is not None and str(there.number) != condition.etag and there.by != me():
        raise Changed(path)


fsspec.register_implementation("model", ModelStore, clobber=True)


class Baton:
    """One of some threads goes on at a time; after each number of requests of a schedule the next one does."""

    def __init__(self, runs: dict[str, Callable[[], object]], schedule: tuple[int, ...]) -> None:
        self._turns = iter(schedule)
        self._left = next(self._turns)
        self._lock = threading.Condition()
        self._alive = list(runs)
        self._turn = self._alive[0]
        self.ended: dict[str, BaseException | None] = {}
        self._threads = [threading.Thread(target=self._run, args=(run,), name=name) for name, run in runs.items()]

    def play(self) -> dict[str, BaseException | None]:
        """Until all runs have ended; gives what each raised."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        return self.ended

    def pause(self) -> None:
        """Called by a run before a request."""
        with self._lock:
            if self._left == 0:
                self._left = next(self._turns, -1)
                self._pass_on()
            self._left -= 1
            self._lock.wait_for(lambda: self._turn == me())

    def _pass_on(self) -> None:
        MODEL.clock += 1000.0  # whoever is paused is not heard of for longer than a lock counts
        others = [name for name in self._alive if name != self._turn]
        if others:
            self._turn = others[0]
            self._lock.notify_all()

    def _run(self, run: Callable[[], object]) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._turn == me())
        error: BaseException | None = None
        try:
            run()
        except BaseException as raised:  # noqa: BLE001  the test looks at it
            error = raised
        with self._lock:
            self.ended[me()] = error
            self._pass_on()
            self._alive.remove(me())
            if self._alive:
                self._turn = self._alive[0]
            self._lock.notify_all()


class _Here:
    """A pool without threads: the model tells runs by theirs."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


@contextlib.contextmanager
def modelled() -> Iterator[None]:
    """Locks by the model's clock; nobody renews one, for a run that is paused does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(objects.KINDS, "model", ModelObjects)
        patch.setattr(locks._Lock, "renew_until_ended", lambda _: None)
        patch.setattr(locks, "time", type("Clock", (), {"time": staticmethod(lambda: MODEL.clock)}))
        patch.setattr(locks, "_this_process", lambda: None)
        for module in (journal, folders):
            patch.setattr(module, "ThreadPoolExecutor", _Here)
        yield


def make(name: str) -> None:
    """A dataset from nothing: two files, then the manifest; what lies there unfinished of others goes."""
    with only_run(Folder("model:///out")) as folder:
        folder = settle(folder)
        if folder.exists(MANIFEST):
            return
        for file in ("00000.tar", "00001.tar"):
            folder.remove(file)
        whole = {file: folder.write(file, f"{name} {file}".encode()).sha256 for file in ("00000.tar", "00001.tar")}
        put_last(folder, MANIFEST, whole)


def change(name: str) -> None:
    """The next state of a dataset: one file other than before, one more, and one that goes."""
    with only_run(Folder("model:///out")) as folder:
        folder = settle(folder)
        draft = Draft(folder)
        own = draft.own
        for file in own.names():  # of a draft that was not finished
            own.remove(file)
        own.write_json(RECIPE, name)
        whole = json.loads(folder.read_bytes(MANIFEST))
        for file in (f"0000{name}.tar", "00000.tar"):
            whole[file] = draft.write(file, f"{name} {file}".encode()).sha256
        if "00001.tar" in whole:
            draft.remove("00001.tar")
            del whole["00001.tar"]
        draft.write_json(MANIFEST, whole)
        put_in_place(draft, MANIFEST)


def is_whole() -> bool:
    """Whether the manifest names what is there."""
    there = {path.removeprefix("/out/"): version.content for path, version in MODEL.there.items()}
    if MANIFEST not in there:
        return False
    whole = json.loads(there[MANIFEST])
    data = {name: hashlib.sha256(content).hexdigest() for name, content in there.items() if name[0].isdigit()}
    return bool(whole == data)


def _begin(before: dict[str, Version]) -> None:
    MODEL.__init__(dict(before), max((version.number for version in before.values()), default=0))  # type: ignore[misc]


Runs = tuple[Callable[[str], None], Callable[[str], None]]


def requests_alone(runs: Runs) -> tuple[dict[str, Version], tuple[int, int]]:
    """What lies there before the runs, and how many requests each makes alone."""
    before: dict[str, Version] = {}
    if change in runs:
        _begin({})
        with _as("o"):
            make("o")
        before = dict(MODEL.there)
    counts = []
    for run in runs:
        _begin(before)
        first = MODEL.requests
        with _as("a"):
            run("a")
        counts.append(MODEL.requests - first)
    return before, (counts[0], counts[1])


def schedules(requests: tuple[int, int], pauses: int) -> Iterator[tuple[int, ...]]:
    """After how many requests it is the other's turn: all ways to change so many times."""
    first, second = requests
    turns = [range(first + 1), range(1, second + 1)] * pauses
    yield from itertools.product(*turns[:pauses])


def play(runs: Runs, before: dict[str, Version], schedule: tuple[int, ...]) -> None:
    """Play one schedule, then a last run alone, and check that nothing is lost."""
    _begin(before)
    MODEL.baton = Baton({name: functools.partial(run, name) for name, run in zip("ab", runs, strict=True)}, schedule)
    ended = MODEL.baton.play()
    MODEL.baton = None
    for name, error in ended.items():
        assert error is None or isinstance(error, (FolderInUse, TakenOver)), (schedule, name, error)
    assert not MODEL.faults, (schedule, MODEL.faults)
    MODEL.clock += 1000.0
    with _as("last"), only_run(Folder("model:///out")) as folder:
        settle(folder)
    if before or None in ended.values():
        assert is_whole(), (schedule, sorted(MODEL.there))
    assert not is_between(Folder("model:///out"))


@contextlib.contextmanager
def _as(name: str) -> Iterator[None]:
    """This thread as a run."""
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    try:
        yield
    finally:
        thread.name = before
