"""Fifty ways in which a server can be wrong: each link ends in time with its reason, and good ones are kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dalle.scenes import compose, draw
from pipelines.fetching.options import FetchOptions
from pipelines.sample_web.pictures import encoded
from pipelines.stages.fetch import fetch
from tests.conftest import ROOT, jsonl, run_job
from tests.hostile import MANNERS
from tests.server import Web

pytestmark = pytest.mark.slow

KEPT = ""
EXPECTED: dict[str, set[str]] = {
    "good": {KEPT},
    "drip_headers": {"timeout"},
    "drip_body": {"timeout"},
    "endless_body": {"too-large"},
    "endless_headers": {"bad-response", "reset"},
    "huge_header": {"bad-response", "reset"},
    "short_body": {"reset"},
    "long_body": {KEPT},
    "redirect_loop": {"redirects", "reset"},
    "redirect_chain": {"redirects", "reset"},
    "redirect_private": {"forbidden-address"},
    "redirect_metadata": {"forbidden-address"},
    "redirect_other_port": {"forbidden-address"},
    "redirect_file": {"redirects"},
    "redirect_nowhere": {"redirects"},
    "redirect_garbage": {"redirects"},
    "reset_in_body": {"reset"},
    "reset_at_once": {"reset"},
    "says_nothing_and_closes": {"reset"},
    "never_answers": {"timeout"},
    "web_page": {KEPT},  # as bytes; decoding refuses it
    "page_called_picture": {KEPT},
    "noise": {KEPT},
    "gzip_bomb": {"too-large"},
    "gzip_many_layers": {"bad-response"},
    "gzip_of_a_picture": {KEPT},
    "gzip_garbage": {"bad-response"},
    "unknown_encoding": {KEPT},
    "busy_then_good": {KEPT},
    "busy_for_an_hour": {"rate-limited"},
    "down": {"http-5xx"},
    "error_page_for_ever": {"http-404"},
    "closes_though_alive": {KEPT},
    "chunk_garbage": {"bad-response"},
    "chunk_without_end": {"bad-response"},
    "chunk_cut": {"reset"},
    "chunks_of_one": {KEPT},
    "no_headers": {"bad-response"},
    "future_version": {"bad-response"},
    "status_999": {"http-4xx"},
    "negative_length": {"bad-response", KEPT},
    "lengths_that_disagree": {"bad-response"},
    "continue_for_ever": {"timeout", "bad-response"},
    "no_content": {"empty"},
    "switching": {"timeout", "bad-response", "empty"},
    "nul_in_header": {"bad-response"},
    "opted_out": {"opted-out"},
    "second_answer_smuggled": {KEPT},
    "many_cookies": {KEPT},
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, bytes]]:
    """The server's ports, and the picture that it sends when it is good."""
    picture = tmp_path_factory.mktemp("hostile") / "picture.jpg"
    picture.write_bytes(encoded(draw(compose(1, 320, 256)), "jpg"))
    command = [sys.executable, "-m", "tests.hostile", str(picture)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        http, https = map(int, server.stdout.readline().split())
        yield http, https, picture.read_bytes()
        server.kill()


def test_every_manner_is_expected() -> None:
    """At least thirty, and none without its right end."""
    assert set(MANNERS) == set(EXPECTED)
    assert len(MANNERS) >= 30


def test_each_link_ends_in_time_with_its_reason(hostile: tuple[int, int, bytes]) -> None:
    """All at once, three times each, good ones between them."""
    http, _, picture = hostile
    names = [name for name in MANNERS for _ in range(1 if name == "busy_then_good" else 3) for name in (name, "good")]
    options = FetchOptions(timeout=2.0, retries=1, max_bytes=4 << 20, allow_private_hosts=(f"127.0.0.1:{http}",))
    begun = time.monotonic()
    ended, results = {}, {}
    for result in fetch(((i, f"http://127.0.0.1:{http}/{name}") for i, name in enumerate(names)), options):
        ended[result.index] = time.monotonic() - begun
        results[result.index] = result
    assert list(range(len(names))) == sorted(results)
    wrong = []
    for index, name in enumerate(names):
        problem = results[index].problem
        reason = problem.reason if problem else KEPT
        if reason not in EXPECTED[name] or ended[index] > options.deadline + 1:
            wrong.append((name, reason, problem and problem.message, round(ended[index], 2)))
        if reason == KEPT and name in (
            "good",
            "long_body",
            "chunks_of_one",
            "gzip_of_a_picture",
            "second_answer_smuggled",
        ):
            assert picture == results[index].data, name
    assert not wrong


def test_certificates_are_checked(hostile: tuple[int, int, bytes], web: Web) -> None:
    """A certificate nobody vouches for, and speaking TLS to a server that does not."""
    _, https, _ = hostile
    options = FetchOptions(timeout=3.0, retries=0, allow_private_hosts=())
    links = [(0, f"https://localhost:{https}/good"), (1, f"https://localhost:{web.port}/good")]
    assert {0: "tls", 1: "tls"} == {f.index: f.problem and f.problem.reason for f in fetch(links, options)}


def test_the_job_survives_it_all(hostile: tuple[int, int, bytes], tmp_path: Path) -> None:
    """Through the real job: every row is accounted for, good ones are kept, what is no picture is refused."""
    http, _, _ = hostile
    names = [name for name in MANNERS if name != "busy_then_good"] + ["good"] * 20
    links = jsonl(
        tmp_path / "l.jsonl",
        [{"url": f"http://127.0.0.1:{http}/{n}", "caption": f"a picture that is {n}"} for n in names],
    )
    done = run_job(
        "pipelines.ingest", "--url_list", links, "--output_folder", tmp_path / "out", "--timeout", 1.5, "--retries", 0,
        "--max_bytes", 4 << 20, "--allow_private_hosts", f"127.0.0.1:{http}", "--number_sample_per_shard", 40,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    rows = [row for path in sorted((tmp_path / "out").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert names == [row["url"].rsplit("/", 1)[-1] for row in rows]
    for name, row in zip(names, rows, strict=True):
        if name in ("web_page", "page_called_picture", "noise"):
            assert ("decode", "not-an-image") == (row["stage"], row["reason"])
        elif EXPECTED[name] == {KEPT}:
            assert row["status"] == "success", (name, row["reason"], row["error_message"])
        else:
            assert row["status"] == "success" or row["reason"] in EXPECTED[name], (
                name,
                row["reason"],
                row["error_message"],
            )


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to give a name another address")
def test_a_name_that_changes_its_address(tmp_path: Path) -> None:
    """DNS rebinding: a name that was public and then is this machine gets no connection, whenever it turns."""
    script = tmp_path / "rebind.py"
    script.write_text(
        """
import sys, threading, http.server
from pipelines.fetching.options import FetchOptions
from pipelines.stages.fetch import fetch

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("REACHED", flush=True)
        self.send_response(200); self.end_headers(); self.wfile.write(b"secret")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
for address in ("203.0.113.9", "127.0.0.1", "::ffff:127.0.0.1", "10.0.0.7"):
    open("/etc/hosts", "w").write(f"{address} rebind.example\\n")
    options = FetchOptions(timeout=1.0, retries=0, ignore_robots=address.startswith("203"))
    for found in fetch([(0, f"http://rebind.example:{port}/x")], options):
        print(address, found.problem.reason, flush=True)
"""
    )
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    command = f"mount --bind {hosts} /etc/hosts && exec {sys.executable} {script}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if "REACHED" not in done.stdout and done.returncode:
        pytest.skip(f"no mount namespace here: {done.stderr[-200:]}")
    assert "REACHED" not in done.stdout
    reasons = dict(line.split() for line in done.stdout.splitlines())
    assert {
        "127.0.0.1": "forbidden-address",
        "::ffff:127.0.0.1": "forbidden-address",
        "10.0.0.7": "forbidden-address",
    } == {address: reason for address, reason in reasons.items() if address != "203.0.113.9"}
