"""The same commands on a real Flink give the same bytes: `make flink-test`; both results are left in build/flink."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from dalle import scenes
from pipelines import sample_web
from tests.conftest import ROOT, Job, hashes
from tests.flink import parts
from tests.flink.chain import FOLDERS, HERE, JOBS, Engine, Source, check_and_learn, do, environment_of
from tests.flink.cluster import SLOTS, Standalone, Started, settings, start_pool
from tests.flink.parts import JobServer, Missing
from tests.flink.report import Report

pytestmark = [pytest.mark.flink, pytest.mark.timeout(1800)]

PLACE = ROOT / "build/flink"


@pytest.fixture(scope="module")
def server() -> JobServer:
    try:
        return parts.job_server()
    except Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def report(server: JobServer) -> Report:
    return Report.of(PLACE, server.what, parts.FLINK.get(server.flink, server.flink))


@pytest.fixture(scope="module")
def started(report: Report) -> Iterator[Started]:
    started = Started(PLACE / "logs")
    yield started
    started.close()


@pytest.fixture(scope="module")
def pool(started: Started) -> str:
    return start_pool(started)


@pytest.fixture(scope="module")
def cluster(started: Started, server: JobServer) -> Standalone:
    try:
        return Standalone(started, parts.flink_libraries(server.flink), PLACE / "settings/cluster")
    except Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photographs(data: Path) -> Source:
    """Real photographs, and what other people made of some of them."""
    flags = ("--dataset", "folder", "--url_list", str(data / "flickr8k"), "--number_sample_per_shard", "20")
    return Source("flickr8k", flags, f"others={data / 'neardup'}")


@pytest.fixture(scope="module")
def web(report: Report) -> Source:
    """The sample web, which ingest draws and serves itself."""
    place = PLACE / "sample"
    place.mkdir(parents=True, exist_ok=True)
    return Source("sample", (), f"validation={sample_web.build(place / 'data/sample').validation}", cwd=place)


@pytest.fixture(scope="module")
def here(report: Report) -> dict[str, Path]:
    """By source, where the chain was already done on this machine without Flink."""
    return {}


def emptied(place: Path) -> Path:
    """A folder without what an earlier run of these tests left in it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def done_here(source: Source, here: dict[str, Path]) -> Path:
    if source.name not in here:
        place = emptied(PLACE / source.name / "local")
        for job in JOBS:
            do(job, source, place, HERE)
        check_and_learn(place)
        here[source.name] = place
    return here[source.name]


def on_flink(server: JobServer, pool: str, name: str, master: str, parallelism: int, log: Path) -> Engine:
    """The flags for Flink that docs/scale.md gives.

    At parallelism 2 all slots of a task manager share one Python process, its threads do units side by side; at 4 each
    slot has one of its own.
    """
    flags = (
        "--runner=FlinkRunner",
        f"--flink_version={server.flink}",
        f"--flink_job_server_jar={server.jar}",
        f"--flink_master={master}",
        f"--parallelism={parallelism}",
        "--environment_type=EXTERNAL",
        f"--environment_config={pool}",
        f"--sdk_worker_parallelism={1 if parallelism <= SLOTS else SLOTS}",
    )
    return Engine(name, flags, environment_of(log, settings(PLACE / "settings" / name)[0]))


def embedded_jobs(log: Path) -> dict[str, None]:
    """The ids of jobs that an embedded cluster took, which is gone when the command ends."""
    text = (log / "job-server.log").read_text() if (log / "job-server.log").exists() else ""
    return dict.fromkeys(re.findall(r"Submitting job '[^']*' \((\w{32})\)", text))


def test_small_embedded(server: JobServer, pool: str, report: Report) -> None:
    """One job on a few drawn pictures, on the cluster inside Beam's job server: what the gate runs."""
    place = emptied(PLACE / "small")
    (place / "pictures").mkdir()
    for number in range(24):
        scene = scenes.compose(number, 320, 280)
        Image.fromarray(scenes.draw(scene)).save(place / f"pictures/{number:02d}.png")
        (place / f"pictures/{number:02d}.txt").write_text(scenes.describe(scene, 1)[0])
    flags = ("--dataset", "folder", "--url_list", str(place / "pictures"), "--number_sample_per_shard", "4")
    source = Source("small", flags, "")
    do("ingest", source, place / "local", HERE)
    flink = on_flink(server, pool, "embedded", "[local]", 2, PLACE / "logs/small")
    do("ingest", source, place / "flink", flink)
    compared, jobs = hashes(place / "local"), embedded_jobs(PLACE / "logs/small")
    same = compared == hashes(place / "flink")
    report.add(
        source="small", job="ingest", cluster="embedded", parallelism=2, jobs=jobs, files=len(compared), same=same
    )
    assert 13 == len(compared)
    assert same
    assert 1 == len(jobs)


def test_killed_task_manager(server: JobServer, pool: str, report: Report, cluster: Standalone, data: Path) -> None:
    """SIGKILL to a task manager in the middle of a run: Flink begins the job anew on another, units that are done stay
    done, and if it gives up the same command goes on; the end is that of an undisturbed run."""
    flags = ["--dataset", "folder", "--url_list", str(data / "flickr8k"), "--number_sample_per_shard", "8"]
    source, (local, place) = Source("killed", flags, ""), (emptied(PLACE / f"killed/{n}") for n in ("local", "cluster"))
    do("ingest", source, local, HERE)
    engine = on_flink(server, pool, "standalone", cluster.master, 4, PLACE / "logs/killed")
    command = [*flags, "--output_folder", place / "pairs", *engine.flags, "--job_name=killed-ingest"]
    environment = {"PYTHONPATH": str(ROOT), **engine.environment}
    before = cluster.jobs()
    job = Job("pipelines.ingest", *command, env=environment)
    units = len(list((local / "pairs").glob("*.tar")))
    while job.process.poll() is None and len(list((place / "pairs").glob("*_stats.json"))) < 3:
        time.sleep(0.02)
    assert job.process.poll() is None, job.ended().stderr
    killed = cluster.kill_task_manager()
    done_before = {path: path.stat().st_mtime_ns for path in (place / "pairs").glob("*_stats.json")}
    cluster.add_task_manager()  # as whatever keeps a cluster at its size would do
    done, reruns = job.ended(900), 0
    while done.returncode and reruns < 3:
        done, reruns = Job("pipelines.ingest", *command, env=environment).ended(900), reruns + 1
    assert 0 == done.returncode, done.stderr[-3000:]
    jobs = {name: said for name, said in cluster.jobs().items() if name not in before}
    expected, found = hashes(local / "pairs"), hashes(place / "pairs")
    note = (
        f"task manager {killed} was killed when {len(done_before)} of {units} units were done; Flink restarted the job "
        f"{sum(said['restarts'] for said in jobs.values())} times, the command was run again {reruns} times"
    )
    report.add(
        source="flickr8k, 8 pictures a unit", job="ingest", cluster="standalone, a task manager killed", parallelism=4,
        jobs=jobs, files=len(expected), same=expected == found, note=note,
    )  # fmt: skip
    assert len(done_before) < units
    assert expected == found
    assert reruns or sum(said["restarts"] for said in jobs.values())
    assert done_before.items() <= {p: p.stat().st_mtime_ns for p in (place / "pairs").glob("*_stats.json")}.items()


@pytest.mark.parametrize(("name", "parallelism"), [("photographs", 4), ("web", 2)])
def test_standalone(
    server: JobServer, pool: str, report: Report, cluster: Standalone, here: dict[str, Path],
    request: pytest.FixtureRequest, name: str, parallelism: int,
) -> None:  # fmt: skip
    """Every job on a job manager and two task managers: the sample at parallelism 2, photographs at 4."""
    source: Source = request.getfixturevalue(name)
    local, place = done_here(source, here), emptied(PLACE / source.name / f"standalone-{parallelism}")
    for job in JOBS:
        before = cluster.jobs()
        log = PLACE / f"logs/{source.name}-standalone-{job}"
        do(job, source, place, on_flink(server, pool, "standalone", cluster.master, parallelism, log))
        jobs = {name: said for name, said in cluster.jobs().items() if name not in before}
        compare(report, local, place, job, "standalone, 2 task managers", parallelism, jobs)
        assert {("FINISHED", 0)} == {(said["state"], said["restarts"]) for said in jobs.values()}
    check_and_learn(place)
    assert hashes(local) == hashes(place)


def test_real_data_embedded(
    server: JobServer, pool: str, report: Report, photographs: Source, here: dict[str, Path]
) -> None:
    """Every job on real photographs, on the embedded cluster."""
    local, place = done_here(photographs, here), emptied(PLACE / "flickr8k/embedded-2")
    for job in JOBS:
        log = PLACE / f"logs/flickr8k-embedded-{job}"
        do(job, photographs, place, on_flink(server, pool, "embedded", "[local]", 2, log))
        compare(report, local, place, job, "embedded", 2, dict(embedded_jobs(log)))
    check_and_learn(place)
    assert hashes(local) == hashes(place)


def compare(report: Report, local: Path, place: Path, job: str, cluster: str, parallelism: int, jobs: dict) -> None:
    """Compare what one job left and write it down."""
    expected, found = hashes(local / FOLDERS[job]), hashes(place / FOLDERS[job])
    report.add(
        source=local.parent.name, job=job, cluster=cluster, parallelism=parallelism, jobs=jobs,
        files=len(expected), same=expected == found,
    )  # fmt: skip
    assert jobs
    assert expected == found


def test_report(report: Report) -> None:
    """What ran can be read by a program and by a person."""
    said = json.loads((PLACE / "report.json").read_text())
    assert all(run["same"] for run in said["runs"])
    assert (PLACE / "report.md").read_text().count("\n|") >= len(said["runs"])
