"""A command under guard: however it is ended, its processes and its temporary folder go with it, in time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schemas.commands.guard import PREFIX
from tests.conftest import ROOT, until

LIMIT = 5.0
"""Seconds that a command has after a signal."""

BEGIN = """
    import sys, os, signal, tempfile, pathlib, subprocess, threading, time
    from schemas.commands.guard import begin_guarded
    begin_guarded("toy")
    here = pathlib.Path(sys.argv[1])
    def reached(what):
        (here / what).touch()
"""
JOB = """
    from schemas.commands.ending import CommandWords, conclude
    def work():
        pathlib.Path(tempfile.mkstemp()[1]).write_text("spooled")
        child = subprocess.Popen(["sleep", "60"])
        (here / "child").write_text(str(child.pid))
        {body}
        return 0
    conclude(CommandWords(name="toy"), work)
"""
WHEREVER = {
    "importing": "reached('there'); time.sleep(60)",
    "importing for ever": "reached('there'); sum(range(10**12))",  # holds Python's lock and looks at no signal
    "working": JOB.format(body="reached('there'); time.sleep(60)"),
    "inside a library": JOB.format(body="reached('there'); sum(range(10**12))"),
    "waiting for a thread": JOB.format(
        body="t = threading.Thread(target=time.sleep, args=(60,)); t.start(); reached('there'); t.join()"
    ),
    "waiting without end when it ends": JOB.format(
        body="""
        try:
            reached('there'); time.sleep(60)
        finally:
            time.sleep(60)"""
    ),
    "where it is swallowed": JOB.format(
        body="""
        class Deaf:
            def __del__(self):
                reached('there'); time.sleep(60)
        Deaf()
        time.sleep(60)"""
    ),
    "in a callback of C": JOB.format(
        body="""
        import ctypes
        def compare(a, b):
            reached('there'); time.sleep(60); return 0
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, 4, kind(compare))
        time.sleep(60)"""
    ),
}
IN_TIME = {"importing": 1.0, "working": 2.0, "waiting for a thread": 2.0}
"""Seconds in which a command ends by itself, where it can."""


class Toy:
    """A small command with a temporary folder of its own."""

    def __init__(self, folder: Path, code: str, *before: str) -> None:
        self.folder, self.temporary = folder, folder / "tmp"
        self.temporary.mkdir(parents=True)
        code = textwrap.dedent(BEGIN) + textwrap.dedent(code)
        before = ("env", "--default-signal=HUP", *before)  # whoever runs the tests may have been started by nohup
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", code, str(folder)], cwd=ROOT, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(self.temporary)},
        )  # fmt: skip

    def until_there(self) -> None:
        until(lambda: (self.folder / "there").exists() or self.process.poll() is not None)

    def ended(self) -> tuple[int, str]:
        """Exit code and what it said; nothing of it is left."""
        out, err = self.process.communicate(timeout=30)
        child = self.folder / "child"
        assert not child.exists() or not child.read_text() or not runs(int(child.read_text()))
        assert [] == list(self.temporary.iterdir())
        assert "Traceback" not in out + err
        return self.process.returncode, err


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[list[Toy]]:
    """One wherever a command may be, all at the same time."""
    made = [Toy(tmp_path / str(number), code) for number, code in enumerate(WHEREVER.values())]
    yield made
    for toy in made:
        if toy.process.poll() is None:
            os.killpg(toy.process.pid, signal.SIGKILL)
            toy.process.communicate()


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill), (signal.SIGHUP, os.kill)],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_wherever_it_is(toys: list[Toy], number: signal.Signals, send: object) -> None:
    """It ends within five seconds with the signal's code, without a trace, a process or a file."""
    for toy in toys:
        toy.until_there()
    asked = time.monotonic()
    for toy in toys:
        send(toy.process.pid, number)
    for where, toy in zip(WHEREVER, toys, strict=True):
        code, said = toy.ended()
        took = time.monotonic() - asked
        assert took < LIMIT, where
        by_itself = where in IN_TIME
        assert code in ((128 + number,) if by_itself else (128 + number, -number)), (where, said)  # 128 + n in a shell
        if code < 0:
            assert "toy: stopped; it was ended" in said, where
        assert not by_itself or "toy: stopped" in said


def test_at_any_moment(tmp_path: Path) -> None:
    """From the first import on, drawn by seed: while the guard is made, while it imports, while it works."""
    draw, code = random.Random(8), JOB.format(body="time.sleep(60)")
    for number in range(12):
        toy = Toy(tmp_path / str(number), code)
        until(lambda: bool(list(toy.temporary.iterdir())))  # noqa: B023  the guard is about to be made
        time.sleep(draw.uniform(0, 0.4))
        os.kill(toy.process.pid, asked := draw.choice([signal.SIGINT, signal.SIGTERM]))
        ended, said = toy.ended()
        assert (128 + asked, 1) == (ended, len(said.splitlines())), said


def test_twice_is_at_once(tmp_path: Path) -> None:
    """Who asks again while it saves is not asked to wait; nothing is left then either."""
    toy = Toy(tmp_path / "toy", WHEREVER["waiting without end when it ends"])
    toy.until_there()
    begun = time.monotonic()
    toy.process.terminate()
    time.sleep(0.3)
    toy.process.terminate()
    assert -signal.SIGTERM == toy.ended()[0]
    assert time.monotonic() - begun < 2


def test_patience_for_what_would_be_lost(tmp_path: Path) -> None:
    """A command that says that it saves something large is left time for it."""
    body = """
        from schemas.commands.guard import ask_for_patience
        try:
            reached('there'); time.sleep(60)
        finally:
            ask_for_patience(20); time.sleep(3.6); reached('saved')"""
    toy = Toy(tmp_path / "toy", JOB.format(body=body))
    toy.until_there()
    toy.process.terminate()
    assert 143 == toy.ended()[0]
    assert (tmp_path / "toy/saved").exists()


def test_killed(tmp_path: Path) -> None:
    """By SIGKILL, alone: the guard takes the temporary folder away; whoever waits for its output sees it gone."""
    toy = Toy(tmp_path / "toy", "pathlib.Path(tempfile.mkstemp()[1]).write_text('x'); reached('there'); time.sleep(60)")
    toy.until_there()
    assert 1 == len(list(toy.temporary.iterdir()))
    toy.process.kill()
    assert -signal.SIGKILL == toy.ended()[0]


def test_what_a_lost_machine_left(tmp_path: Path) -> None:
    """A folder of a command and a guard that were both killed is taken away by the next command, and no other one."""
    temporary = tmp_path / "next/tmp"
    running = Toy(tmp_path / "running", "reached('there'); time.sleep(60)")
    running.until_there()
    (held,) = running.temporary.iterdir()
    (tmp_path / "next").mkdir()
    temporary.symlink_to(running.temporary)
    for name, age in ((f"{PREFIX}lost", 3600), (f"{PREFIX}young", 0), ("anothers", 3600)):
        (temporary / name).mkdir()
        (temporary / name / "file").write_text("x")
        os.utime(temporary / name, (time.time() - age,) * 2)
    os.utime(held, (time.time() - 3600,) * 2)
    env = {**os.environ, "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(BEGIN), str(tmp_path)], cwd=ROOT, check=True, env=env)
    assert {held.name, f"{PREFIX}young", "anothers"} == {path.name for path in temporary.iterdir()}
    for name in (f"{PREFIX}young", "anothers"):
        os.remove(temporary / name / "file")
        (temporary / name).rmdir()
    running.process.terminate()
    assert 143 == running.ended()[0]


@pytest.mark.parametrize("ends", ["sys.exit(3)", "os._exit(3)", "raise SystemExit(3)", "os.kill(os.getpid(), 11)"])
def test_its_own_end(tmp_path: Path, ends: str) -> None:
    """Whatever it is, the temporary folder is gone when its output ends, and the code is its own."""
    toy = Toy(tmp_path / "toy", f"tempfile.mkstemp(); {ends}")
    assert toy.ended()[0] == (3 if "3" in ends else -11)


def test_no_temporary_folder(tmp_path: Path) -> None:
    """Where none can be made, one sentence and exit code 1."""
    code = "import tempfile; tempfile.mkdtemp = None\nfrom schemas.commands.guard import begin_guarded\n"
    code += "import tempfile\ndef full(**_): raise OSError(28, 'No space left on device')\ntempfile.mkdtemp = full\nbegin_guarded('toy')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (1, "toy: there is no temporary folder to work in (No space left on device); TMPDIR names one\n") == (
        done.returncode,
        done.stderr,
    )
