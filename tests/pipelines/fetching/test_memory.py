"""Fetched bytes in memory are bounded by bytes: whatever comes in, and however slowly it is read, and all links end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from random import Random

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching import loop
from pipelines.fetching.loop import Loop
from pipelines.fetching.memory import Allowance
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import RobotsCache
from tests.pipelines.fetching.sites import Request, http, sites

MB = 1 << 20


@dataclass(eq=False)
class Body:
    """One that is being received, in pieces."""

    whole: int
    size: int = 0
    paused: bool = False
    announced: bool = True

    @property
    def missing(self) -> int:
        return self.whole - self.size if self.announced else self.size


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=40),
    st.integers(1, 8),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_never_more_than_allowed_and_everything_ends(sizes: list[int], places: int, lazy: bool, random: Random) -> None:
    """Any sizes, any order of pieces, a reader as slow as it likes: below the bound, and none waits for ever."""
    most = 160
    allowance: Allowance[Body] = Allowance(most, places)
    waiting, active, unread, done = [Body(size, announced=size % 3 > 0) for size in sizes], [], [], 0
    for _ in range(20_000):
        if done == len(sizes):
            break
        if waiting and len(active) < places and allowance.has_room:
            active.append(waiting.pop())
        allowance.just_paused()
        while (on := allowance.next_to_go_on()) is not None:
            on.paused = False
            step(on, allowance)
        running = [body for body in active if not body.paused]
        assert running or unread or not active, "somebody can go on, or the reader can"
        if running and (lazy or random.random() < 0.8):
            body = random.choice(running)
            step(body, allowance)
            if body.size == body.whole:
                allowance.end(body)
                active.remove(body)
                if random.random() < 0.2:
                    allowance.release(body)  # its link has failed
                    body.size = 0
                    done += 1
                else:
                    allowance.hand_over(body, body.size)
                    unread.append(body)
        elif unread:
            allowance.taken += unread.pop(0).size
            done += 1
        assert allowance.held <= most + 1
    assert len(sizes) == done
    assert 0 == allowance.held


def step(body: Body, allowance: Allowance[Body]) -> None:
    if body.size == body.whole:
        return
    if allowance.admits(body, 1):
        body.size += 1
    else:
        body.paused = True


class Reader:
    """Reads a loop's results in this thread, watching the memory of the process."""

    def __init__(self, urls: list[str], options: FetchOptions, seconds_each: float = 0.0) -> None:
        process = psutil.Process()
        before = process.memory_info().rss
        self.grew = 0
        self.problems: list[str] = []
        self.sizes: list[int] = []
        self.loop = Loop(enumerate(urls), options)
        thread = threading.Thread(target=self.loop.run)
        thread.start()
        while (result := self.loop.results.get(timeout=60)) is not None:
            assert not isinstance(result, BaseException), result
            self.grew = max(self.grew, process.memory_info().rss - before)
            time.sleep(seconds_each)
            self.problems.append(result.problem.reason if result.problem else "")
            self.sizes.append(len(result.data))
            self.loop.consumed(result)
            del result
        thread.join()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_robots_cache", RobotsCache())


LARGE = http(bytes(8 * MB))
SMALL = http(bytes(20_000))
ENDLESS = LARGE.replace(b"Content-Length", b"Connection: close\r\nX-Length")


def answers(request: Request) -> bytes | None:
    if request.path == "/robots.txt":
        return None
    return {"l": LARGE, "e": ENDLESS, "s": SMALL}[request.path[1]]


@pytest.mark.parametrize("kinds", ["l", "e", "ls", "les"])
def test_many_large_answers_at_once(kinds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 of 8 MB in flight, announced or not, small ones between them: a tenth of them in memory, and all come."""
    monkeypatch.setattr(FetchOptions, "bytes_held", 40 * MB)
    with sites(answers) as web:
        urls = [f"http://a.example/{kinds[i % len(kinds)]}{i}" for i in range(60)]
        reader = Reader(urls, web.options(("a.example",), max_bytes=10 * MB, thread_count=60, timeout=20))
    assert [""] * 60 == reader.problems
    assert sorted(
        len({"l": LARGE, "e": LARGE, "s": SMALL}[kinds[i % len(kinds)]]) // 10_000 for i in range(60)
    ) == sorted(size // 10_000 for size in reader.sizes)
    assert reader.loop._allowance.peak <= 40 * MB
    assert 0 == reader.loop._allowance.held
    assert reader.grew < 120 * MB


def test_who_pauses_loses_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that needs longer for one picture than a link may take: none times out."""
    monkeypatch.setattr(FetchOptions, "bytes_held", 40 * MB)
    with sites(answers) as web:
        urls = [f"http://a.example/l{i}" for i in range(12)]
        options = web.options(("a.example",), max_bytes=10 * MB, thread_count=12, timeout=2.0)
        reader = Reader(urls, options, seconds_each=0.3)
    assert [""] * 12 == reader.problems
    assert reader.loop._allowance.peak <= 40 * MB


def test_what_fails_or_is_cut_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, broken off, opted out, refused: no byte is counted for ever."""
    body = bytes(3 * MB)
    kinds = {
        "t": http(bytes(5 * MB)),
        "u": ENDLESS,
        "b": http(body)[:-MB].replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nConnection: close"),
        "o": http(body, "200 OK", "X-Robots-Tag: noai"),
        "4": http(body, "404 Not Found"),
        "r": http(body, "302 Found", "Location: /s"),
        "g": http(body, "200 OK", "Content-Encoding: gzip"),
        "s": SMALL,
    }
    with sites(lambda request: None if request.path == "/robots.txt" else kinds[request.path[1]]) as web:
        urls = [f"http://a.example/{kind}{i}" for i in range(6) for kind in kinds]
        reader = Reader(urls, web.options(("a.example",), max_bytes=4 * MB, thread_count=20, retries=1, timeout=5))
    assert 0 == reader.loop._allowance.held
    counts = {reason: reader.problems.count(reason) for reason in set(reader.problems)}
    assert {"too-large": 12, "reset": 6, "opted-out": 6, "http-404": 6, "bad-response": 6, "": 12} == counts


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1 << 30),
        ({"max_bytes": 100 << 20}, 1600 << 20),
        ({"memory_limit": 600 << 20}, 600 << 20),
        ({"memory_limit": 2 << 30, "max_bytes": 100 << 20}, 2 << 30),
    ],
)
def test_the_limit(options: dict[str, int], expected: int) -> None:
    """A default that suits --max_bytes; a quarter is for fetched bytes, in which four of the largest have room."""
    chosen = FetchOptions(**options)
    assert expected == chosen.worker_memory
    assert 4 * chosen.max_bytes <= chosen.bytes_held <= expected // 4


@pytest.mark.parametrize(
    "options", [{"memory_limit": 100}, {"memory_limit": 1 << 30, "max_bytes": 100 << 20}, {"memory_limit": -1}]
)
def test_a_limit_that_is_too_low(options: dict[str, int]) -> None:
    """One sentence before anything starts."""
    with pytest.raises(ValueError, match=r"--memory_limit -?\d+: expected \d+ or more"):
        FetchOptions(**options)
