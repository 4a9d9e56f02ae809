"""Every link gets its chance: waiting for its turn costs it nothing, and what it may not hold up it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.fetching import loop, robots
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.resolving import Lookup, Resolver
from pipelines.fetching.robots import RobotsCache
from pipelines.stages.fetch import fetch
from tests.conftest import ROOT
from tests.pipelines.fetching.sites import Request, http, sites


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered from other tests, and hosts that are found on this machine have slots as others do."""
    monkeypatch.setattr(loop, "_robots_cache", RobotsCache())
    monkeypatch.setattr(loop, "_resolver", Resolver())
    monkeypatch.setattr(FetchOptions, "mapped_hosts", frozenset())


def slow(seconds: float, robots_seconds: float = 0.0) -> object:
    def answer(request: Request) -> bytes | None:
        time.sleep(robots_seconds if request.path == "/robots.txt" else seconds)
        return None if request.path == "/robots.txt" else http()

    return answer


def test_waiting_for_a_slot_costs_no_time() -> None:
    """40 links of one host, two at a time: the last waits four times as long as a link may take, and comes."""
    with sites(slow(0.1)) as web:
        begun = time.monotonic()
        results = web.fetch([f"http://a.example/{i}" for i in range(40)], timeout=0.5, max_connections_per_host=2)
        assert [None] * 40 == [result.problem for result in results]
        assert time.monotonic() - begun > 1.9
        assert web.most <= 2
        assert all(0.1 <= result.seconds < 0.5 for result in results), "the time in flight, without the waiting"


def test_waiting_for_a_place_costs_no_time() -> None:
    """The same where the worker's own places are what is scarce."""
    with sites(slow(0.1)) as web:
        urls = [f"http://{'abcdefgh'[i % 8]}.example/{i}" for i in range(40)]
        assert [""] * 40 == web.reasons(urls, timeout=0.5, thread_count=2, ignore_robots=True)
        assert web.most <= 2


def test_waiting_for_robots_txt_costs_no_time() -> None:
    """A robots.txt that takes nearly all of a link's time leaves the link its own; a redirect's, too."""

    def answer(request: Request) -> bytes | None:
        time.sleep(0.6)
        if request.path == "/robots.txt":
            return None
        return http(b"", "302 Found", "Location: http://b.example/x") if request.host == "a.example" else http()

    with sites(answer) as web:
        begun = time.monotonic()
        assert ["", ""] == web.reasons(["http://b.example/y", "http://c.example/y"], timeout=1.0)
        assert time.monotonic() - begun > 1.0
        assert [""] == web.reasons(["http://a.example/"], timeout=1.7, more_hosts=("b.example",))


@pytest.mark.parametrize("places", [2, 16])
def test_links_open_at_once_are_bounded(places: int) -> None:
    """Twenty hosts with a robots.txt each, redirects and failures that are tried again between them: never more."""

    def answer(request: Request) -> bytes | None:
        time.sleep(0.004)
        if request.path == "/robots.txt":
            return None
        if request.path.endswith("40") and request.count == 1:
            return http(b"", "503 Busy")
        if request.path.endswith("1"):
            return http(b"", "302 Found", f"Location: http://h{len(request.path)}.example{request.path[:-1]}2")
        return http()

    hosts = tuple(f"h{i}.example" for i in range(20))
    with sites(answer) as web:
        urls = [f"http://{hosts[i % 20]}/{i}" for i in range(120)]
        reasons = web.reasons(
            urls, thread_count=places, max_connections_per_host=3, retries=1, timeout=20, more_hosts=hosts
        )
        assert [""] * 120 == reasons
        assert web.most <= places


def test_the_end_does_not_wait_for_a_slow_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline is a deadline while the look-up goes on; so is the end of the fetching, for one link or for many."""
    forever = threading.Event()

    def find(host: str) -> tuple[str, ...]:
        if host.startswith("dead"):
            forever.wait(60)
        return ("127.0.0.1",)

    monkeypatch.setattr(loop, "_resolver", Resolver(find))
    with sites(slow(0.0)) as web:
        options = FetchOptions(
            timeout=1.0, retries=0, ignore_robots=True, thread_count=32, allow_private_hosts=(f"127.0.0.1:{web.port}",)
        )
        for dead in (1, 60):
            urls = [f"http://dead{i}.example/" for i in range(dead)]
            urls += [f"http://good{i}.example:{web.port}/" for i in range(dead)]
            begun = time.monotonic()
            results = {r.index: r.problem for r in fetch(enumerate(urls), options)}
            turns = -(-dead // 32)
            assert time.monotonic() - begun < turns * options.deadline + 1.5
            assert [("timeout", "Resolving timed out")] * dead == [
                (results[i].reason, results[i].message) for i in range(dead)
            ]
            assert [None] * dead == [results[i] for i in range(dead, 2 * dead)]
    forever.set()


def test_waiting_for_a_look_up_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer threads than names: the clocks of those that wait stand still."""

    def find(host: str) -> tuple[str, ...]:
        time.sleep(0.1)
        return ("127.0.0.1",)

    class Few(Resolver):
        most = property(lambda self: 2, lambda self, value: None)

    monkeypatch.setattr(loop, "_resolver", Few(find))
    with sites(slow(0.0)) as web:
        options = FetchOptions(timeout=0.7, retries=0, ignore_robots=True, allow_private_hosts=("127.0.0.1",))
        urls = [f"http://n{i}.example:{web.port}/" for i in range(24)]
        assert [None] * 24 == [r.problem for r in fetch(enumerate(urls), options)]


def test_a_name_is_looked_up_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many links of one host share the look-up, and the next unit has it still."""
    asked: list[str] = []

    def find(host: str) -> tuple[str, ...]:
        asked.append(host)
        time.sleep(0.05)
        return ("192.0.2.1", "127.0.0.1") if host == "both.example" else ("10.0.0.1",)

    monkeypatch.setattr(loop, "_resolver", Resolver(find))
    with sites(slow(0.0)) as web:
        options = FetchOptions(timeout=2, retries=0, ignore_robots=True, allow_private_hosts=(f"127.0.0.1:{web.port}",))
        for _ in range(2):
            urls = [f"http://both.example:{web.port}/{i}" for i in range(30)] + ["http://private.example/"]
            problems = {r.index: r.problem for r in fetch(enumerate(urls), options)}
            assert [None] * 30 == [problems[i] for i in range(30)], "of several addresses those that are allowed"
            assert "forbidden-address" == problems[30].reason
            assert "10.0.0.1 is not a public address" == problems[30].message
        assert ["both.example", "private.example"] == sorted(asked)


def test_a_failed_robots_txt_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds for a while, the longer the more often it failed; what came holds for a day."""
    now = [1000.0]
    monkeypatch.setattr(robots, "_FIRST_FAILURE", 5.0)
    cache = RobotsCache()
    monkeypatch.setattr(loop, "_robots_cache", cache)
    monkeypatch.setattr(
        type(cache), "get", lambda self, site, agents, _now, get=RobotsCache.get: get(self, site, agents, now[0])
    )
    monkeypatch.setattr(
        type(cache),
        "put",
        lambda self, site, agents, rules, _now, put=RobotsCache.put: put(self, site, agents, rules, now[0]),
    )
    up = False

    def answer(request: Request) -> bytes | None:
        if request.path == "/robots.txt":
            return http(b"User-agent: *\nDisallow: /no") if up else http(b"", "503 Busy")
        return http()

    with sites(answer) as web:
        urls = ["http://a.example/x", "http://a.example/no"]
        asked = lambda: web.requests["a.example", "/robots.txt"]  # noqa: E731
        for wait, expected in ((0.0, 1), (4.9, 1), (0.2, 2), (9.9, 2), (0.2, 3)):
            now[0] += wait
            assert ["http-5xx", "http-5xx"] == web.reasons(urls)
            assert expected == asked()
        up = True
        now[0] += 20.1
        assert ["", "robots-txt"] == web.reasons(urls)
        now[0] += 23 * 3600
        assert ["", "robots-txt"] == web.reasons(urls)
        assert 4 == asked()
        now[0] += 2 * 3600
        up = False
        assert ["http-5xx", "http-5xx"] == web.reasons(urls)
        assert 5 == asked()


def test_resolver_tells_everybody_and_ends_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of names and askers: each asker is told once that it is done; idle threads end."""
    monkeypatch.setattr("pipelines.fetching.resolving._IDLE", 0.05)
    resolver = Resolver(lambda host: (host,) if host[0] != "x" else (), most=3)
    told: list[tuple[int, str, tuple[str, ...]]] = []
    done = threading.Semaphore(0)

    def asker(number: int, host: str) -> None:
        def hear(lookup: Lookup) -> None:
            if lookup.done:
                told.append((number, lookup.host, lookup.addresses))
                done.release()

        lookup = resolver.ask(host, hear)
        if lookup.done:
            told.append((number, host, lookup.addresses))
            done.release()

    names = [f"{'xyz'[i % 3]}{i % 7}" for i in range(200)]
    workers = [
        threading.Thread(target=lambda part=part: [asker(n, names[n]) for n in range(part, 200, 4)])
        for part in range(4)
    ]
    for worker in workers:
        worker.start()
    for _ in range(200):
        assert done.acquire(timeout=10)
    assert sorted((n, names[n], (names[n],) if names[n][0] != "x" else ()) for n in range(200)) == sorted(told)
    for _ in range(200):
        if not resolver._threads:
            break
        time.sleep(0.01)
    assert 0 == resolver._threads == resolver._idle == len(resolver._waiting) == len(resolver._running)


SILENT = """
import socket, threading, time
from pipelines.fetching.options import FetchOptions
from pipelines.stages.fetch import fetch

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.53", 53))
options = FetchOptions(timeout=1.0, retries=0, thread_count=8)
begun = time.monotonic()
reasons = [f.problem.reason for f in fetch(((i, f"http://h{i}.example/{i}") for i in range(8)), options)]
print(time.monotonic() - begun, server.recv(100) and set(reasons), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to have another name server")
def test_a_name_server_that_never_answers(tmp_path: Path) -> None:
    """The system's own look-up goes on for ten seconds; the links end with their deadline, and so does the process."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "silent.py").write_text(SILENT)
    script = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec {sys.executable} {tmp_path}/silent.py"
    command = ["unshare", "--mount", "sh", "-c", script]
    begun = time.monotonic()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode and "silent.py" not in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr[-200:]}")
    assert 0 == done.returncode, done.stderr
    seconds, _, reasons = done.stdout.partition(" ")
    assert float(seconds) < 1.0 + 1.5
    assert "{'timeout'}" == reasons.strip()
    assert time.monotonic() - begun < 9
