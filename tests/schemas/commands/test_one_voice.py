"""Processes that torchrun started on one machine say a sentence once, and a word of another process's end not first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ASKS = """
from schemas.commands.one_voice import is_said
for sentence in iter(lambda: input(), "end"):
    print(is_said(sentence), flush=True)
"""
ENDS = """
import sys
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.stopping import Stopped
errors = {"stopped": Stopped(15), "saved": Stopped(15, "stopped after step 3"), "mistake": ValueError("no such flag")}
def work():
    raise errors[sys.argv[1]]
sys.exit(conclude(CommandWords(name="toy"), work))
"""


def started(code: str, *words: str, rank: int = 0, by_torchrun: bool = True) -> subprocess.Popen[str]:
    """A process of a program, all of one parent."""
    more = {"LOCAL_RANK": str(rank), "TORCHELASTIC_RUN_ID": "none"} if by_torchrun else {}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, env={**os.environ, **more},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def asked(process: subprocess.Popen[str], sentences: Sequence[str]) -> list[str]:
    """Whether it finds that others say them."""
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    for sentence in sentences:
        process.stdin.write(f"{sentence}\n")
        process.stdin.flush()
        answers.append(process.stdout.readline().strip())
    return answers


def test_what_all_say_is_said_once() -> None:
    """As long as one says it others do not; other sentences are their own, and so are those of other commands."""
    first, second, alone = started(ASKS), started(ASKS, rank=1), started(ASKS, by_torchrun=False)
    assert ["False"] == asked(first, ["no such flag"])
    assert ["True", "False"] == asked(second, ["no such flag", "rank 1: no such GPU"])
    assert ["False", "False"] == asked(alone, ["no such flag", "no such flag"])
    first.communicate("end\n")
    third = started(ASKS, rank=2)
    assert ["False", "True"] == asked(third, ["no such flag", "rank 1: no such GPU"])
    for process in (second, third, alone):
        process.communicate("end\n")


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [("stopped", 143, False), ("saved", 143, True), ("mistake", 2, True)],
)
def test_which_words_are_left_to_the_first(what: str, code: int, says: bool) -> None:
    """Those of a stop that all have; not what became of the work, and not a mistake that nobody else tells."""
    for rank in (0, 1):
        process = started(ENDS, what, rank=rank)
        err = process.communicate()[1]
        assert (code, rank == 0 or says) == (process.returncode, bool(err)), err
