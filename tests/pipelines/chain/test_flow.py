"""`pipelines.flow`: what its file may say, who comes after whom, and that it goes on wherever it was ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dalle import train_dvae
from pipelines import flow
from pipelines.chain import standing
from pipelines.chain.sections import COMMANDS, Section, read_flow, until
from pipelines.chain.standing import standings, table
from tests.examples import write_image_folder

ROOT = Path(__file__).parent.parent.parent.parent

MISTAKES = {
    "": "has no sections",
    "[ingest": "is not TOML (",
    "a = 1 = 2": "is not TOML (",
    "[encod]\n": "[encod] is no job; did you mean encode?",
    "[study]\n": "[study] is no job; sections are named",
    "encode = 3\n": "encode is no section; write [encode]",
    "[[encode]]\n": "encode is no section",
    "[generate]\nsamples = 2\n[generate.seen]\n": "[generate] has samples and, below it, [generate.seen]",
    '[generate."a b"]\n': "[generate.a b] has no name",
    "[encode.a.b]\nx = 1\n": "[encode.a]: b is a table",
    "[encode]\nseed = 1979-05-27\n": "[encode]: seed is a date",
    "[encode]\nseed = 1979-05-27T07:32:00Z\n": "[encode]: seed is a datetime",
    "[encode]\nseed = [[1]]\n": "[encode]: seed is a list in a list",
    "[encode]\nseed = [{a = 1}]\n": "[encode]: seed is a table",
    "[encode]\nplan = true\n": "[encode]: plan is asked for by the flow itself",
    '[encode]\n"--seed" = 1\n': "[encode]: '--seed' is no name of a flag",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def written(text: str) -> str:
    Path("flow.toml").write_text(text)
    return "flow.toml"


@pytest.mark.parametrize("text", MISTAKES)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """Which names the file; nothing is asked and nothing is run."""
    assert 2 == flow.main([written(text)])
    printed = capsys.readouterr()
    assert printed.err.startswith("pipelines.flow: flow.toml: ")
    assert MISTAKES[text] in printed.err
    assert (1, "") == (len(printed.err.splitlines()), printed.out)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "a file is missing"),
        (["no.toml"], "no.toml: No such file or directory"),
        (["."], "is a folder"),
        (["flow.toml", "--until", "encoed"], "--until encoed: the flow has no such section; did you mean encode?"),
        (["flow.toml", "--dri_run"], "unknown flag --dri_run; did you mean --dry_run?"),
    ],
)
def test_what_is_wrong_with_its_words(words: list[str], says: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """The same."""
    written("[encode]\n")
    assert 2 == flow.main(words)
    assert says in capsys.readouterr().err


def test_sections_are_words_in_the_order_of_the_file(place: Path) -> None:
    """Also where TOML puts together what stands apart, and around what only looks like a section."""
    text = '''
[generate.seen]
arguments = ["""
[evaluate]
""", "b"]
samples = 2
[evaluate.seen]
best_of = [1, 8]
blur = -1.5
[generate.unseen]
[train_prior]
steps = 5
preset = "tiny"
[evaluate.unseen]
without = "-x"
extrapolate = false
'''
    sections = read_flow(written(text))
    assert [
        ("generate.seen", ["[evaluate]\n", "b", "--samples", "2"]),
        ("evaluate.seen", ["--best_of", "1", "8", "--blur=-1.5"]),
        ("generate.unseen", []),
        ("train_prior", ["tiny", "--steps", "5"]),
        ("evaluate.unseen", ["--without=-x", "--extrapolate", "False"]),
    ] == [(one.name, list(one.words)) for one in sections]
    assert ["generate.seen", "evaluate.seen", "generate.unseen"] == [s.name for s in until(sections, "generate.unseen")]
    assert 3 == len(until(sections, "generate"))
    assert sections == until(sections, None)


@pytest.mark.parametrize("file", sorted((ROOT / "flows").glob("*.toml")), ids=lambda path: path.name)
def test_flows_of_the_project_can_be_read(file: Path) -> None:
    """Their sections are jobs."""
    assert {section.job for section in read_flow(str(file))} <= {*COMMANDS}


Said = dict[str, Any]
SAYS: dict[str, Said] = {
    "ingest": {"state": "done", "output": "pairs", "reads": ["list.csv"]},
    "dedup": {"state": "done", "output": "clean", "reads": ["pairs", "held-out"]},
    "encode": {"state": "done", "output": "./examples/", "reads": ["clean", "vocab"]},
    "train_prior": {"state": "waits", "output": "prior", "reads": ["examples/x"], "waits_for": "examples/x"},
}
REST = {"why": "", "waits_for": None, "done": 0, "all": None, "unit": "shard", "hours": 0.5, "why_no_hours": ""}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["done", "done", "done", "refused: ; nothing that is to do before it makes examples/x"]),
        ({"train_prior": {"state": "done", "waits_for": None}}, ["done", "done", "done", "done"]),
        ({"ingest": {"state": "to do"}}, ["to do", *(f"to do after {name}" for name in ("ingest", "dedup", "encode"))]),
        ({"dedup": {"state": "anew"}}, ["done", "is made anew", "to do after dedup", "to do after encode"]),
        ({"dedup": {"state": "goes on", "done": 3, "all": 9}, "train_prior": {"state": "goes on"}},
         ["done", "goes on: 3 of 9 shards are done", "to do after dedup", "to do after encode"]),
    ],
)  # fmt: skip
def test_what_comes_after_what_is_to_do(
    changed: dict[str, Said], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command is to be run where it reads what one before it makes; one that waits for what none makes refuses."""
    said = {name: {**REST, **says, **changed.get(name, {})} for name, says in SAYS.items()}
    sections = [Section(name=name, words=[]) for name in said]

    def asked(some: Sequence[Section]) -> list[standing.Standing]:
        return [standing.Standing(section=one, said=said[one.name]) for one in some]

    monkeypatch.setattr(standing, "_asked", asked)
    found = standings(sections)
    if not changed:
        expected[-1] = found[-1].in_words()  # its own sentence
        assert (2, {}) == (found[-1].code, found[-1].said)
        assert "nothing that is to do before it makes examples/x" in found[-1].sentence
    assert expected == [one.in_words() for one in found]
    assert [False] * expected.count("done") == [not one.is_done for one in found if one.in_words() == "done"]
    assert len(table(found)) in (4, 5)


@pytest.mark.slow
def test_a_flag_that_no_job_knows_is_said_before_anything_runs(place: Path, capfd: pytest.CaptureFixture) -> None:
    """In the job's own sentence, with its exit code; the sections before it are not run."""
    write_image_folder(Path("web"), 4)
    first = '[ingest]\ndataset = "folder"\nurl_list = "web"\noutput_folder = "pairs"\n'
    assert 2 == flow.main([written(first + "[vocab]\nlernt_from = 3\ninput_folder = 'pairs'\n")])
    printed = capfd.readouterr()
    assert "pipelines.vocab: unknown flag --lernt_from" in printed.err
    assert "ingest  to do" in printed.out
    assert ["flow.toml", "web"] == sorted(os.listdir())


TRAINING = {
    "images": ["web"], "resolution": 32, "batch_size": 2, "steps": 120, "vocab_size": 16, "log_every": 1, "save_every": 1,
    "head_start": "never", "device": "cpu", "output_folder": "dvae",
}  # fmt: skip


@pytest.mark.slow
def test_ended_anywhere_it_goes_on(place: Path) -> None:
    """A signal ends the command that runs, which says so itself; killed with it, the flow goes on to the same weights."""
    write_image_folder(Path("web"), 8)
    lines = [f"{name} = {json.dumps(value)}" for name, value in TRAINING.items()]
    written("\n".join(["[train_dvae]", 'preset = "tiny"', *lines, "[evaluate]", 'captions_from = "no.txt"']))

    def begun(steps: int) -> bool:
        saved = [int(path.stem) for path in Path("dvae/checkpoints").glob("*.safetensors") if path.stem.isdigit()]
        return max(saved, default=0) >= steps

    stopped = start()
    wait_for(lambda: begun(3), stopped)
    stopped.send_signal(signal.SIGTERM)
    out, err = stopped.communicate(timeout=60)
    assert 143 == stopped.returncode, err
    assert 1 == len(err.splitlines())
    assert "dalle.train_dvae: stopped after step" in err
    assert "train_dvae  to do: 120 steps -> dvae, about" in out

    killed, at = start(), max(int(p.stem) for p in Path("dvae/checkpoints").glob("*.safetensors"))
    wait_for(lambda: begun(at + 3), killed)
    killed.kill()
    killed.communicate(timeout=60)

    last = start()
    out, err = last.communicate(timeout=240)
    assert 0 == last.returncode, err
    assert "train_dvae  goes on: " in out
    words = [
        word
        for name, value in TRAINING.items()
        for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]
    assert 0 == train_dvae.main(["tiny", *map(str, words), "--output_folder", "whole"])
    assert Path("whole/model.safetensors").read_bytes() == Path("dvae/model.safetensors").read_bytes()


def start() -> subprocess.Popen[str]:
    """The flow, up to its training, as a user runs it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipelines.flow", "flow.toml", "--until", "train_dvae"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
