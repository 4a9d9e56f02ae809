"""Links against a real server: good ones arrive, bad ones end in time with their reason."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.fetching.options import FetchOptions
from pipelines.stages.fetch import fetch
from pipelines.stages.open_local import open_local
from tests.conftest import jsonl, run_job
from tests.server import Web


def options(web: Web, **changed: object) -> FetchOptions:
    return FetchOptions(**{"timeout": 2.0, "retries": 0, "allow_private_hosts": (web.address,)} | changed)


def reasons(urls: list[str], chosen: FetchOptions) -> list[str]:
    results = {f.index: f.problem.reason if f.problem else "" for f in fetch(enumerate(urls), chosen)}
    assert sorted(results) == list(range(len(urls))), "each link ends exactly once"
    return [results[i] for i in range(len(urls))]


def test_many_files_arrive_whole(web: Web) -> None:
    """600 links over few connections: every one arrives once, with its bytes."""
    contents = {f"{i}.bin": bytes([i % 251]) * (1 + 37 * i) for i in range(600)}
    for name, content in contents.items():
        (web.folder / name).write_bytes(content)
    names = list(contents)
    chosen = options(web, timeout=20.0)
    results = {names[f.index]: f.data for f in fetch(((i, web.url(n)) for i, n in enumerate(names)), chosen)}
    assert contents == results


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.jpg", "http-404"),
        ("status/403", "http-403"),
        ("status/410", "http-410"),
        ("status/418", "http-4xx"),
        ("status/429", "rate-limited"),
        ("status/500", "http-5xx"),
        ("status/304", "redirects"),
        ("to//status/200", ""),
        ("to/ftp://example.org/a", "redirects"),
        ("to/file:///etc/passwd", "redirects"),
        ("to/http://10.0.0.1/a", "forbidden-address"),
        ("to/http://169.254.169.254/", "forbidden-address"),
        ("empty.jpg", "empty"),
        ("large.bin", "too-large"),
    ],
)
def test_reasons(web: Web, path: str, reason: str) -> None:
    """Each failure has its own word."""
    (web.folder / "empty.jpg").touch()
    (web.folder / "large.bin").write_bytes(bytes(200_000))
    assert [reason] == reasons([web.url(path)], options(web, max_bytes=100_000))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "bad-url"),
        ("ftp://example.org/a.jpg", "bad-url"),
        ("//example.org/a.jpg", "bad-url"),
        ("http://", "bad-url"),
        ("http://[bad/", "bad-url"),
        ("http://a b/", "bad-url"),
        ("javascript:alert(1)", "bad-url"),
        ("http://localhost/", "forbidden-address"),
        ("http://2130706433/", "forbidden-address"),
        ("http://0x7f000001/", "forbidden-address"),
        ("http://017700000001/", "forbidden-address"),
        ("http://127.1/", "forbidden-address"),
        ("http://[::ffff:127.0.0.1]/", "forbidden-address"),
        ("http://0/", "forbidden-address"),
        ("http://no-such-host.invalid/", "dns"),
    ],
)
def test_addresses_that_are_not_fetched(url: str, reason: str) -> None:
    """Other schemes, and every spelling of this machine."""
    assert [reason] == reasons([url], FetchOptions(timeout=5, retries=0))


def test_nobody_listens(web: Web) -> None:
    """A closed port refuses."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert ["refused"] == reasons([f"http://127.0.0.1:{port}/"], options(web, allow_private_hosts=()))


def test_deadline_is_by_the_clock(web: Web) -> None:
    """A server that drips or says nothing is given up in time, and good links beside it are kept."""
    (web.folder / "good.jpg").write_bytes(b"good")
    urls = [web.url("drip/1"), web.url("silent/1"), web.url("good.jpg"), web.url("drip/2")] * 3
    begun = time.monotonic()
    assert ["timeout", "timeout", "", "timeout"] * 3 == reasons(urls, options(web, timeout=1.0))
    assert time.monotonic() - begun < 1.0 + 1.0


def test_messages_are_the_same_in_every_run(web: Web) -> None:
    """They lie in the ledger, whose bytes do not depend on when a link gave up, nor on how far it had come."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        shut = f"127.0.0.1:{closed.getsockname()[1]}"
    urls = [web.url("drip/1"), web.url("silent/1"), f"http://{shut}/x.jpg"]

    def messages(timeout: float) -> list[str]:
        chosen = options(web, timeout=timeout, allow_private_hosts=(web.address, shut))
        results = {f.index: f.problem.message for f in fetch(enumerate(urls), chosen) if f.problem}
        return [results[number] for number in range(len(urls))]

    first = messages(0.4)
    assert "Could not connect" in first[2]
    assert first == messages(0.9)


def test_deadline_counts_retries(web: Web) -> None:
    """Attempts and the waits between them end with the link's own deadline."""
    begun = time.monotonic()
    chosen = options(web, timeout=0.7, retries=2)
    assert ["timeout", "http-5xx"] == reasons([web.url("silent/1"), web.url("status/503")], chosen)
    assert time.monotonic() - begun < chosen.deadline + 1.0


@pytest.mark.parametrize(("status", "comes"), [(503, True), (429, True), (404, False)])
def test_only_what_may_pass_is_tried_again(web: Web, status: int, comes: bool) -> None:
    """A server that fails once is asked again; one that says there is nothing is believed."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    result = next(fetch([(0, web.url(f"twice/{status}/a.jpg"))], options(web, retries=1)))
    assert comes == (result.data == b"picture")


def test_connect_to_reaches_only_what_it_names(web: Web) -> None:
    """A host is found where the flag says, without opening this machine to other links."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    chosen = FetchOptions(timeout=2, retries=0, connect_to=(f"photos.example:80:127.0.0.1:{web.port}",))
    urls = ["http://photos.example/a.jpg", "http://127.0.0.1:9/a.jpg", "http://other.invalid/a.jpg"]
    assert ["", "forbidden-address", "dns"] == reasons(urls, chosen)


def test_proxy_variables_are_ignored(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment's is not asked."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert [""] == reasons([web.url("a.jpg")], options(web))


def test_reader_may_leave(web: Web) -> None:
    """A reader that stops early ends the thread and its transfers."""
    (web.folder / "a.jpg").write_bytes(b"picture")
    results = fetch(((i, web.url("a.jpg")) for i in range(10_000)), options(web, thread_count=4))
    assert b"picture" == next(results).data
    results.close()


def test_unexpected_error_reaches_the_reader(web: Web) -> None:
    """What goes wrong in the thread fails the unit instead of losing links."""

    def links() -> object:
        yield 0, web.url("a.jpg")
        raise RuntimeError("the list broke")

    with pytest.raises(RuntimeError, match="the list broke"):
        list(fetch(links(), options(web)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timeout": 0}, "--timeout 0: expected more than 0"),
        ({"thread_count": -1}, "--thread_count -1"),
        ({"retries": -1}, "--retries -1: expected 0 or more"),
        ({"connect_to": ("a:b",)}, "--connect_to a:b: expected HOST:PORT:ADDRESS:PORT"),
        ({"allow_private_hosts": ("no host",)}, "--allow_private_hosts no host"),
    ],
)
def test_bad_options_fail_first(changed: dict, message: str) -> None:
    """One sentence, before anything is fetched."""
    with pytest.raises(ValueError, match=message):
        FetchOptions(**changed)


def test_local_files(tmp_path: Path) -> None:
    """Pictures of a folder, and a reason for each that cannot be had; no path leads out."""
    (tmp_path / "a.jpg").write_bytes(b"picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "big.jpg").write_bytes(bytes(20_000))
    names = ["a.jpg", "none.jpg", "empty.jpg", "folder.jpg", "big.jpg", "../a.jpg", "/etc/passwd", "file:///etc/passwd"]
    results = list(open_local(enumerate(names), str(tmp_path), 10_000))
    expected = ["", "not-found", "empty", "unreadable", "too-large", "bad-url", "bad-url", "bad-url"]
    assert expected == [problem.reason if problem else "" for _, _, problem in results]
    assert (0, b"picture", None) == results[0]


@pytest.mark.slow
def test_img2datasets_downloader_stands_in(data: Path, tmp_path: Path) -> None:
    """The same pictures by its downloader, dead links with our reasons, and the manifest names it."""
    names = [path.name for path in sorted((data / "coco_val2017").glob("*.jpg"))[:6]]
    with Web(data / "coco_val2017") as web:
        urls = [*map(web.url, names), web.url("gone.jpg"), "file:///etc/hostname", web.url("status/503/x")]
        links = jsonl(tmp_path / "l.jsonl", [{"url": url, "caption": "boats on the water"} for url in urls])
        for name, more in (("ours", []), ("theirs", ["--downloader", "img2dataset"])):
            flags = ["--url_list", links, "--output_folder", tmp_path / name, "--allow_private_hosts", *more]
            done = run_job("pipelines.ingest", *flags, "--processes_count", 1, "--retries", 0)
            assert 0 == done.returncode, done.stderr
    ours, theirs = (pq.read_table(tmp_path / name / "00000.parquet") for name in ("ours", "theirs"))
    assert ["success"] * 6 == theirs["status"].to_pylist()[:6]
    assert ["http-404", "bad-url", "http-5xx"] == theirs["reason"].to_pylist()[6:]
    assert ours["reason"].to_pylist() == theirs["reason"].to_pylist()
    assert ours["stored_sha256"].to_pylist() == theirs["stored_sha256"].to_pylist()
    manifest = json.loads((tmp_path / "theirs/manifest.json").read_text())
    assert "img2dataset" == manifest["options"]["downloader"]
