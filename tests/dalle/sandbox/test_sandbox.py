"""Functions in processes of their own: whatever an item does, it costs that item alone, and nothing is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalle.sandbox import Answer, Limits, Session, WorkersDie, nursery, one_by_one
from tests.conftest import ROOT, until
from tests.dalle.sandbox.functions import backwards, process

LIMITS = Limits(memory=64 << 20, seconds=1)
WORSE = {
    b"segfault": ("crashed", "SIGSEGV"),
    b"abort": ("crashed", "SIGABRT"),
    b"exit": ("crashed", "exit code 3"),
    b"memory:1000000000": ("memory", "memory"),
    b"pages": ("memory", "memory"),
}
"""What ends a worker, and what is said of it."""


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """After each test its nursery is ended, and with it all there was."""
    yield
    with nursery._lock:
        mine, nursery._nursery = nursery._nursery, None
    if mine is not None:
        process = psutil.Process(mine._process.pid)
        family = [process, *(process.children(recursive=True) if process.is_running() else ())]
        mine.close()
        assert not [each for each in family if each.is_running()]


def answers(items: list[bytes], limits: Limits = LIMITS) -> list[Answer]:
    """In the order of the items, each once."""
    told = list(one_by_one(backwards, limits, enumerate(items)))
    assert list(range(len(items))) == [number for number, _ in told]
    return [answer for _, answer in told]


@given(st.lists(st.one_of(st.sampled_from([*WORSE, b"raise:x"]), st.binary(max_size=70_000)), max_size=12))
@settings(max_examples=25)
def test_each_item_has_the_answer_it_has_alone(items: list[bytes]) -> None:
    """Whatever it is batched with; what ends a worker ends it for that item alone, whose answer says so."""
    for item, answer in zip(items, answers(items), strict=True):
        if item in WORSE:
            fault, message = WORSE[item]
            assert (fault, b"") == (answer.fault, answer.data)
            assert message in answer.message
        elif item == b"raise:x":
            assert (None, "TypeError: x") == (answer.fault, answer.raised)
        else:
            assert Answer({"bytes": len(item), "after": ""}, item[::-1], seconds=answer.seconds) == answer


def test_many_and_large_items() -> None:
    """More than a batch holds, in number and in bytes; one is larger than any batch."""
    items = (
        [b"x" * (n * 37 % 5000) for n in range(500)] + [bytes([n]) * (3 << 20) for n in range(6)] + [b"y" * (40 << 20)]
    )
    assert [item[::-1] for item in items] == [
        answer.data for answer in answers(items, Limits(memory=1 << 28, seconds=9))
    ]


def test_what_hangs_is_ended_by_the_processors_time() -> None:
    """Twice, of which the second time alone; what only waits is not in anybody's way."""
    first, second, third = answers([b"a", b"spin", b"sleep:0.7"], Limits(memory=64 << 20, seconds=0.3))
    assert (None, "time", None) == (first.fault, second.fault, third.fault)
    assert "processor time" in second.message


def test_an_item_is_tried_once_more_alone(tmp_path: Path) -> None:
    """A worker that dies for another reason takes nothing from the item whose turn it was."""
    mark = b"crash once:" + os.fsencode(tmp_path / "mark")
    assert [item[::-1] for item in (b"a", mark, b"b")] == [answer.data for answer in answers([b"a", mark, b"b"])]
    assert (tmp_path / "mark").exists()


def test_what_one_item_leaves_is_gone_when_another_is_judged() -> None:
    """The second attempt is a worker's first item: nothing of the ones before it can be the reason."""
    with Session(backwards, LIMITS) as session:
        told = [*session.push(0, b"leave:"), *session.push(1, b"abort"), *session.push(2, b"a"), *session.flush()]
    assert {0: None, 1: "crashed", 2: None} == {number: answer.fault for number, answer in told}


def test_workers_that_somebody_kills_are_no_items_fault(tmp_path: Path) -> None:
    """As the system does when memory runs out: all is done again, and in the end it is said, of no item."""
    marks = [b"killed once:" + os.fsencode(tmp_path / str(n)) for n in range(3)]
    assert [mark[::-1] for mark in marks] == [answer.data for answer in answers(marks)]
    with pytest.raises(WorkersDie, match="SIGKILL"):
        answers([b"a", b"kill", b"b"])
    assert [b"cba"] == [answer.data for answer in answers([b"abc"])]


def test_a_worker_that_stops_does_not_last_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no processor time, so that no limit would end it."""
    monkeypatch.setattr("dalle.sandbox.session._STILL", 0.2)
    with Session(process, LIMITS) as session:
        ((_, answer),) = [*session.push(0, b""), *session.flush()]
        os.kill(answer.value[0], signal.SIGSTOP)
        ((_, again),) = [*session.push(1, b""), *session.flush()]
    assert again.value is not None
    assert answer.value[0] != again.value[0]


def test_many_threads_at_once() -> None:
    """Each has a worker of its own, as the units have that a runner does in threads of one process."""
    seen: dict[int, list[Answer]] = {}
    threads = [
        threading.Thread(
            target=lambda n=n: seen.update({n: answers([bytes([n]) * i for i in range(100)] + [b"abort"])})
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(4):
        assert [bytes([n]) * i for i in range(100)] == [answer.data for answer in seen[n][:-1]]
        assert "crashed" == seen[n][-1].fault


def test_a_session_that_is_left_early_leaves_nothing_to_the_next() -> None:
    """Its worker is ended if it is still at something, and used again if not."""
    with pytest.raises(ZeroDivisionError), Session(backwards, LIMITS) as session:
        list(session.push("a", b"sleep:60"))
        _ = 1 / 0
    assert [b"cba"] == [answer.data for answer in answers([b"abc"])]
    first, second = (next(one_by_one(process, LIMITS, [(0, b"")]))[1].value for _ in range(2))
    assert first == second


def ended(process: psutil.Process) -> bool:
    """Whether nobody is left but, perhaps, who has to be told of it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("how", ["fork_ahead()", "None"])
@pytest.mark.parametrize("item", [b"sleep:600", b"spin", b"a"])
def test_all_ends_with_who_asked(how: str, item: bytes) -> None:
    """SIGKILL leaves no time to say anything; nursery and worker end within seconds, busy or not."""
    code = f"""
import os, sys, threading
from dalle.sandbox import *
from tests.dalle.sandbox.functions import backwards, process
{how}
limits = Limits(memory=1 << 26, seconds=600)
with Session(process, limits) as session:
    ((_, answer),) = [*session.push(0, b""), *session.flush()]
print(*answer.value, flush=True)
with Session(backwards, limits) as session:
    list(session.push(0, {item!r}))
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        worker, parent = map(psutil.Process, map(int, user.stdout.readline().split()))
        assert worker.ppid() == parent.pid
        user.kill()
        assert "" == user.stdout.read()  # nobody holds its output any more
    until(lambda: ended(worker) and ended(parent))


def test_a_nursery_that_was_ended_is_begun_again() -> None:
    """As whoever ends all children of a process does."""
    _, parent = next(one_by_one(process, LIMITS, [(0, b"")]))[1].value
    os.kill(parent, signal.SIGKILL)
    until(lambda: psutil.Process(parent).status() == psutil.STATUS_ZOMBIE)
    assert [b"cba"] == [answer.data for answer in answers([b"abc"])]


def test_a_worker_holds_nothing_of_the_process_it_works_for(tmp_path: Path) -> None:
    """Locks and pipes end with who has them, so nobody else may have them: no more than its own few descriptors."""
    with (tmp_path / "held").open("w"):
        with Session(process, LIMITS) as session:
            ((_, answer),) = [*session.push(0, b""), *session.flush()]
            for pid in answer.value:
                held = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
                assert {name.partition(":")[0] for name in held} <= {"/dev/null", "socket", "pipe", "/memfd"}
