"""A low limit of open files makes fetching slower; it is never told as a server's fault."""

from __future__ import annotations

import errno
import json
import resource
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dalle.scenes import compose, draw
from pipelines.fetching import loop, shortage
from pipelines.fetching.open_files import open_files
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.resolving import Resolver
from pipelines.sample_web.pictures import encoded
from pipelines.stages.fetch import fetch
from tests.conftest import ROOT, jsonl
from tests.server import Web

FETCH = """
import json, resource, sys
limit, port, hard = map(int, sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard or limit))
from pipelines.fetching.open_files import open_files, shortage
from pipelines.fetching.options import FetchOptions
from pipelines.sample_web.pictures import encoded
from pipelines.stages.fetch import fetch
try:
    said = shortage(256)
except ValueError as error:
    sys.exit(str(error))
options = FetchOptions(timeout=10, retries=0, allow_private_hosts=(f"127.0.0.1:{port}",), max_connections_per_host=1000)
urls = [f"http://{host}:{port}/a.jpg?{i}" for i in range(300) for host in ("127.0.0.1", "localhost")]
reasons = [f.problem and f.problem.message for f in fetch(enumerate(urls), options)]
print(json.dumps([said, reasons, resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


def run(limit: int, port: int, hard: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FETCH, *map(str, (limit, port, hard))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("limit", [110, 160, 256, 1024])
def test_no_link_is_lost_to_a_low_limit(web: Web, limit: int) -> None:
    """600 good links of two hosts, up to 256 at once: all come; where they are fewer at once, a sentence says so."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    done = run(limit, web.port)
    assert 0 == done.returncode, done.stderr
    said, reasons, _ = json.loads(done.stdout)
    assert [None] * 600 == reasons
    assert (said is None) == (limit == 1024)
    assert said is None or (f"ulimit -n {limit}" in said and "--thread_count" in said)


def test_the_soft_limit_is_raised(web: Web) -> None:
    """As far as is wanted and the hard one allows; then there is nothing to say."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    said, reasons, (soft, hard) = json.loads(run(100, web.port, 4096).stdout)
    assert said is None
    assert [None] * 600 == reasons
    assert 100 < soft <= hard == 4096


@pytest.mark.parametrize("limit", [20, 32, 64])
def test_no_room_at_all_is_one_sentence(web: Web, limit: int) -> None:
    """It says the limit, what is needed, and what to do."""
    done = run(limit, web.port)
    assert 1 == done.returncode
    assert f"ulimit -n {limit}" in done.stderr
    assert "raise it to" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_dealt_out_fits() -> None:
    """Connections, look-ups and the reserve together are never more than the limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for links in (1, 7, 256, 4000):
        files = open_files(links)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert 1 <= files.links <= links
        assert files.links <= files.connections <= max(files.links, 2 * links)
        assert files.highest + files.lookups < soft


class Short(socket.socket):
    """Every other socket cannot be opened, as when other threads have taken the files."""

    opened = 0

    def __init__(self, *arguments: object) -> None:
        Short.opened += 1
        if Short.opened % 2:
            raise OSError(errno.EMFILE, "Too many open files")
        super().__init__(*arguments)


class Shorter(socket.socket):
    """None can."""

    def __init__(self, *_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")


def test_links_that_met_a_shortage_are_sent_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without any retry left; with nothing but shortage the unit fails, with the cause, after a while."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    options = FetchOptions(timeout=3, retries=0, allow_private_hosts=(web.address,), ignore_robots=True, thread_count=4)
    urls = [web.url(f"a.jpg?{i}") for i in range(12)]
    monkeypatch.setattr("pipelines.fetching.answer.socket", SimpleNamespace(socket=Short))
    assert [None] * 12 == [f.problem for f in fetch(enumerate(urls), options)]
    monkeypatch.setattr("pipelines.fetching.answer.socket", SimpleNamespace(socket=Shorter))
    monkeypatch.setattr(shortage, "_LONGEST", 0.3)
    with pytest.raises(OSError, match="Too many open files; links cannot be fetched"):
        list(fetch(enumerate(urls), options))


def test_a_look_up_that_is_short_is_made_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is not called unknown because this machine could not ask."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    asked = []

    def find(host: str) -> tuple[str, ...]:
        asked.append(host)
        if len(asked) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return ("127.0.0.1",)

    monkeypatch.setattr(loop, "_resolver", Resolver(find))
    options = FetchOptions(timeout=3, retries=0, allow_private_hosts=(web.address,), ignore_robots=True)
    (result,) = fetch([(0, f"http://a.example:{web.port}/a.jpg")], options)
    assert result.problem is None
    assert ["a.example"] * 3 == asked


@pytest.mark.slow
def test_a_job_says_so(web: Web, tmp_path: Path) -> None:
    """Through the command, in the process it works in: a sentence, every row kept, exit 0."""
    (web.folder / "a.png").write_bytes(encoded(draw(compose(1, 64, 64)), "png"))
    links = jsonl(
        tmp_path / "l.jsonl", [{"url": web.url(f"a.png?{i}"), "caption": "a small drawing"} for i in range(200)]
    )
    command = [
        sys.executable,
        "-m",
        "pipelines.ingest",
        "--url_list",
        str(links),
        "--output_folder",
        str(tmp_path / "out"),
    ]
    command += ["--processes_count", "1", "--allow_private_hosts", web.address, "--filters", "none", "--retries", "0"]
    limited = ["bash", "-c", 'ulimit -n 200; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert 0 == done.returncode, done.stderr
    assert "ulimit -n 200" in done.stderr
    assert "kept      200   100.0 %" in done.stdout
