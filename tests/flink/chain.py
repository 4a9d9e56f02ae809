"""The jobs one after the other as a user types them, here or on a cluster, and whether two such chains made the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dalle import dvae
from dalle.detectors.builtin import WEIGHTS
from tests.conftest import ROOT, Job, run_job

JOBS = ("ingest", "dedup", "encode")
FOLDERS = {"ingest": "pairs", "dedup": "clean", "encode": "examples"}
"""What each job leaves in a chain's folder. `vocab` and `audit` start no pipeline: they read what these leave."""


@dataclass(frozen=True)
class Source:
    """Pictures to begin with."""

    name: str
    ingest: Sequence[str]
    """The flags of pipelines.ingest that say which, and how they are cut."""
    references: str
    """NAME=PATH of what dedup compares them with."""
    cwd: Path = ROOT
    """Where the commands are run."""


@dataclass(frozen=True)
class Engine:
    """Where Beam does the work: the flags that say so, the same for every job."""

    name: str
    flags: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


_PATIENCE = 900.0  # a pipeline on Flink starts two Java programs and a Python process a task manager

HERE = Engine("local", ("--processes_count=1",))


def do(job: str, source: Source, place: Path, engine: Engine) -> None:
    """Run one job of the chain; its input is what the one before left in `place`."""
    mine = {
        "ingest": source.ingest,
        "dedup": ("--input_folder", f"{place}/pairs", "--reference", source.references, *_detector()),
        "encode": ("--input_folder", f"{place}/clean", "--dvae", _encoder(), "--output_format", "webdataset"),
    }
    flags = [*mine[job], "--output_folder", f"{place}/{FOLDERS[job]}"]
    flags += [*engine.flags, f"--job_name={source.name}-{job}"]
    environment = {"PYTHONPATH": str(ROOT), **engine.environment}
    done = Job(f"pipelines.{job}", *flags, env=environment, cwd=source.cwd).ended(_PATIENCE)
    assert 0 == done.returncode, f"{engine.name}, {job}: {done.stderr[-3000:]}"


def check_and_learn(place: Path) -> None:
    """The jobs that start no pipeline: audit finds no fault in what the others left, vocab learns from it."""
    for folder in FOLDERS.values():
        if (place / folder).exists():
            done = run_job("pipelines.audit", place / folder)
            assert 0 == done.returncode, done.stdout
    if (place / "clean").exists():
        done = run_job("pipelines.vocab", "--input_folder", place / "clean", "--output_folder", place / "vocab")
        assert 0 == done.returncode, done.stderr


def _detector() -> tuple[str, ...]:
    """The default, where its weights come with the package."""
    there = WEIGHTS.exists()
    return () if there else ("--detector", "phash")


def _encoder() -> str:
    there = dvae.BUILTIN.exists()
    return "builtin" if there else "tests.own_encoder:Greys"


def environment_of(place: Path, settings: Path) -> dict[str, str]:
    """For Beam's job server: Flink's settings, and a log, for both of which it has no flag."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "job-server.log").unlink(missing_ok=True)
    log = f"-Dorg.slf4j.simpleLogger.logFile={place / 'job-server.log'}"
    return {"FLINK_CONF_DIR": str(settings), "JAVA_TOOL_OPTIONS": f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} {log}"}
