"""Workers of this machine: forked from a command, started anew for a caller with threads; the bytes are the same."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dalle.scenes import compose, draw
from pipelines.ingest import main
from tests.conftest import Job, hashes, jsonl, until, write_jpeg
from tests.server import Web

pytestmark = pytest.mark.slow

ANEW = "pipelines.local.worker"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """60 pictures on a web server, the last of which it can hold, so that no run ends before a test has seen it."""
    with Web(tmp_path_factory.mktemp("pictures")) as web:
        rows = []
        for number in range(60):
            name = f"{number:02d}.jpg"
            write_jpeg(web.folder / name, draw(compose(number, 300, 300)))
            url = web.url(f"held/{name}" if number == 59 else name)
            rows.append({"url": url, "caption": f"a drawn picture that has the number {number}"})
        jsonl(web.folder / "list.jsonl", rows)
        yield web


def flags(pictures: Web, out: Path, processes: int) -> list[str]:
    given = ["--url_list", pictures.folder / "list.jsonl", "--output_folder", out, "--number_sample_per_shard", 2]
    allowed = ["--allow_private_hosts", pictures.address, "--timeout", 60]
    return [str(flag) for flag in (*given, *allowed, "--processes_count", processes)]


@pytest.fixture(scope="module")
def whole(pictures: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of what one process makes of it."""
    out = tmp_path_factory.mktemp("whole") / "pairs"
    assert 0 == main(flags(pictures, out, 1))
    return hashes(out)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run; one that nobody has waited for yet does not."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] if process.status() != psutil.STATUS_ZOMBIE and process.is_running() else []
    return found


def begun(pictures: Web, out: Path) -> tuple[Job, list[psutil.Process], psutil.Process]:
    """A command that has finished a unit, all its processes, and its fork server."""
    job = Job("pipelines.ingest", *flags(pictures, out, 2))
    job.until_a_unit_is_done(out)
    command = psutil.Process(job.process.pid)
    (server,) = (child for child in command.children() if child.children())  # what decodes for the command has none
    return job, command.children(recursive=True), server


def anew(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of the processes that are interpreters of their own."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found += [process] if ANEW in process.cmdline() else []
    return found


def test_a_command_forks_its_workers(pictures: Web, whole: dict, tmp_path: Path) -> None:
    """None is a new interpreter; the command counts their processor time; nothing is left; same bytes."""
    with pictures.holding():
        job, family, server = begun(pictures, tmp_path / "out")
        assert 2 == len(server.children())
        assert not anew(family)
    done = job.ended()
    assert 0 == done.returncode, done.stderr
    until(lambda: not alive(family))
    assert whole == hashes(tmp_path / "out")


@contextlib.contextmanager
def looking(look: Callable[[list[psutil.Process]], None]) -> Iterator[None]:
    """Show a function the workers that are interpreters of their own, again and again while a block runs."""
    ended = threading.Event()

    def again() -> None:
        while not ended.wait(0.05):
            look(anew(psutil.Process().children(recursive=True)))

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_caller_with_threads_starts_workers_anew(pictures: Web, whole: dict, tmp_path: Path) -> None:
    """As a notebook or a test has; these are interpreters of their own."""
    seen = list[psutil.Process]()
    with looking(seen.extend):
        assert 0 == main(flags(pictures, tmp_path / "out", 2))
    assert 2 <= len({process.pid for process in seen})
    assert whole == hashes(tmp_path / "out")


def test_one_that_was_started_anew_is_killed(
    pictures: Web, whole: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """It ends the run of a caller as it ends a command's."""

    def kill(workers: list[psutil.Process]) -> None:
        if workers and list((tmp_path / "out").glob("*_stats.json")):
            workers[0].kill()

    with pictures.holding(), looking(kill):
        assert 1 == main(flags(pictures, tmp_path / "out", 2))
    assert "the runner gave up (a worker process died" in capsys.readouterr().err
    assert 0 == main(flags(pictures, tmp_path / "out", 1))
    assert whole == hashes(tmp_path / "out")


@pytest.mark.parametrize("victim", ["worker", "fork server"])
def test_one_of_them_is_killed(pictures: Web, whole: dict, tmp_path: Path, victim: str) -> None:
    """As by a machine that is short of memory: one sentence, no one left behind, and the same command goes on."""
    with pictures.holding():
        job, family, server = begun(pictures, tmp_path / "out")
        (server if victim == "fork server" else server.children()[0]).kill()
        done = job.ended(timeout=60)
    assert 1 == done.returncode, done.stderr
    assert "the runner gave up (a worker process died" in done.stderr
    assert "Traceback" not in done.stderr
    until(lambda: not alive(family))
    assert 0 == main(flags(pictures, tmp_path / "out", 1))
    assert whole == hashes(tmp_path / "out")
