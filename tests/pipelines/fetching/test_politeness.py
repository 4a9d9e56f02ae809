"""What sites ask for is done: robots.txt, X-Robots-Tag, an honest name, not too many connections."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching import loop
from pipelines.fetching.host_slots import HostSlots
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import RobotsCache, Rules, opts_out, site_of
from pipelines.stages.fetch import fetch
from schemas.reasons import NotKept


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


class Site:
    """A site with a robots.txt, which remembers who asked for what and how many at once."""

    def __init__(self, robots: tuple[int, bytes]) -> None:
        self.requests: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.at_once = self.most = 0
        lock, site = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                with lock:
                    site.requests[self.path] += 1
                    site.agents.add(self.headers["User-Agent"])
                    site.at_once += 1
                    site.most = max(site.most, site.at_once)
                status, body = robots if self.path == "/robots.txt" else (200, b"picture")
                if self.path.startswith("/slow"):
                    time.sleep(0.05)
                with lock:
                    site.at_once -= 1
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fetch(self, paths: list[str], host: str = "site.example", **changed: Any) -> list[str]:
        mapped = (f"{host}:80:127.0.0.1:{self.port}",)
        options = FetchOptions(**{"timeout": 3.0, "retries": 0, "connect_to": mapped, **changed})
        links = ((i, f"http://{host}/{path}") for i, path in enumerate(paths))
        results = {f.index: f.problem.reason if f.problem else "" for f in fetch(links, options)}
        return [results[i] for i in range(len(paths))]


@pytest.fixture
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(loop, "_robots_cache", RobotsCache())
    site = Site(request.param)
    yield site
    site.close()


ROBOTS = (
    b"User-agent: *\nDisallow: /private/\nDisallow: /*.gif$\n\nUser-agent: dalle-pipelines\nDisallow: /no-training/\n"
)


@pytest.mark.parametrize("site", [(200, ROBOTS)], indirect=True)
def test_robots_txt_is_asked_for_once_and_honoured(site: Site) -> None:
    """One request a site for a hundred links; our own group counts, not the star's."""
    paths = ["a.jpg", "no-training/b.jpg", "private/c.jpg"] * 40
    assert ["", "robots-txt", ""] * 40 == site.fetch(paths)
    assert 1 == site.requests["/robots.txt"]
    assert 0 == site.requests["/no-training/b.jpg"]
    assert ["", "robots-txt", ""] == site.fetch(["d.jpg", "no-training/e.jpg", "private/f.jpg"])
    assert 1 == site.requests["/robots.txt"]


@pytest.mark.parametrize("site", [(200, ROBOTS)], indirect=True)
def test_another_name_has_another_group(site: Site) -> None:
    """A token of the user's is sent, and robots.txt is read with it; what is said to the default name holds, too."""
    assert ["robots-txt", "robots-txt", "robots-txt"] == site.fetch(
        ["no-training/b.jpg", "private/c.jpg", "d.gif"], user_agent_token="curator"
    )
    (agent,) = site.agents
    assert agent.startswith("curator dalle-pipelines/")
    assert "Mozilla" not in agent


@pytest.mark.parametrize("site", [(200, ROBOTS)], indirect=True)
def test_robots_txt_can_be_ignored(site: Site) -> None:
    """Only when told to; then it is not even asked for."""
    assert ["", ""] == site.fetch(["no-training/b.jpg", "a.jpg"], ignore_robots=True)
    assert 0 == site.requests["/robots.txt"]


@pytest.mark.parametrize(
    "site", [(404, b"no"), (403, b"no"), (200, b""), (200, b"<html>not robots</html>\xff\xfe")], indirect=True
)
def test_missing_or_senseless_robots_txt_allows(site: Site) -> None:
    """RFC 9309: unavailable means allowed."""
    assert ["", ""] == site.fetch(["a.jpg", "b.jpg"])


@pytest.mark.parametrize("site", [(503, b"later")], indirect=True)
def test_robots_txt_that_fails_allows_nothing_for_now(site: Site) -> None:
    """RFC 9309: unreachable means disallowed; the reason says that it may pass."""
    assert ["http-5xx", "http-5xx"] == site.fetch(["a.jpg", "b.jpg"])
    assert 0 == site.requests["/a.jpg"]


@pytest.mark.parametrize("site", [(404, b"")], indirect=True)
@pytest.mark.parametrize("most", [1, 3])
def test_connections_per_host_are_limited(site: Site, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more at once than allowed, and every link still ends; hosts of this machine have no limit."""
    paths = [f"slow-{i}.jpg" for i in range(30)]
    monkeypatch.setattr(FetchOptions, "mapped_hosts", frozenset())
    assert [""] * 30 == site.fetch(paths, max_connections_per_host=most)
    assert site.most <= most
    monkeypatch.undo()
    monkeypatch.setattr(loop, "_robots_cache", RobotsCache())
    assert [""] * 30 == site.fetch(paths, max_connections_per_host=most)
    assert site.most > 3


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 4))
def test_slots_are_given_in_turn(hosts: list[str], most: int) -> None:
    """Each host has at most its number of slots taken, and each link gets one in the order it came."""
    slots: HostSlots[int] = HostSlots(most)
    active: dict[str, list[int]] = {host: [] for host in "abc"}
    served: dict[str, list[int]] = {host: [] for host in "abc"}
    for number, host in enumerate(hosts):
        if slots.take(host, number):
            active[host].append(number)
    while any(active.values()):
        for host in "abc":
            assert len(active[host]) <= most
            if active[host]:
                served[host].append(active[host].pop(0))
                following = slots.free(host)
                if following is not None:
                    active[host].append(following)
    assert {host: [i for i, h in enumerate(hosts) if h == host] for host in "abc"} == served
    assert 0 == slots.waiting


@pytest.mark.parametrize(
    ("tags", "out"),
    [
        ([], False), (["noai"], True), (["NoImageAI, nofollow"], True), (["nofollow"], False), (["otherbot: noai"], False),
        (["dalle-pipelines: noai"], True), (["*: noindex"], True), (["otherbot: noai", "noindex"], True), ([": noai"], False),
        (["curator: noai"], True), (["Curator : nofollow, NoAI"], True), (["otherbot: nofollow, noai"], False),
        (["otherbot: nofollow, dalle-pipelines: noai"], True), (["max-snippet: 20, noai"], True),
        (["max-image-preview:large, noimageai"], True), (["unavailable_after: Thu, 25 Jun 2026 15:00:00 GMT, noai"], True),
        (["unavailable_after: 25 Jun 2026 15:00:00 GMT"], False), (["noaix"], False), (["a b: noai"], False),
        (["none"], True), (["all, NONE"], True), (["otherbot: none"], False), (["curator: none"], True), (["nonex"], False),
    ],
)  # fmt: skip
def test_x_robots_tag(tags: list[str], out: bool) -> None:
    """A directive for all or for one of our names opts out; one for somebody else does not."""
    assert out == opts_out(tags, ("curator", "dalle-pipelines"), ("noai", "noimageai", "noindex", "noimageindex"))


@pytest.mark.parametrize("disallowed", [(), ("noai",), ("noindex",), ("nofollow",), ("noai", "nofollow"), ("none",)])
@pytest.mark.parametrize("before", ["", "*: ", "curator: ", "otherbot: ", "all, "])
def test_none_is_noindex_and_nofollow(disallowed: tuple[str, ...], before: str) -> None:
    """It counts where one of the two does, for whom either would."""
    either = any(opts_out([before + each], ("curator",), disallowed) for each in ("noindex", "nofollow"))
    named = "none" in disallowed and before != "otherbot: "
    assert (either or named) == opts_out([before + "none"], ("curator",), disallowed)


@given(st.binary(max_size=3000))
def test_any_robots_txt_can_be_read(body: bytes) -> None:
    """No bytes make it raise."""
    Rules.of_answer(200, body, None).refusal("http://a.example/x", "dalle-pipelines")


def test_sites() -> None:
    """Scheme, host and port, without who logs in."""
    assert "https://a.example:8080" == site_of(" https://user:pass@A.example:8080/x/y.jpg?z ")
    assert Rules(problem=NotKept("dns", "x")).refusal("http://a/", "b") == NotKept("dns", "x")
