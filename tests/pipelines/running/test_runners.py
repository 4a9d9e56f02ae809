"""A runner that cannot begin is one sentence, before anything is written and without waiting for what never comes."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.running import runners
from pipelines.running.runners import check_runner
from tests.conftest import run_job


@contextlib.contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """A web server on this machine that says this of everything; gives HOST:PORT."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def closed() -> str:
    """HOST:PORT where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def jar(tmp_path: Path) -> str:
    """A file that stands for a job server, which is not started."""
    (tmp_path / "server.jar").write_bytes(b"PK")
    return str(tmp_path / "server.jar")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No download succeeds, and none was made before; a proxy that nobody listens at is asked for all."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


FLINK, SPARK = ["--runner=FlinkRunner"], ["--runner", "SparkRunner"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--runner=FlnkRunner"], r"--runner FlnkRunner: expected one of Bundle.*, or a class's full name; did you mean Flink\?"),
        (["--runner=direkt"], r"--runner direkt: expected one of .*; did you mean Direct\?"),
        (["--runner=SamzaRunner"], r"--runner SamzaRunner: expected one of .*, or a class's full name"),
        (["--runner=InteractiveRunner"], r"--runner InteractiveRunner: .*expected one of .*"),
        (["--runner="], r"--runner : expected one of .*"),
        (["--runner=pathlib.Path"], r"--runner pathlib\.Path: is no runner of Beam's; .*"),
        (["--runner=apache_beam.runners.Nope"], r"--runner apache_beam\.runners\.Nope: is no runner of Beam's; .*"),
        (["--runner=PortableRunner"], r"--runner PortableRunner: --job_endpoint is missing; expected HOST:PORT .*"),
        (["--runner=PortableRunner", "--job_endpoint={closed}"], r"--job_endpoint \S+: it cannot be reached \(Connection refused\); .*"),
        (["--runner=PortableRunner", "--job_endpoint={web}"], r"--job_endpoint \S+: what listens there is no job server of Beam's"),
        (["--runner=PortableRunner", "--job_endpoint=x"], r"--job_endpoint x: it cannot be reached .*HOST:PORT .*"),
        ([*FLINK, "--flink_master={closed}"], r"--flink_master 127\S+: it cannot be reached \(Connection refused\); expected HOST:PORT .*"),
        ([*FLINK, "--flink_master=http://{closed}"], r"--flink_master http://\S+: it cannot be reached .*"),
        ([*FLINK, "--flink_master=no-such-host.invalid:8081"], r"--flink_master \S+: it cannot be reached .*"),
        ([*FLINK, "--flink_master=a b:c"], r"--flink_master a b:c: it cannot be reached .*"),
        ([*FLINK, "--flink_master={web}"], r"--flink_master \S+: what answers there is no Flink; .*"),
        ([*FLINK, "--flink_job_server_jar=no/such.jar"], r"--flink_job_server_jar no/such\.jar: there is no such file; .*"),
        ([*FLINK, "--job_server_java_launcher=no-java"], r"--runner FlinkRunner: its job server needs Java, .*'no-java'; .*"),
        ([*SPARK, "--spark_master_url=spark://{closed}"], r"--spark_master_url spark://\S+: it cannot be reached .*"),
        ([*SPARK, "--job_server_java_launcher=no-java"], r"--runner SparkRunner: its job server needs Java, .*"),
        (["--flink_master={closed}"], r"--flink_master \S+: DirectRunner works on this machine and knows no master; give --runner FlinkRunner"),
        (["--runner=direct", "--spark_master_url=spark://a:1"], r"--spark_master_url \S+: direct works on this machine .* --runner SparkRunner"),
        (["--runner=KafkaStreamsRunner"], r"--runner KafkaStreamsRunner: Beam publishes no job server of it; .*"),
        (["--runner=TestDataflowRunner"], r"--runner TestDataflowRunner: needs --temp_location, --staging_location, --project, --region, too"),
        ([*SPARK, "--spark_submit_uber_jar"], r"--spark_submit_uber_jar: --spark_rest_url is missing; .*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_a_runner_lacks(flags: list[str], sentence: str, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said as soon as the flags are read, in a sentence that names the flag and what to give."""
    monkeypatch.setattr(runners, "_PATIENCE", 1.0)
    monkeypatch.setattr("shutil.which", lambda name: None if name == "no-java" else name)
    with answering(b'{"hello": "world"}') as web, pytest.raises(ValueError, match=rf"^{sentence}$"):
        check_runner([flag.format(closed=closed, web=web) for flag in flags])


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("flags", "flag"),
    [(FLINK, "--flink_job_server_jar"), (SPARK, "--spark_job_server_jar"), (["--runner=PrismRunner"], "--prism_location")],
)  # fmt: skip
def test_what_cannot_be_fetched(flags: list[str], flag: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a network: what to fetch where there is one, and how to give it; no promise that the same will go on."""
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(
        "apache_beam.runners.portability.prism_runner.PrismJobServer.BIN_CACHE", str(tmp_path / "prism")
    )
    monkeypatch.setattr(
        "apache_beam.utils.subprocess_server.JavaJarServer.JAR_CACHE", str(tmp_path / "jars"), raising=False
    )
    begun = time.monotonic()
    with pytest.raises(ValueError, match=rf"not on this machine and cannot be .*{flag} FILE") as caught:
        check_runner(flags)
    assert time.monotonic() - begun < 30
    assert "the same command" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_has_all_it_needs(jar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is let through: the local ones however they are spelled, an embedded job server, a Flink that answers as one."""
    monkeypatch.setattr("shutil.which", lambda name: name)
    local = ("DirectRunner", "directrunner", "direct", "FnApiRunner", "apache_beam.runners.direct.DirectRunner")
    for flags in ([], *([f"--runner={name}"] for name in local), ["--runner=PortableRunner", "--job_endpoint=embed"]):
        check_runner(flags)
    with_jar = [*FLINK, f"--flink_job_server_jar={jar}"]
    check_runner(with_jar)
    check_runner([*with_jar, "--flink_master=[local]"])
    with answering(b'{"flink-version": "1.20.0"}') as flink, answering(b"who is there?", 401) as closed:
        for master in (flink, f"http://{flink}", f"http://{flink}/", closed):
            check_runner([*with_jar, f"--flink_master={master}"])
    check_runner([*SPARK, f"--spark_job_server_jar={jar}"])


@pytest.mark.slow
def test_a_command_says_it_in_one_line(tmp_path: Path, closed: str) -> None:
    """Exit code 2, nothing written, no folder left."""
    (tmp_path / "l.csv").write_text("url,caption\nhttp://a.example/x.png,a small drawing\n")
    where = ["--url_list", tmp_path / "l.csv", "--output_folder", tmp_path / "out"]
    done = run_job("pipelines.ingest", *where, "--runner=FlinkRunner", f"--flink_master={closed}")
    assert 2 == done.returncode
    assert [f"pipelines.ingest: --flink_master {closed}: it cannot be reached (Connection refused)"] == [
        line.partition(";")[0] for line in done.stderr.splitlines()
    ]
    assert not (tmp_path / "out").exists()
