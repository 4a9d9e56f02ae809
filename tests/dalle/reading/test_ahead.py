"""Processes that read ahead: for any script, and however long the names of its temporary files are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.examples import write_dataset

pytestmark = pytest.mark.slow

SCRIPT = """
from dalle.reading.batches import Batches
from dalle.reading.example_shards import ExampleShards

class Own(ExampleShards):
    pass

if {condition}:
    print("top of the script")
    print(sum(len(batch["text_tokens"]) for batch in Batches({kind}({folder!r}), batch_size=4, workers=2)))
"""
PLAIN, GUARDED = "True", '__name__ == "__main__"'


def run(script: str, *, through_stdin: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a user, saved or piped."""
    path = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    if through_stdin:
        return subprocess.run(
            [sys.executable, "-"], input=script, capture_output=True, text=True, check=False, env=path
        )
    file = Path(env["HERE"]) / "read.py"
    file.write_text(script)
    return subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False, env=path)


@pytest.mark.parametrize("through_stdin", [False, True])
def test_a_plain_script(tmp_path: Path, through_stdin: bool) -> None:
    """The loop of docs/encode.md, saved or piped, reads; nothing is done twice."""
    folder = write_dataset(tmp_path / "examples", [5, 7])
    script = SCRIPT.format(condition=PLAIN, kind="ExampleShards", folder=folder)
    done = run(script, through_stdin=through_stdin, HERE=str(tmp_path))
    assert (0, ["top of the script", "12"], "") == (done.returncode, done.stdout.splitlines(), done.stderr)


def test_a_script_with_a_data_set_of_its_own(tmp_path: Path) -> None:
    """Guarded it reads; else it ends, and the last line says what to do."""
    folder = write_dataset(tmp_path / "examples", [5, 7])
    guarded = run(SCRIPT.format(condition=GUARDED, kind="Own", folder=folder), HERE=str(tmp_path))
    assert (0, "12") == (guarded.returncode, guarded.stdout.splitlines()[-1]), guarded.stderr
    plain = run(SCRIPT.format(condition=PLAIN, kind="Own", folder=folder), HERE=str(tmp_path))
    assert 1 == plain.returncode
    assert "put what the script does under `if __name__ ==" in plain.stderr.splitlines()[-1]


def test_a_long_name_for_temporary_files(tmp_path: Path) -> None:
    """Longer than a socket's may be: it reads."""
    long = tmp_path / ("a" * 60) / ("b" * 60)
    long.mkdir(parents=True)
    folder = write_dataset(tmp_path / "examples", [5, 7])
    script = SCRIPT.format(condition=PLAIN, kind="ExampleShards", folder=folder)
    done = run(script, HERE=str(tmp_path), TMPDIR=str(long))
    assert (0, "12", "") == (done.returncode, done.stdout.splitlines()[-1], done.stderr)
    assert [] == list(long.iterdir())


LATE = """
import multiprocessing.queues, threading, time
feed = multiprocessing.queues.Queue._feed
def late(*args):
    feed(*args)
    time.sleep(0.2)
multiprocessing.queues.Queue._feed = staticmethod(late)
"""


def test_no_thread_is_left(tmp_path: Path) -> None:
    """Not one that still lets a semaphore go when the interpreter ends, which would then be said to be leaked."""
    folder = write_dataset(tmp_path / "examples", [5, 7])
    script = LATE + SCRIPT.format(condition=PLAIN, kind="ExampleShards", folder=folder)
    script += "\nprint([thread.name for thread in threading.enumerate() if 'Feeder' in thread.name])"
    done = run(script, HERE=str(tmp_path))
    assert (0, ["top of the script", "12", "[]"], "") == (done.returncode, done.stdout.splitlines(), done.stderr)
