"""What many tests need: the real pictures and texts, a web server, and jobs run as a user runs them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from tests import alone
from tests.server import Web

ROOT = Path(__file__).parent.parent

settings.register_profile("ours", deadline=None, derandomize=True, max_examples=50)  # a busy machine is no failure
settings.load_profile("ours")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full` is for benchmarks/torture.py."""
    parser.addoption(
        "--full", action="store_true", help="laws over all there is, not over drawn parts of it; for hours"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file of `tests.alone` runs while its first test is waited for: each test's time is limited there."""
    for item in items:
        if item.get_closest_marker("alone") is not None and not alone.is_child():
            item.add_marker(pytest.mark.timeout(0))


_ALONE: dict[str, pytest.TestReport] = {}


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Tests that run in a process of their own are run by `tests.alone`."""
    report = alone.report_of(item, _ALONE)
    if report is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.ihook.pytest_runtest_logreport(report=report)
    item.session._setupstate.teardown_exact(nextitem)  # what the test before has left for this one
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether a law is to be tried at full size."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real pictures and texts."""
    folder = Path(os.environ.get("DALLE_TEST_DATA", ROOT / "../shared/data")).resolve()
    if not (folder / "coco_val2017").is_dir():
        pytest.skip(f"no real pictures and texts at {folder}; DALLE_TEST_DATA names their folder")
    return folder


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A web server on this machine with a folder of its own."""
    with Web(tmp_path / "www") as server:
        yield server


@pytest.fixture(scope="module")
def coco_web(data: Path) -> Iterator[Web]:
    """The COCO pictures on a web server."""
    with Web(data / "coco_val2017") as server:
        yield server


class Job:
    """A job run as a command of its own, in a process group of its own."""

    def __init__(self, name: str, *flags: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
        command = [sys.executable, "-m", name, *map(str, flags)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PATH": path, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ended(self, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)

    def until_a_unit_is_done(self, out: Path) -> None:
        """Wait until a unit has left its marker in this folder, or the job has ended."""
        until(lambda: bool(list(out.glob("*_stats.json"))) or self.process.poll() is not None)

    def kill_all(self) -> None:
        """SIGKILL to the command and all its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def run_job(
    name: str, *flags: object, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a job to its end."""
    return Job(name, *flags, env=env, cwd=cwd).ended()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the main command was run as the README says; `said.txt` in it is what it said.

    All processes of a run of the suite have the one; none changes it.
    """
    of_this_process = tmp_path_factory.getbasetemp()
    place = (of_this_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_this_process) / "newcomer"
    with FileLock(f"{place}.lock"):
        if not (place / "said.txt").exists():
            place.mkdir()
            done = run_job("pipelines.ingest", "--runner=DirectRunner", cwd=place)
            assert 0 == done.returncode, done.stderr
            (place / "said.txt").write_text(done.stdout)
    return place


def hashes(folder: Path, *, markers: bool = False) -> dict[str, str]:
    """sha256 of every file of a dataset that is compared: all but the markers, and nothing may be left over."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if markers or not name.endswith("_stats.json")
    }


class SmallDisk:
    """A disk of so many megabytes, mounted at `place` while a `with` block runs."""

    def __init__(self, place: Path, megabytes: float) -> None:
        self._place, self._megabytes = place, megabytes

    def __enter__(self) -> SmallDisk:
        self._place.mkdir()
        if self._mount("-t", "tmpfs", "-o", _size(self._megabytes), "tmpfs").returncode:
            pytest.skip("a small disk cannot be mounted here")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self._place)], check=True)

    def grow(self, megabytes: float) -> None:
        """Let it have this size."""
        self._mount("-o", f"remount,{_size(megabytes)}").check_returncode()

    def runs_out_under(self, job: Callable[[Path], int], told: Callable[[], str]) -> tuple[int, dict[str, str]]:
        """Do a job into a folder here with a little more room each time, until it ends well.

        Whenever room runs out it says so in one sentence, and nothing is half-named.

        Args:
            job: given the folder, does it and gives its exit code.
            told: gives what it wrote to standard error.

        Returns:
            how often it failed, and the hashes of what it made in the end.
        """
        out, failed = self._place / "out", 0
        while job(out):
            said = told()
            assert "o space left on" in said
            assert "Traceback" not in said
            assert not [name for name in hashes(out) if ".tmp-" in name]
            failed += 1
            self.grow(self._megabytes * (1 + failed))
        return failed, hashes(out)

    def _mount(self, *how: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["mount", *how, str(self._place)], capture_output=True, check=False)


def _size(megabytes: float) -> str:
    return f"size={int(1024 * megabytes)}k"


def until(happens: Callable[[], bool]) -> None:
    """Look again and again until it is so; four minutes without it, of a machine however busy, is a failure."""
    patience = time.monotonic() + 240
    while not happens():
        assert time.monotonic() < patience
        time.sleep(0.01)


def write_jpeg(path: Path, pixels: np.ndarray, quality: int = 92) -> None:
    """Write [H, W, 3] uint8 RGB as a JPEG file."""
    path.write_bytes(cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def jsonl(path: Path, rows: Sequence[dict]) -> Path:
    """Write a list of links."""
    import json

    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
