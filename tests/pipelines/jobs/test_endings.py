"""How real jobs and trainings end: stopped in every phase of their beginning and their work, robbed of a process, unheard.

What holds for any command at any moment is shown for small ones in `tests/schemas/commands`; here it is Beam's workers,
torch's readers and a pool of processes that must not keep a command from its end.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dalle.scenes import compose, draw
from pipelines.dedup import main as dedup
from pipelines.encode import main as encode
from pipelines.ingest import main as ingest
from schemas.exit_codes import FAILED, NOTHING_KEPT, OK
from schemas.folder import Folder
from schemas.manifest import read_manifest
from tests.conftest import ROOT, SmallDisk, hashes, jsonl, until, write_jpeg
from tests.object_store import ObjectStore
from tests.server import Web

pytestmark = pytest.mark.slow

LIMIT = 5.0
PICTURES = 24
ROUNDS = 4
"""Of all phases, in benchmarks/torture.py."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Path]]:
    """Pictures on a web server that can hold the last of them; pairs, clean ones and examples made of them."""
    place = tmp_path_factory.mktemp("world")
    with Web(tmp_path_factory.mktemp("www")) as web:
        rows = []
        for number in range(PICTURES):
            write_jpeg(web.folder / f"{number}.jpg", draw(compose(number, 80, 80)))
            url = web.url(f"held/{number}.jpg" if number == PICTURES - 1 else f"{number}.jpg")
            rows.append({"url": url, "caption": f"a drawn picture that has the number {number}"})
        jsonl(web.folder / "list.jsonl", rows)
        clean = [
            "--input_folder",
            f"{place}/pairs",
            "--output_folder",
            f"{place}/clean",
            "--within",
            "--detector",
            "phash",
        ]
        examples = [
            "--input_folder",
            f"{place}/clean",
            "--output_folder",
            f"{place}/examples",
            "--dvae",
            "tests.own_encoder:Greys",
        ]
        assert OK == ingest([*ingest_flags(web, place / "pairs"), "--processes_count", "1"])
        assert OK == dedup([*clean, "--processes_count", "1"])
        assert OK == encode([*examples, "--processes_count", "1"])
        yield web, place


def ingest_flags(web: Web, out: Path) -> list[str]:
    flags = ["--url_list", web.folder / "list.jsonl", "--output_folder", out, "--number_sample_per_shard", "2"]
    return [*map(str, flags), "--allow_private_hosts", web.address, "--timeout", "60"]


Phase = Callable[[psutil.Process, Path], bool]


def has_children(command: psutil.Process, _out: Path) -> bool:
    """The fork server, or the first process that reads ahead or audits."""
    with contextlib.suppress(psutil.Error):
        return bool(command.children())
    return False


def has_workers(command: psutil.Process, _out: Path) -> bool:
    """The first of them."""
    with contextlib.suppress(psutil.Error):
        return any(child.children() for child in command.children())
    return False


def has_begun(_command: psutil.Process, out: Path) -> bool:
    """The folder is there, the job is not done."""
    return (out / "_recipe.json").exists()


def has_done_something(_command: psutil.Process, out: Path) -> bool:
    """A unit, or steps of a training."""
    return bool([*out.glob("*_stats.json"), *(path for path in out.glob("log.jsonl") if path.stat().st_size)])


@dataclass(frozen=True)
class Stop:
    """A command, and when it is asked to end."""

    name: str
    flags: Sequence[str]
    out: Path
    phase: Phase
    later: float
    """Seconds after the phase began."""
    number: signal.Signals
    to_all: bool


def stops(world: tuple[Web, Path], folder: Path, rounds: int) -> Iterator[Stop]:
    """Jobs and trainings in their phases; signal, whom it is sent to and how much later vary with them."""
    web, place = world
    training = ("--steps", "100000", "--log_every", "1", "--workers", "1")
    commands: list[tuple[str, Callable[[Path], list[str]], tuple[Phase, ...]]] = [
        ("pipelines.ingest", lambda out: [*ingest_flags(web, out), "--processes_count", "3"], (has_begun, has_children, has_workers, has_workers, has_done_something)),
        ("pipelines.dedup", lambda out: ["--input_folder", f"{place}/pairs", "--within", "--output_folder", str(out), "--processes_count", "2"], (has_workers,)),
        ("pipelines.encode", lambda out: ["--input_folder", f"{place}/clean", "--output_folder", str(out), "--processes_count", "2"], (has_workers,)),
        ("pipelines.audit", lambda _: [f"{place}/clean", "--processes_count", "2"], (has_children,)),
        ("dalle.train_dvae", lambda out: ["tiny", "--input_folder", f"{place}/clean", "--output_folder", str(out), "--batch_size", "2", *training], (has_children, has_done_something)),
        ("dalle.train_prior", lambda out: ["tiny", "--input_folder", f"{place}/examples", "--output_folder", str(out), *training], (has_done_something,)),
    ]  # fmt: skip
    every = [(name, flags, phase) for name, flags, phases in commands for phase in phases] * rounds
    for number, (name, flags, phase) in enumerate(every, 1):
        out = folder / str(number) / "out"
        later = 0.07 * (number % 4) + 0.031 * (number // len(commands))
        yield Stop(name, flags(out), out, phase, later, (signal.SIGTERM, signal.SIGINT)[number % 2], number % 3 == 0)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    running = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            running += [process] if process.status() != psutil.STATUS_ZOMBIE and process.is_running() else []
    return running


def ended(stop: Stop) -> str:
    """What is wrong with how it ended; nothing if all is well."""
    temporary = stop.out.parent / "tmp"
    temporary.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", stop.name, *stop.flags], cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    command = psutil.Process(process.pid)
    until(lambda: process.poll() is not None or stop.phase(command, stop.out))
    time.sleep(stop.later)
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = command.children(recursive=True)
    begun = time.monotonic()
    (os.killpg if stop.to_all else os.kill)(process.pid, stop.number)
    try:
        out, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"hangs {process.communicate()}"
    while (left := alive(family)) and time.monotonic() - begun < LIMIT:  # those that were killed take a moment
        time.sleep(0.01)
    took = time.monotonic() - begun
    late = (
        "it did not end by itself in time" in err
    )  # where the machine is busy with others: the guard ends and says it
    faults = {
        f"took {took:.1f} s": took > LIMIT,
        f"code {process.returncode}": process.returncode != (-stop.number if late else 128 + stop.number),
        f"said {err!r}": "Traceback" in out + err or 1 != len(err.splitlines()) or ": stopped" not in err,
        f"left {left}": bool(left),
        "left temporary files": bool(list(temporary.iterdir())),
        "left a manifest": (stop.out / "manifest.json").exists(),
        f"did not save, said {err!r}": stop.name.startswith("dalle") and stop.phase is has_done_something and "is saved in" not in err,
    }  # fmt: skip
    return ", ".join(fault for fault, is_so in faults.items() if is_so)


def test_stopped_in_every_phase(
    world: tuple[Web, Path], tmp_path: Path, full: bool, record_property: Callable[[str, object], None]
) -> None:
    """Within five seconds, in one sentence, with the signal's code, and nothing is left; a training has saved."""
    web, _ = world
    with web.holding(), ThreadPoolExecutor(2) as pool:
        all_stops = list(stops(world, tmp_path, ROUNDS if full else 1))
        faults = {
            f"{stop.name}, {stop.phase.__name__} {stop.later:.3f}, {stop.number.name}, to all {stop.to_all}": fault
            for stop, fault in zip(all_stops, pool.map(ended, all_stops), strict=True)
        }
    record_property("kills", len(all_stops))
    assert {} == {what: fault for what, fault in faults.items() if fault}


@pytest.mark.parametrize("where", ["2>&1 | true", ">&- 2>&-"])
def test_unheard(world: tuple[Web, Path], tmp_path: Path, where: str) -> None:
    """However nobody listens: the work is done, and so says the code; also where a finished folder is made anew."""
    web, place = world
    command = [sys.executable, "-m", "pipelines.ingest", *ingest_flags(web, tmp_path / "out"), "--processes_count", "2"]
    for more, expected in (([], hashes(place / "pairs")), (["--image_size", "64"], None)):
        done = subprocess.run(
            ["bash", "-c", f'set -o pipefail; "$@" {where}', "-", *command, *more], cwd=ROOT, check=False
        )
        assert OK == done.returncode
        assert expected is None or expected == hashes(tmp_path / "out")
        options = read_manifest(Folder(tmp_path / "out"))["options"]
        assert (64 if more else 256) == options["image_size"]


def test_unheard_where_words_are_all(world: tuple[Web, Path]) -> None:
    """An audit and a plan leave nothing but what they print: unheard they fail."""
    web, place = world
    plan = ["pipelines.ingest", *ingest_flags(web, place / "none"), "--plan"]
    for command in (["pipelines.audit", f"{place}/clean", "--processes_count", "1"], plan):
        words = [sys.executable, "-m", *command]
        done = subprocess.run(
            ["bash", "-c", '"$@" > /dev/full', "-", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert FAILED == done.returncode
        assert "could not be printed: standard output is closed or full" in done.stderr


@pytest.mark.parametrize("name", ["pipelines.audit", "dalle.train_dvae"])
def test_robbed_of_a_process(world: tuple[Web, Path], tmp_path: Path, name: str) -> None:
    """A process of a pool, or one that reads ahead, is killed: exit code 1 and one sentence."""
    _, place = world
    flags = {
        "pipelines.audit": [f"{place}/clean", "--processes_count", "2"],
        "dalle.train_dvae": ["tiny", "--input_folder", f"{place}/clean", "--output_folder", f"{tmp_path}/out", "--steps", "100000", "--workers", "1"],
    }[name]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", name, *flags], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    command = psutil.Process(process.pid)
    victims: list[psutil.Process] = []
    number = 2 if "--processes_count" in flags else 1  # all: a pool that still starts some says more than a sentence
    while process.poll() is None and len(victims) < number:
        with contextlib.suppress(psutil.Error):
            victims = [child for child in command.children() if "spawn_main" in " ".join(child.cmdline())]
    victims[0].kill()
    said = process.communicate(timeout=60)[1]
    assert (FAILED, 1) == (process.returncode, len(said.splitlines())), said
    assert "died" in said


def test_nothing_kept(world: tuple[Web, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every row refused, or every picture a copy: the manifest is there, and the code says so; again, too."""
    web, place = world
    flags = [*ingest_flags(web, tmp_path / "pairs"), "--min_words", "1000", "--processes_count", "1"]
    assert [NOTHING_KEPT, NOTHING_KEPT] == [ingest(flags), ingest(flags)]
    assert PICTURES == read_manifest(Folder(tmp_path / "pairs"))["counts"]["statuses"]["refused"]
    copies = [
        "--reference",
        f"all={web.folder}",
        "--allow_self_reference",
        "--detector",
        "phash",
        "--processes_count",
        "1",
    ]
    assert NOTHING_KEPT == dedup(["--input_folder", f"{place}/pairs", "--output_folder", f"{tmp_path}/clean", *copies])
    assert OK == ingest(["--url_list", str(web.folder), "--dataset", "folder", "--output_folder", f"{tmp_path}/local", "--filters", "none", "--processes_count", "1"])  # fmt: skip
    capsys.readouterr()


def test_a_full_temporary_folder(world: tuple[Web, Path], tmp_path: Path) -> None:
    """It is named; with room the same command makes the same."""
    web, place = world
    command = [sys.executable, "-m", "pipelines.ingest", *ingest_flags(web, tmp_path / "out"), "--processes_count", "2"]
    with SmallDisk(tmp_path / "small", 0.3):
        env = {**os.environ, "TMPDIR": str(tmp_path / "small")}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert [] == list((tmp_path / "small").iterdir())
    assert (FAILED, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert "No space left on device" in done.stderr
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (OK, hashes(place / "pairs")) == (done.returncode, hashes(tmp_path / "out"))


def test_a_limit_of_files(world: tuple[Web, Path], tmp_path: Path) -> None:
    """`ulimit -f` is named, and nothing is half-named."""
    web, _ = world
    for processes in ("1", "2"):
        flags = [*ingest_flags(web, tmp_path / "out"), "--processes_count", processes]
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.ingest", *flags], cwd=ROOT, capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        )  # fmt: skip
        assert (FAILED, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
        assert "File too large; ulimit -f says how large a file may become" in done.stderr
        assert not (tmp_path / "out/manifest.json").exists()


def test_a_store_that_goes_away(world: tuple[Web, Path]) -> None:
    """In the middle of a run, and before it: exit code 1, and it is said that it was the store."""
    s3fs = pytest.importorskip("s3fs")
    web, _ = world
    with ObjectStore(10**9) as store:
        env = {**os.environ, **store.environment(), "AWS_ENDPOINT_URL": store.steady, "AWS_MAX_ATTEMPTS": "1"}
        fs = s3fs.S3FileSystem(endpoint_url=store.steady, key="nobody", secret="nothing", use_listings_cache=False)
        fs.mkdir("bucket")
        for moment in ("in the middle", "before"):
            flags = [
                *ingest_flags(web, Path("out"))[:2],
                "--output_folder",
                "s3://bucket/out",
                "--number_sample_per_shard",
                "2",
            ]
            words = [*flags, "--allow_private_hosts", web.address, "--timeout", "60", "--processes_count", "2"]
            process = subprocess.Popen([sys.executable, "-m", "pipelines.ingest", *words], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
            if moment == "in the middle":
                while process.poll() is None and not fs.glob("bucket/out/*_stats.json"):
                    time.sleep(0.05)
                store._process.kill()
            said = process.communicate(timeout=120)[1]
            assert (FAILED, 1) == (process.returncode, len(said.splitlines())), said
            assert "the store failed" in said
